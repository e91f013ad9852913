"""Which replicas could go, and when they do.

A replica can go if the survivors serve as much as before, now and with their planned load
lowered by a margin: so demand that stays as it is does not call it back. It goes once that has
been so for the dwell time.
"""

from collections.abc import Collection, Mapping

from globalplanner.core.snapshot import Lull, Rules
from globalplanner.core.space import Allocation, Space
from weir.domain.ids import PoolId

__all__ = ["lowest", "settle_lulls", "trimmed"]


def lowest(space: Space, replicas: Allocation, rules: Rules) -> Allocation:
    """`replicas` without those that could go, all together.

    Pools with the largest replicas give first. A held pool and one whose backlog is unknown give
    none.
    """
    fewer = dict(replicas)
    for pool_id in sorted(
        space.movable, key=lambda id: (-space.views[id].spec.gpus_per_replica, id)
    ):
        view = space.views[pool_id]
        if view.backlog_replica_s is None:
            continue
        while fewer[pool_id] > view.spec.min_replicas:
            tried = {**fewer, pool_id: fewer[pool_id] - 1}
            if not _as_good(space, tried, fewer, rules):
                break
            fewer = tried
    return fewer


def settle_lulls(
    space: Space,
    replicas: Allocation,
    lulls: Mapping[PoolId, Lull],
    now_s: float,
    rules: Rules,
) -> tuple[Allocation, dict[PoolId, Lull]]:
    """Take away what has not been needed for the dwell time; the lulls that go on."""
    low = lowest(space, replicas, rules)
    settled, going_on = dict(replicas), {}
    for pool_id, count in replicas.items():
        if low[pool_id] >= count:
            continue
        lull = lulls.get(pool_id) or Lull(since_s=now_s, replicas=low[pool_id])
        lull = Lull(since_s=lull.since_s, replicas=max(lull.replicas, low[pool_id]))
        if lull.replicas >= count:
            lull = Lull(since_s=now_s, replicas=low[pool_id])
        if now_s - lull.since_s >= rules.scale_down_dwell_s:
            settled[pool_id] = lull.replicas
        else:
            going_on[pool_id] = lull
    return settled, going_on


def trimmed(
    space: Space, replicas: Allocation, *, of: Collection[PoolId] | None = None
) -> Allocation:
    """`replicas`, less what the limits do not hold: first what exceeds guarantees, then floors.

    Of several pools the one that is furthest above gives first; only those `of` which it is said.
    """
    fewer = dict(replicas)
    while not space.fits(fewer):
        over = [limit for limit in space.limits if not limit.holds(_gpus(space, fewer))]
        givers = [
            id
            for id in sorted(fewer)
            if id in over[0].pools
            and fewer[id] > space.views[id].spec.floor_replicas
            and (of is None or id in of)
        ]
        if not givers:
            break
        giver = max(givers, key=lambda id: (_above(space, id, fewer[id]), fewer[id]))
        fewer[giver] -= 1
    return fewer


def _as_good(space: Space, fewer: Allocation, replicas: Allocation, rules: Rules) -> bool:
    return all(
        space.value(fewer, carry=carry) >= space.value(replicas, carry=carry) - space.negligible
        for carry in (rules.shrink_carry, 1.0)
    )


def _gpus(space: Space, replicas: Allocation) -> dict[PoolId, int]:
    return {id: space.gpus(id, count) for id, count in replicas.items()}


def _above(space: Space, pool_id: PoolId, count: int) -> int:
    return count - space.views[pool_id].spec.guarantee_replicas
