"""Which pools of a Fleet document the Dynamo namespaces of a grid are."""

from collections.abc import Iterator

from weir.domain.errors import FleetError
from weir.domain.fleet import Fleet, PoolSpec, Role
from weir.domain.ids import PoolId
from weir.fleet.dynamo_grid_file import GridFile

__all__ = ["left_out", "pools_of"]


def pools_of(file: GridFile, fleet: Fleet) -> dict[tuple[str, Role], PoolId]:
    """By namespace and role: the pool of this name, or the one that is said to be in it.

    Raises `FleetError` if there is none, or if they are not all of one model.
    """
    found = {each: _pool(*each, fleet) for each in file.namespaces()}
    problems = [
        f"{name!r} is no {role} pool of the fleet: name one so, or give it dynamo.callerNamespace"
        f" {name} (its {role} pools: {', '.join(_names(fleet, role)) or 'none'})"
        for (name, role), pool in found.items()
        if pool is None
    ]
    if problems:
        raise FleetError(file.source, problems)
    pools = {each: pool for each, pool in found.items() if pool is not None}
    models = sorted({pool.model for pool in pools.values()})
    if len(models) > 1:
        raise FleetError(
            file.source, [f"its pools serve {' and '.join(models)}: one grid, one model"]
        )
    return {each: pool.id for each, pool in pools.items()}


def left_out(pools: dict[tuple[str, Role], PoolId], fleet: Fleet) -> tuple[PoolId, ...]:
    """Pools of the grid's model that the grid never gives."""
    ids = set(pools.values())
    models = {pool.model for pool in fleet.pools if pool.id in ids}
    return tuple(p.id for p in fleet.pools if p.model in models and p.id not in ids)


def _pool(name: str, role: Role, fleet: Fleet) -> PoolSpec | None:
    pools = [pool for pool in fleet.pools if pool.role is role]
    for pool in pools:
        if pool.id == name:
            return pool
    said = [p for p in pools if p.dynamo is not None and p.dynamo.caller_namespace == name]
    return said[0] if len(said) == 1 else None


def _names(fleet: Fleet, role: Role) -> Iterator[str]:
    return (pool.id for pool in fleet.pools if pool.role is role)
