"""Which pools a class's requests go to when nobody plans: fixed homes, by order in the document.

Classes and the pools of a role are both taken in the document's order and spread evenly over
each other: three classes and three pools pair up; with fewer pools neighbouring classes share
one, with more a class has several.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from weir.domain.errors import FleetError
from weir.domain.fleet import Fleet, PoolSpec, Role
from weir.domain.ids import ModelName, PoolId

__all__ = ["Homes", "homes_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Homes:
    """Pools by class index. Aggregated pools are under `prefill`; `decode` is empty then."""

    prefill: tuple[tuple[PoolId, ...], ...]
    decode: tuple[tuple[PoolId, ...], ...]

    @property
    def pools(self) -> frozenset[PoolId]:
        """All pools that are a home of some class."""
        return frozenset(pool for homes in (*self.prefill, *self.decode) for pool in homes)


def homes_of(fleet: Fleet, model: ModelName) -> Homes:
    """The homes of all classes for requests of `model`.

    Prefill and decode pools if the model has both, else aggregated ones. Raises `FleetError` if
    the model has neither, or if a class's prefill and decode pools cannot hand over to each other.
    """
    prefill, decode, agg = (_pools(fleet, model, role) for role in Role)
    classes = len(fleet.classes)
    if prefill and decode:
        _check_dialects(fleet, _spread(prefill, classes), _spread(decode, classes))
        return Homes(prefill=_ids(_spread(prefill, classes)), decode=_ids(_spread(decode, classes)))
    if agg:
        return Homes(prefill=_ids(_spread(agg, classes)), decode=((),) * classes)
    raise FleetError(fleet.name, [_why_no_home(model, prefill, decode)])


def _pools(fleet: Fleet, model: ModelName, role: Role) -> tuple[PoolSpec, ...]:
    return tuple(
        pool
        for pool in fleet.pools
        if pool.model == model and pool.role is role and pool.max_replicas > 0
    )


def _spread(pools: Sequence[PoolSpec], classes: int) -> tuple[tuple[PoolSpec, ...], ...]:
    count = len(pools)
    if count <= classes:
        return tuple((pools[index * count // classes],) for index in range(classes))
    return tuple(
        tuple(pool for j, pool in enumerate(pools) if j * classes // count == index)
        for index in range(classes)
    )


def _ids(homes: Sequence[Sequence[PoolSpec]]) -> tuple[tuple[PoolId, ...], ...]:
    return tuple(tuple(pool.id for pool in pools) for pools in homes)


def _check_dialects(
    fleet: Fleet,
    prefill: Sequence[Sequence[PoolSpec]],
    decode: Sequence[Sequence[PoolSpec]],
) -> None:
    problems = [
        f"class {item.name}: its prefill pool {head.id} speaks {head.dialect}, its decode pool "
        f"{tail.id} {tail.dialect}; list the pools so that those of one dialect meet"
        for item, heads, tails in zip(fleet.classes, prefill, decode, strict=True)
        for head in heads
        for tail in tails
        if head.dialect != tail.dialect
    ]
    if problems:
        raise FleetError(fleet.name, problems)


def _why_no_home(model: ModelName, prefill: Sequence[PoolSpec], decode: Sequence[PoolSpec]) -> str:
    found = "only prefill pools" if prefill else "only decode pools" if decode else "no pools"
    return (
        f"model {model} has {found} that may run, so no class has a home; add a prefill and a "
        "decode pool, or an aggregated one, with max_replicas above 0"
    )
