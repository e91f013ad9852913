"""What may be used together: GPUs of the budget, its classes and node groups, and their power."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from weir.domain.errors import InfeasibleFloorsError
from weir.domain.fleet import Fleet, PoolSpec
from weir.domain.ids import PoolId

__all__ = ["Limit", "check_floors", "limits_of", "limits_watts", "used_up"]

_POWER = "power"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """`pools` together may hold `most` GPUs, or draw `most` watts. `name` is for people.

    `watts`: what a GPU of each pool draws; empty where the GPUs themselves are limited.
    """

    name: str
    most: int
    pools: frozenset[PoolId]
    watts: Mapping[PoolId, int] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        return "W" if self.watts else "GPUs"

    def per_gpu(self, pool: PoolId) -> int:
        """What a GPU of the pool takes: 1, or its watts."""
        return self.watts[pool] if self.watts else 1

    def used(self, gpus_by_pool: Mapping[PoolId, int]) -> int:
        """GPUs, or watts."""
        if self.watts:
            return sum(gpus * self.watts.get(pool, 0) for pool, gpus in gpus_by_pool.items())
        return sum(gpus for pool, gpus in gpus_by_pool.items() if pool in self.pools)

    def holds(self, gpus_by_pool: Mapping[PoolId, int]) -> bool:
        return self.used(gpus_by_pool) <= self.most


def limits_of(
    fleet: Fleet, leaving: Iterable[PoolSpec] = (), *, foreign: bool = True
) -> tuple[Limit, ...]:
    """All limits of a fleet, the budget first. Limits that can never bind are left out.

    `leaving`: pools that the fleet has no more but that hold GPUs still. `foreign`: whether GPUs
    that others hold are missing.
    """
    all_pools = (*fleet.pools, *leaving)
    limits = [Limit(name="budget", most=fleet.budget.gpus, pools=_ids(all_pools))]
    for gpu_class, gpus in sorted(fleet.budget.by_gpu_class.items()):
        pools = _ids(pool for pool in all_pools if pool.gpu_class == gpu_class)
        limits.append(Limit(name=f"GPU class {gpu_class}", most=gpus, pools=pools))
    for group in fleet.node_groups:
        held = group.foreign_gpus if foreign else 0
        if group.implied and held == 0:
            continue  # the budget by another name: where both bind, neither would have a price
        pools = _ids(pool for pool in all_pools if pool.node_group == group.name)
        gpus = max(0, group.gpus - held)
        limits.append(Limit(name=f"node group {group.name}", most=gpus, pools=pools))
    limits += _power_limits(fleet, all_pools)
    return tuple(limit for limit in limits if limit.pools)


def check_floors(fleet: Fleet) -> None:
    """Raises `InfeasibleFloorsError` if what is set aside does not fit every limit.

    GPUs that others hold for now make no document wrong: floors wait until they are given back.
    """
    floors = {
        pool.id: max(pool.min_replicas, pool.aside_replicas) * pool.gpus_per_replica
        for pool in fleet.pools
    }
    for limit in limits_of(fleet, foreign=False):
        if not limit.holds(floors):
            raise InfeasibleFloorsError(
                needed=limit.used(floors), most=limit.most, limit=limit.name, unit=limit.unit
            )


def limits_watts(name: str) -> bool:
    """Whether it is the name of a limit in watts."""
    return name.split(" ")[0] == _POWER


def used_up(limits: Iterable[Limit]) -> str:
    """Of which limits nothing is left, for people."""
    by_unit: dict[str, list[str]] = {}
    for limit in limits:
        by_unit.setdefault("power is" if limit.watts else "GPUs are", []).append(limit.name)
    return " and ".join(f"the {what} used up ({', '.join(n)})" for what, n in by_unit.items())


def _power_limits(fleet: Fleet, pools: Iterable[PoolSpec]) -> Iterator[Limit]:
    """Of the budget and of node groups that have one. A pool of unknown power draws nothing."""
    known = [pool for pool in pools if pool.power_w_per_gpu]
    places = [(_POWER, fleet.budget.power_w, known)]
    for group in fleet.node_groups:
        there = [pool for pool in known if pool.node_group == group.name]
        places.append((f"{_POWER} of node group {group.name}", group.power_w, there))
    for name, most, those in places:
        if most is not None:
            watts = {pool.id: pool.power_w_per_gpu or 0 for pool in those}
            yield Limit(name=name, most=most, pools=_ids(those), watts=watts)


def _ids(pools: Iterable[PoolSpec]) -> frozenset[PoolId]:
    return frozenset(pool.id for pool in pools)
