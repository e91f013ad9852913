"""What goes when the limits do not hold what is there: a lowered budget, a smaller node group."""

from collections.abc import Callable, Sequence

from globalplanner.core.arbiter.givers import Givers
from globalplanner.core.arbiter.space import Space
from globalplanner.core.arbiter.stand import Effort, Stand

__all__ = ["relieve", "trimmed"]

_WEIGHED = 24
_SHARE_IN_A_ROUND = 4


def relieve(stand: Stand, givers: Givers, effort: Effort) -> None:
    """Take replicas away where that costs least, first from pools above their guarantee.

    If that is not enough, minima and pools of which nobody knows what is queued give as well.
    """
    guarantee = stand.space.layout.guarantee
    _lighten(stand, givers, effort, lambda pool: stand.replicas[pool] > guarantee[pool])
    _lighten(stand, givers, effort, lambda pool: True)
    if min(stand.free) < 0:
        rest = trimmed(stand.space, stand.replicas)
        stand.apply(
            tuple((i, n - stand.replicas[i]) for i, n in enumerate(rest) if n != stand.replicas[i])
        )


def _lighten(stand: Stand, givers: Givers, effort: Effort, may_give: Callable[[int], bool]) -> None:
    """Until the limits hold, or no pool is left that may give."""
    while effort.left > 0 and min(stand.free) < 0:
        options = givers.weighed(
            stand, effort, most=_WEIGHED, only=lambda pool: may_give(pool) and _over(stand, pool)
        )
        if not options:
            return
        for giver in options[: -(-len(options) // _SHARE_IN_A_ROUND)]:
            if all(_over(stand, pool) for pool, _ in giver.move):
                stand.apply(giver.move)


def trimmed(space: Space, replicas: Sequence[int]) -> list[int]:
    """`replicas`, less what the limits do not hold: first what exceeds guarantees, then floors.

    Of several pools the one that is furthest above gives first.
    """
    fewer, free = list(replicas), space.free(replicas)
    layout = space.layout
    for over in range(len(free)):
        while free[over] < 0:
            givers = [
                i
                for i, n in enumerate(fewer)
                if layout.takes[over, i] and n > space.aside[i] and space.movable[i]
            ]
            if not givers:
                break
            giver = max(givers, key=lambda i: (fewer[i] - layout.guarantee[i], fewer[i], -i))
            fewer[giver] -= 1
            for k, each in layout.takes_of[giver]:
                free[k] += each
    return fewer


def _over(stand: Stand, pool: int) -> bool:
    """Whether the pool takes of a limit that is exceeded."""
    return any(stand.free[k] < 0 for k in stand.space.layout.limits_of[pool])
