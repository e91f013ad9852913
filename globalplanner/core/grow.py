"""Add replicas where they are worth most per GPU, until nothing is left unserved or fits.

Components do not depend on each other but for the limits: as long as there is room for what all
of them want, each makes its best move in the same round. When there is not the best go first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from globalplanner.core.moves import Hope, gpus_of, hopes
from globalplanner.core.space import Space
from globalplanner.core.stand import Effort, Move, Stand
from weir.sizing.basis import Flags

__all__ = ["Scored", "grow", "open_by_component", "wanting"]

_EQUAL = 1e-9
_MOST_WEIGHED = 24
_LEAST_WEIGHED = 3
_AT_ONCE = 64
"""Programs weighed in one go, or a few of each component."""
_SHARE_IN_A_ROUND = 8
_CHUNK = 4
"""A component that lacks so many replicas gets several at once where each adds as much."""


@dataclass(frozen=True, slots=True)
class Scored:
    """`gain` in value; `score` is what moves are compared by."""

    move: Move
    gain: float
    gpus: int

    @property
    def score(self) -> float:
        return self.gain / self.gpus


def grow(stand: Stand, caps: Sequence[int], effort: Effort) -> None:
    """Add to the stand within `caps`; moves of one pool or of prefill and decode together."""
    done: set[int] = set()
    roomy = True
    while effort.left > 0:
        found = _best_moves(stand, caps, done, effort, chunks=roomy)
        if not found:
            return
        fits = _fit_together(stand, found)
        if roomy and not fits:
            roomy = False
            continue
        found.sort(key=lambda each: (-each.score, each.gpus, each.move))
        for each in found if fits else found[: -(-len(found) // _SHARE_IN_A_ROUND)]:
            if stand.fits(each.move):
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


def _best_moves(
    stand: Stand, caps: Sequence[int], done: set[int], effort: Effort, *, chunks: bool
) -> list[Scored]:
    """The best move of each component and wishing pool that fits, if one adds anything."""
    space = stand.space
    open_pools = _open(stand, caps)
    components = [c for c in wanting(stand) if c not in done]
    hopeful: dict[int, list[Hope]] = {}
    for c, pools in open_by_component(space, open_pools, components).items():
        fitting = [hope for hope in hopes(stand, c, pools, caps) if stand.fits(hope.move)]
        if fitting:
            hopeful[c] = fitting
        else:
            done.add(c)
    found = _weighed(stand, hopeful, caps, done, effort, chunks=chunks)
    for pool in space.wishes:
        gain = stand.hope(pool) if open_pools[pool] else 0.0
        if gain > 0.0:
            found.append(Scored(((pool, 1),), gain, space.layout.gpus[pool]))
    return found


def _open(stand: Stand, caps: Sequence[int]) -> Flags:
    """Pools that may have a replica more, and for which there is room."""
    space, layout = stand.space, stand.space.layout
    replicas, gpus = np.array(stand.replicas), np.array(layout.gpus)
    aside = np.array(space.aside)
    needs = (np.maximum(replicas + 1, aside) - np.maximum(replicas, aside)) * gpus
    free = np.maximum(np.array(stand.free), 0)
    room = np.where(layout.member, free[:, None], np.iinfo(np.int64).max).min(axis=0, initial=2**62)
    result: Flags = (replicas < np.array(caps)) & np.array(space.movable) & (needs <= room)
    return result


def _weighed(
    stand: Stand,
    hopeful: dict[int, list[Hope]],
    caps: Sequence[int],
    done: set[int],
    effort: Effort,
    *,
    chunks: bool,
) -> list[Scored]:
    """The best of each component. Those whose first hopes fail look further next time."""
    if not hopeful:
        return []
    most = min(_MOST_WEIGHED, max(_LEAST_WEIGHED, _AT_ONCE // len(hopeful)))
    found: list[Scored] = []
    while hopeful:
        asked: list[tuple[int, Move]] = []
        for c, those in hopeful.items():
            for hope in those[:most]:
                asked.append((c, hope.move))
                if chunks:
                    asked += [(c, move) for move in _chunk(stand, c, hope, caps)]
        gains = stand.gains([move for _, move in asked], effort)
        best: dict[int, Scored] = {}
        for (c, move), gain in zip(asked, gains, strict=True):
            if gain > stand.space.negligible:
                scored = Scored(move, gain, gpus_of(stand.space, move))
                best[c] = _better(scored, best.get(c))
        found += best.values()
        rest = {c: those[most:] for c, those in hopeful.items() if c not in best}
        done.update(c for c, those in rest.items() if not those)
        hopeful = {c: those for c, those in rest.items() if those}
    return found


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


def _fit_together(stand: Stand, found: Sequence[Scored]) -> bool:
    needs: dict[int, int] = {}
    for each in found:
        for limit, gpus in stand.needs(each.move).items():
            needs[limit] = needs.get(limit, 0) + gpus
    return all(gpus <= max(stand.free[k], 0) for k, gpus in needs.items())
