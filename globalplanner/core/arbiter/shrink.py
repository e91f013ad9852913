"""When replicas that could go do go: once that has been so for the dwell time.

The last one of a pool that may have none stays longer: starting from nothing takes long.
"""

from collections.abc import Mapping, Sequence

from globalplanner.core.arbiter.lowest import Lowest
from globalplanner.core.arbiter.snapshot import Lull
from globalplanner.core.arbiter.space import Space
from weir.domain.ids import PoolId

__all__ = ["settle_lulls"]


def settle_lulls(
    space: Space,
    replicas: Sequence[int],
    lowest: Lowest,
    lulls: Mapping[PoolId, Lull],
    may_leave: Mapping[int, int],
    now_s: float,
) -> tuple[list[int], dict[PoolId, Lull]]:
    """Take away what has not been needed for the dwell time; the lulls that go on.

    No more leave than may: the lull of the others goes on.
    """
    settled, going_on, low = list(replicas), {}, lowest.replicas
    for pool, (id, count, least) in enumerate(zip(space.layout.ids, replicas, low, strict=True)):
        if least >= count or space.views[pool].wish is not None:
            continue  # who wishes says itself what would do
        lull = lulls.get(id) or Lull(since_s=now_s, replicas=least)
        lull = Lull(since_s=lull.since_s, replicas=max(lull.replicas, least))
        if lull.replicas >= count:
            lull = Lull(since_s=now_s, replicas=least)
        then = _after(space, pool, count, lull, now_s)
        if then >= count or not lowest.may_go(pool):
            going_on[id] = lull
            continue
        settled[pool] = max(then, count - may_leave.get(pool, count))
        if settled[pool] > lull.replicas:
            going_on[id] = lull
    return settled, going_on


def _after(space: Space, pool: int, count: int, lull: Lull, now_s: float) -> int:
    """The fewest replicas that the lull has lasted long enough for; `count` if it has for none."""
    spec, lasted_s = space.layout.specs[pool], now_s - lull.since_s
    for replicas in (lull.replicas, max(1, lull.replicas)):
        if lasted_s >= space.rules.dwell_s(spec, replicas):
            return replicas
    return count
