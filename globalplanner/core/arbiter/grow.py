"""Add replicas where they are worth most per GPU, until nothing is left unserved or fits.

Components do not depend on each other but for the limits: as long as there is room for what all
of them want, each makes its best move in the same round. When there is not the best go first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from globalplanner.core.arbiter.estimates import Estimates
from globalplanner.core.arbiter.moves import Hope, gpus_of, hopes
from globalplanner.core.arbiter.space import Space
from globalplanner.core.arbiter.stand import Effort, Move, Stand
from weir.sizing.basis import Flags

__all__ = ["SMALL", "Scored", "grow", "open_by_component", "wanting"]

_EQUAL = 1e-9
_LEAST_WEIGHED = 3
_AT_ONCE = 64
"""Moves that are weighed in one go when nothing is known of them; then a few per component."""
SMALL = 16
"""In a fleet of so many pools a decision leaves nothing for the next one."""
_MOST_WEIGHED = 9
"""Moves of a component that a decision weighs in a fleet of more pools."""
_MANY = 8
"""Of so many moves that do not fit together the best one is made, of more the better half."""
_CHUNK = 4
"""A component that lacks so many replicas gets several at once where each adds as much."""


@dataclass(frozen=True, slots=True)
class Scored:
    """`gain` in value; `score` is what moves are compared by."""

    move: Move
    gain: float
    gpus: float

    @property
    def score(self) -> float:
        return self.gain / self.gpus


def grow(stand: Stand, caps: Sequence[int], effort: Effort, estimates: Estimates) -> None:
    """Add to the stand within `caps`; moves of one pool or of prefill and decode together."""
    growth = _Growth(stand, caps, effort, estimates)
    roomy = True
    while effort.left > 0:
        found = growth.best_moves(chunks=roomy)
        if not found:
            return
        short = _short(stand, found)
        if roomy and short and effort.left > 0 and estimates.fresh:
            roomy = False
            continue
        found.sort(key=lambda each: (-each.score, each.gpus, each.move))
        rivals = [each for each in found if not short.isdisjoint(stand.needs(each.move))]
        first = rivals[: len(rivals) // 2 if len(rivals) > _MANY else -(-len(rivals) // _MANY)]
        for each in found:
            if (each in first or each not in rivals) and stand.fits(each.move):
                stand.apply(each.move)


def wanting(stand: Stand) -> list[int]:
    """Components that leave something unserved."""
    return [c for c in range(len(stand.full)) if not stand.satisfied(c)]


def open_by_component(
    space: Space, open_pools: Flags, components: Iterable[int]
) -> dict[int, list[int]]:
    """Pools that may have more, of those components."""
    members = space.goodput.components
    flags = open_pools.tolist()
    return {c: [pool for pool in members[c].pools if flags[pool]] for c in components}


class _Growth:
    """`estimates` say which moves to weigh first."""

    def __init__(
        self, stand: Stand, caps: Sequence[int], effort: Effort, estimates: Estimates
    ) -> None:
        self._stand, self._caps = stand, caps
        self._effort, self._estimates = effort, estimates
        self._hasty = len(stand.replicas) > SMALL and not estimates.fresh
        """Whether the best of the first few hopes will do, and there is a next decision."""
        self._done: set[int] = set()
        """Components that nothing helps for which there is room."""

    def best_moves(self, *, chunks: bool) -> list[Scored]:
        """The best move of each component and wishing pool that fits, if one adds anything."""
        stand, space, caps = self._stand, self._stand.space, self._caps
        open_pools = _open(stand, caps)
        components = [c for c in wanting(stand) if c not in self._done]
        hopeful: dict[int, list[Hope]] = {}
        for c, pools in open_by_component(space, open_pools, components).items():
            fitting = [hope for hope in hopes(stand, c, pools, caps) if stand.fits(hope.move)]
            if ordered := self._in_order(fitting):
                hopeful[c] = ordered
            else:
                self._done.add(c)
        found = self._weighed(hopeful, chunks=chunks)
        for pool in space.wishes:
            gain = stand.hope(pool) if open_pools[pool] else 0.0
            if gain > 0.0:
                found.append(Scored(((pool, 1),), gain, space.layout.size[pool]))
        return found

    def _in_order(self, fitting: list[Hope]) -> list[Hope]:
        """Those last that have been of no use lately; in a large fleet not at all for a while."""
        of, negligible = self._estimates.of, self._stand.space.negligible
        useless = [of(hope.move, hope.most) <= negligible for hope in fitting]
        first = [hope for hope, no in zip(fitting, useless, strict=True) if not no]
        if self._hasty:
            return first[:_MOST_WEIGHED]
        return first + [hope for hope, no in zip(fitting, useless, strict=True) if no]

    def _weighed(self, hopeful: dict[int, list[Hope]], *, chunks: bool) -> list[Scored]:
        """The best of each component: hopes are weighed until none can beat what was found."""
        stand, estimates = self._stand, self._estimates
        each = _AT_ONCE // max(1, len(hopeful)) if estimates.fresh else 0
        weighed = max(_LEAST_WEIGHED, each)
        best: dict[int, Scored] = {}
        while hopeful:
            asked: list[tuple[int, Move]] = []
            for c, those in hopeful.items():
                for hope in those[:weighed]:
                    asked.append((c, hope.move))
                    if chunks:
                        asked += [(c, move) for move in _chunk(stand, c, hope, self._caps)]
            moves = [move for _, move in asked]
            gains = stand.gains(moves, self._effort)
            estimates.note(moves, gains)
            for (c, move), gain in zip(asked, gains, strict=True):
                if gain > stand.space.negligible:
                    best[c] = _better(Scored(move, gain, gpus_of(stand.space, move)), best.get(c))
            hopeful = {c: those[weighed:] for c, those in hopeful.items()}
            self._done.update(c for c, those in hopeful.items() if not those and c not in best)
            hopeful = {c: those for c, those in hopeful.items() if _may_beat(those, best.get(c))}
        return list(best.values())


def _may_beat(those: Sequence[Hope], best: Scored | None) -> bool:
    most = max((hope.score for hope in those), default=0.0)
    return most > 0.0 if best is None else most > best.score * (1.0 + _EQUAL)


def _open(stand: Stand, caps: Sequence[int]) -> Flags:
    """Pools that may have a replica more, and for which there is room."""
    space, layout = stand.space, stand.space.layout
    replicas, aside = np.array(stand.replicas), np.array(space.aside)
    needs = layout.takes * (np.maximum(replicas + 1, aside) - np.maximum(replicas, aside))
    room = (needs <= np.maximum(np.array(stand.free), 0)[:, None]).all(axis=0)
    result: Flags = (replicas < np.array(caps)) & np.array(space.movable) & room
    return result


def _chunk(stand: Stand, component: int, hope: Hope, caps: Sequence[int]) -> list[Move]:
    """The move several times over, if that is far from serving all."""
    missing = stand.full[component] - stand.point.value[component]
    times = int(missing / hope.most) // 2
    times = min([times, *((caps[i] - stand.replicas[i]) // more for i, more in hope.move)])
    if times < _CHUNK:
        return []
    move = tuple((pool, more * times) for pool, more in hope.move)
    return [move] if stand.fits(move) else []


def _better(scored: Scored, best: Scored | None) -> Scored:
    """More per GPU; of equals a multiple of the other move, then fewer GPUs, then names."""
    if best is None or scored.score > best.score * (1.0 + _EQUAL):
        return scored
    if best.score > scored.score * (1.0 + _EQUAL):
        return best
    if [pool for pool, _ in scored.move] == [pool for pool, _ in best.move]:
        return max(scored, best, key=lambda each: each.gpus)
    return min(scored, best, key=lambda each: (each.gpus, each.move))


def _short(stand: Stand, found: Sequence[Scored]) -> set[int]:
    """Limits that do not leave room for all of the moves."""
    needs: dict[int, int] = {}
    for each in found:
        for limit, gpus in stand.needs(each.move).items():
            needs[limit] = needs.get(limit, 0) + gpus
    return {limit for limit, gpus in needs.items() if gpus > max(stand.free[limit], 0)}
