"""What a decision says beside the allocation: what was not done, and what GPUs would be worth."""

from collections.abc import Iterable

import numpy as np

from globalplanner.core.arbiter.exchange import Refused
from globalplanner.core.arbiter.snapshot import Alternative
from globalplanner.core.arbiter.stand import Move, Stand
from globalplanner.core.budget.limits import used_up
from weir.sizing.basis import Floats

__all__ = ["alternatives_of", "prices_of"]

_MOST = 5


def alternatives_of(stand: Stand, refused: Iterable[Refused]) -> tuple[Alternative, ...]:
    """Those that would have added most."""
    best = sorted(refused, key=lambda each: (-each.trade.net, each.trade.move))[:_MOST]
    return tuple(
        Alternative(
            words=_words(stand, each.trade.move),
            value=each.trade.net,
            why_not=_why_not(stand, each),
        )
        for each in best
        if each.trade.net > stand.space.negligible
    )


def prices_of(stand: Stand, weighed: Floats) -> dict[str, float]:
    """By limit what one more GPU, or watt, would add, of the pools that only this holds back.

    `weighed`: what one more replica has been seen to gain, by pool. An estimate: from prices,
    which bound what GPUs add, and by size, as if a part of a replica had a part of its worth.
    """
    space, layout = stand.space, stand.space.layout
    replicas, aside = np.array(stand.replicas), np.array(space.aside)
    needs = layout.takes * (np.maximum(replicas + 1, aside) - np.maximum(replicas, aside))
    blocked = needs > np.maximum(np.array(stand.free), 0)[:, None]
    gain = np.minimum(stand.prices, weighed)
    wants = (replicas < np.array(space.high)) & np.array(space.movable) & (gain > 0.0)
    alone = blocked & (blocked.sum(axis=0) == 1) & wants
    each = gain / np.maximum(layout.takes, 1)
    worth = np.where(alone, each, 0.0).max(axis=1, initial=0.0).tolist()
    return {limit.name: each for limit, each in zip(layout.limits, worth, strict=True)}


def _words(stand: Stand, move: Move) -> str:
    ids, replicas = stand.space.layout.ids, stand.replicas
    return ", ".join(f"{ids[i]} {replicas[i]} -> {replicas[i] + more}" for i, more in move)


def _why_not(stand: Stand, refused: Refused) -> str:
    if refused.repaid_s is not None:
        return (
            f"would repay its start-up only after {refused.repaid_s:.0f} s, "
            f"more than {stand.space.rules.repay_s:.0f} s"
        )
    needs = stand.needs(refused.trade.takes)
    full = [stand.space.layout.limits[k] for k, need in needs.items() if need > stand.free[k]]
    return f"{used_up(full)}, and no pool has any that are worth less"
