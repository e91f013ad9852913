"""What GPUs may be used together: the budget, its GPU classes, the node groups."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from weir.domain.errors import InfeasibleFloorsError
from weir.domain.fleet import Fleet, PoolSpec
from weir.domain.ids import PoolId

__all__ = ["Limit", "check_floors", "limits_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """`pools` together may hold `gpus` GPUs. `name` is for people."""

    name: str
    gpus: int
    pools: frozenset[PoolId]

    def used(self, gpus_by_pool: Mapping[PoolId, int]) -> int:
        return sum(gpus for pool, gpus in gpus_by_pool.items() if pool in self.pools)

    def holds(self, gpus_by_pool: Mapping[PoolId, int]) -> bool:
        return self.used(gpus_by_pool) <= self.gpus


def limits_of(
    fleet: Fleet, leaving: Iterable[PoolSpec] = (), *, foreign: bool = True
) -> tuple[Limit, ...]:
    """All limits of a fleet, the budget first. Limits that can never bind are left out.

    `leaving`: pools that the fleet has no more but that hold GPUs still. `foreign`: whether GPUs
    that others hold are missing.
    """
    all_pools = (*fleet.pools, *leaving)
    limits = [Limit(name="budget", gpus=fleet.budget.gpus, pools=_ids(all_pools))]
    for gpu_class, gpus in sorted(fleet.budget.by_gpu_class.items()):
        pools = _ids(pool for pool in all_pools if pool.gpu_class == gpu_class)
        limits.append(Limit(name=f"GPU class {gpu_class}", gpus=gpus, pools=pools))
    for group in fleet.node_groups:
        held = group.foreign_gpus if foreign else 0
        if group.implied and held == 0:
            continue  # the budget by another name: where both bind, neither would have a price
        pools = _ids(pool for pool in all_pools if pool.node_group == group.name)
        gpus = max(0, group.gpus - held)
        limits.append(Limit(name=f"node group {group.name}", gpus=gpus, pools=pools))
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
                needed_gpus=limit.used(floors), budget_gpus=limit.gpus, limit=limit.name
            )


def _ids(pools: Iterable[PoolSpec]) -> frozenset[PoolId]:
    return frozenset(pool.id for pool in pools)
