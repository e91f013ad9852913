"""As many of the wanted replicas as the budget and every other limit hold together."""

from collections.abc import Mapping

from globalplanner.core.budget.limits import limits_of
from weir.domain.fleet import Fleet
from weir.domain.ids import PoolId

__all__ = ["fitted"]


def fitted(fleet: Fleet, wanted: Mapping[PoolId, int]) -> dict[PoolId, int]:
    """`wanted` within each pool's minimum and maximum, and within all limits of the fleet.

    Where a limit binds, the pool with the least part of what it wants gets the next replica
    that fits. Minimums are kept even if they do not fit.
    """
    wishes = {
        pool.id: min(max(wanted.get(pool.id, 0), pool.min_replicas), pool.max_replicas)
        for pool in fleet.pools
    }
    sizes = {pool.id: pool.min_replicas for pool in fleet.pools}
    if _fits(fleet, wishes):
        return wishes
    short = [pool.id for pool in fleet.pools if sizes[pool.id] < wishes[pool.id]]
    while short:
        least = min(short, key=lambda pool_id: sizes[pool_id] / wishes[pool_id])
        more = sizes | {least: sizes[least] + 1}
        if _fits(fleet, more):
            sizes = more
        if sizes[least] == wishes[least] or sizes is not more:
            short.remove(least)
    return sizes


def _fits(fleet: Fleet, sizes: Mapping[PoolId, int]) -> bool:
    gpus = {pool.id: sizes[pool.id] * pool.gpus_per_replica for pool in fleet.pools}
    return all(limit.holds(gpus) for limit in limits_of(fleet))
