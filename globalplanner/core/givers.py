"""Who could give replicas up, and what that would cost."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from globalplanner.core.moves import gpus_of, pairs
from globalplanner.core.space import Space
from globalplanner.core.stand import Effort, Move, Stand
from weir.sizing.basis import Flags, Floats

__all__ = ["Estimates", "Giver", "Givers", "covering"]

_FADES = 0.97
"""An estimate counts less with each decision, so that it is looked at again."""
_PAIRS_OF = 4
"""Components of which prefill and decode replicas are weighed as givers together."""
_OF_A_KIND = 2


@dataclass(frozen=True, slots=True)
class Giver:
    """`move` takes replicas away; `loss` is what that costs."""

    move: Move
    loss: float
    gpus: int


@dataclass(slots=True)
class Estimates:
    """What one replica more gains and one less loses, by pool, where that has been weighed."""

    gain: Floats
    loss: Floats

    @staticmethod
    def none(pools: int) -> "Estimates":
        return Estimates(np.full(pools, np.inf), np.full(pools, -np.inf))

    def faded(self) -> "Estimates":
        return Estimates(self.gain / _FADES, np.where(self.loss > 0.0, self.loss * _FADES, -np.inf))

    def gained(self, moves: Sequence[Move], gains: Sequence[float]) -> None:
        for move, gain in zip(moves, gains, strict=True):
            if len(move) == 1 and move[0][1] == 1:
                self.gain[move[0][0]] = max(gain, 0.0)

    def lost(self, moves: Sequence[Move], gains: Sequence[float]) -> None:
        for move, gain in zip(moves, gains, strict=True):
            if len(move) == 1 and move[0][1] == -1:
                self.loss[move[0][0]] = -gain

    def promising(
        self, stand: Stand, flags: Flags, components: Sequence[int], most: int
    ) -> list[int]:
        """Of `components` those whose flagged pools may gain most per GPU."""
        if len(components) <= most:
            return list(components)
        hope = np.minimum(stand.prices, self.gain) / np.array(stand.space.layout.gpus)
        hope = np.where(flags, hope, 0.0)
        members = stand.space.goodput.components
        best = [(-float(hope[list(members[c].pools)].max()), c) for c in components]
        return [c for _, c in sorted(best)[:most]]


@dataclass(slots=True)
class Givers:
    """`may_leave`: replicas that may leave by choice; a pool that is not in it may give all."""

    estimates: Estimates
    may_leave: dict[int, int] = field(default_factory=dict)

    def leave(self, pool: int, count: int) -> None:
        if pool in self.may_leave:
            self.may_leave[pool] = max(0, self.may_leave[pool] - count)

    def may_all_leave(self, gives: Move) -> bool:
        return all(-more <= self.may_leave.get(pool, -more) for pool, more in gives)

    def weighed(
        self,
        stand: Stand,
        effort: Effort,
        *,
        most: int,
        only: Callable[[int], bool] | None = None,
    ) -> list[Giver]:
        """The cheapest givers per GPU, with what they lose; `only` such pools, not by choice."""
        space = stand.space
        able = self._able(stand, only)
        loss = np.maximum(stand.losses, self.estimates.loss) / np.array(space.layout.gpus)
        ranked = sorted(
            np.flatnonzero(able).tolist(), key=lambda i: (loss[i], -space.layout.gpus[i], i)
        )
        moves: list[Move] = [((pool, -1),) for pool in _first(space, ranked, most)]
        if only is None:
            moves += _together(stand, able)
        losses = stand.gains(moves, effort)
        self.estimates.lost(moves, losses)
        found = [
            Giver(move, max(-gain, 0.0), gpus_of(space, move))
            for move, gain in zip(moves, losses, strict=True)
        ]
        found.sort(key=lambda giver: (giver.loss / giver.gpus, -giver.gpus, giver.move))
        return found

    def _able(self, stand: Stand, only: Callable[[int], bool] | None) -> Flags:
        """Pools that can give a replica whose GPUs are then free."""
        space = stand.space
        replicas = np.array(stand.replicas)
        able: Flags = np.array(space.movable) & (replicas > np.maximum(space.low, space.aside))
        if only is not None:
            able &= np.array([only(pool) for pool in range(len(replicas))])
            return able
        for pool, count in self.may_leave.items():
            able[pool] &= count > 0
        return able


def covering(stand: Stand, takes: Move, options: Sequence[Giver]) -> Move | None:
    """The cheapest givers with whose GPUs `takes` fits; None if there are not enough."""
    space = stand.space
    missing = {
        limit: gpus - max(stand.free[limit], 0)
        for limit, gpus in stand.needs(takes).items()
        if gpus > max(stand.free[limit], 0)
    }
    taking = {pool for pool, _ in takes}
    gives: dict[int, int] = {}
    while missing:
        best: tuple[float, Giver, dict[int, int]] | None = None
        for giver in options:
            if any(
                pool in taking
                or stand.replicas[pool] + gives.get(pool, 0) + more
                < max(space.low[pool], space.aside[pool])
                for pool, more in giver.move
            ):
                continue
            useful = _useful(space, giver.move, missing)
            if useful:
                cost = giver.loss / sum(useful.values())
                if best is None or cost < best[0]:
                    best = (cost, giver, useful)
        if best is None:
            return None
        for pool, more in best[1].move:
            gives[pool] = gives.get(pool, 0) + more
        missing = {k: gpus - best[2].get(k, 0) for k, gpus in missing.items()}
        missing = {k: gpus for k, gpus in missing.items() if gpus > 0}
    return _without_surplus(stand, takes, gives)


def _first(space: Space, ranked: Sequence[int], most: int) -> list[int]:
    """The first ones, and the first of each kind: under the same limits."""
    seen: dict[tuple[int, ...], int] = {}
    found = []
    for n, pool in enumerate(ranked):
        kind = space.layout.limits_of[pool]
        seen[kind] = seen.get(kind, 0) + 1
        if n < most or seen[kind] <= _OF_A_KIND:
            found.append(pool)
    return found


def _useful(space: Space, move: Move, missing: Mapping[int, int]) -> dict[int, int]:
    """GPUs that a giver frees of those that are missing, by limit."""
    freed: dict[int, int] = {}
    for pool, more in move:
        for limit in space.layout.limits_of[pool]:
            if limit in missing:
                freed[limit] = freed.get(limit, 0) - more * space.layout.gpus[pool]
    return {limit: min(gpus, missing[limit]) for limit, gpus in freed.items()}


def _without_surplus(stand: Stand, takes: Move, gives: dict[int, int]) -> Move:
    """Without givers that turned out not to be needed, the largest first."""
    for pool in sorted(gives, key=lambda pool: (-stand.space.layout.gpus[pool], pool)):
        while gives[pool] < 0:
            fewer = {**gives, pool: gives[pool] + 1}
            if not stand.fits(tuple(sorted((*takes, *((p, n) for p, n in fewer.items() if n))))):
                break
            gives = fewer
    return tuple(sorted((pool, more) for pool, more in gives.items() if more))


def _together(stand: Stand, able: Flags) -> list[Move]:
    """Prefill and decode replicas of the components where both together seem to cost least."""
    space = stand.space
    each = np.maximum(stand.losses, 0.0) / np.array(space.layout.gpus)
    ranked = []
    for c, component in enumerate(space.goodput.components):
        pools = [pool for pool in component.pools if able[pool]]
        kinds = {space.layout.roles[pool] for pool in pools}
        if len(kinds) > 1:
            ranked.append((float(min(each[pool] for pool in pools)), c, pools))
    found: list[Move] = []
    for _, _, pools in sorted(ranked)[:_PAIRS_OF]:
        room = [0] * len(able)
        for pool in pools:
            room[pool] = stand.replicas[pool] - max(space.low[pool], space.aside[pool])
        found += [tuple((p, -more) for p, more in move) for move in pairs(space, pools, room)]
    return found
