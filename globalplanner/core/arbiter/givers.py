"""Who could give replicas up, and what that would cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf

import numpy as np

from globalplanner.core.arbiter.estimates import Estimates
from globalplanner.core.arbiter.moves import gpus_of, pairs
from globalplanner.core.arbiter.space import Space
from globalplanner.core.arbiter.stand import Effort, Move, Stand
from weir.sizing.basis import Flags, Floats

__all__ = ["Giver", "Givers"]

_PAIRS_OF = 4
"""Components of which prefill and decode replicas are weighed as givers together."""
_OF_A_KIND = 2


@dataclass(frozen=True, slots=True)
class Giver:
    """`move` takes replicas away; `loss` is what that costs."""

    move: Move
    loss: float
    gpus: float

    @property
    def price(self) -> float:
        return self.loss / self.gpus


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

    def cheapest(self, stand: Stand) -> float:
        """The least that a GPU given by choice could cost, prefill and decode together included."""
        space, able = stand.space, self._able(stand, None)
        loss = np.maximum(np.maximum(stand.losses, self.estimates.loss), 0.0)
        size = np.array(space.layout.size)
        least = float(np.where(able, loss / size, inf).min(initial=inf))
        if not space.layout.decodes.any():
            return least
        for component in space.goodput.components:
            pools = [pool for pool in component.pools if able[pool]]
            decodes = space.layout.decodes[pools]
            if pools and decodes.any() and not decodes.all():
                both = size[pools] + np.where(decodes, *_largest(size[pools], decodes))
                each = loss[pools] / both
                least = min(least, max(float(each[decodes].min()), float(each[~decodes].min())))
        return least

    def weighed(
        self,
        stand: Stand,
        effort: Effort,
        *,
        most: int,
        below: float = inf,
        only: Callable[[int], bool] | None = None,
    ) -> list[Giver]:
        """The cheapest givers per GPU, with what they lose, that may cost less than `below`.

        `only` such pools, and then not by choice.
        """
        space = stand.space
        able, price = self._able(stand, only), self._prices(stand)
        ranked = np.flatnonzero(able & (price < below)).tolist()
        ranked.sort(key=lambda i: (price[i], -space.layout.size[i], i))
        moves: list[Move] = [((pool, -1),) for pool in _first(space, ranked, most)]
        if only is None:
            moves += self._together(stand, able, price, below)[:most]
        gains = stand.gains(moves, effort)
        self.estimates.note(moves, gains)
        found = [
            Giver(move, max(-gain, 0.0), gpus_of(space, move))
            for move, gain in zip(moves, gains, strict=True)
        ]
        found.sort(key=lambda giver: (giver.price, -giver.gpus, giver.move))
        return found

    def _together(self, stand: Stand, able: Flags, price: Floats, below: float) -> list[Move]:
        """Prefill and decode replicas that may cost less than `below`, the cheapest first."""
        found = []
        for move in _together(stand, able, price):
            least = max(price[pool] * stand.space.layout.size[pool] for pool, _ in move)
            each = -self.estimates.of(move, -least) / gpus_of(stand.space, move)
            if each < below:
                found.append((each, move))
        return [move for _, move in sorted(found)]

    def _prices(self, stand: Stand) -> Floats:
        """What a GPU of each pool may cost at least, by what is known."""
        loss = np.maximum(stand.losses, self.estimates.loss)
        prices: Floats = np.maximum(loss, 0.0) / np.array(stand.space.layout.size)
        return prices

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


def _largest(size: Floats, decodes: Flags) -> tuple[float, float]:
    """The most GPUs that go with a decode replica, and with one of the others."""
    return float(size[~decodes].max()), float(size[decodes].max())


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


def _together(stand: Stand, able: Flags, price: Floats) -> list[Move]:
    """Prefill and decode replicas of the components where both together seem to cost least."""
    space, flags = stand.space, able.tolist()
    ranked = []
    for c, component in enumerate(space.goodput.components):
        pools = [pool for pool in component.pools if flags[pool]]
        if len({space.layout.roles[pool] for pool in pools}) > 1:
            ranked.append((float(price[pools].min()), c, pools))
    found: list[Move] = []
    for _, _, pools in sorted(ranked)[:_PAIRS_OF]:
        room = {i: stand.replicas[i] - max(space.low[i], space.aside[i]) for i in pools}
        found += [tuple((p, -more) for p, more in move) for move in pairs(space, room)]
    return found
