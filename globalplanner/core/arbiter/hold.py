"""What is decided while nobody knows what is offered."""

from collections.abc import Sequence

from globalplanner.core.arbiter.estimates import Estimates
from globalplanner.core.arbiter.exchange import Exchange
from globalplanner.core.arbiter.givers import Givers
from globalplanner.core.arbiter.grow import grow
from globalplanner.core.arbiter.kept import Kept
from globalplanner.core.arbiter.reasons import explain_hold
from globalplanner.core.arbiter.relief import trimmed
from globalplanner.core.arbiter.snapshot import Decision, Memory, Rules, Snapshot
from globalplanner.core.arbiter.space import Space
from globalplanner.core.arbiter.stand import Effort, Stand

__all__ = ["hold"]

_EFFORT = 100


def hold(snapshot: Snapshot, rules: Rules, memory: Memory, kept: Kept) -> Decision:
    """Lulls end: what is unknown is no evidence that less is needed. Wishes are known."""
    space = Space(kept.layout, snapshot, rules)
    held = trimmed(space, space.now)
    stand = Stand(space, space.goodput.at(held), space.full)
    if space.wishes:
        space.price_wishes(0.0, held)
        caps = [
            space.high[i] if view.wish is not None else held[i]
            for i, view in enumerate(space.views)
        ]
        _share_wishes(stand, caps)
    replicas = list(stand.replicas)
    return Decision(
        replicas=space.allocation(replicas),
        reasons=explain_hold(space, replicas, snapshot.holding),
        memory=Memory(steps=memory.steps, left=memory.left, kept=kept),
        holding=snapshot.holding,
    )


def _share_wishes(stand: Stand, caps: Sequence[int]) -> None:
    """Wishing pools share what is free, and what each has more than its share of."""
    space = stand.space
    givers = Givers(Estimates(len(space.views)))
    grow(stand, caps, Effort(_EFFORT), givers.estimates)
    others = [i for i, view in enumerate(space.views) if view.wish is None]
    for pool in others:
        givers.may_leave[pool] = 0
    exchange = Exchange(stand, givers, Effort(_EFFORT), caps=caps)
    exchange.owe()
    exchange.improve()
