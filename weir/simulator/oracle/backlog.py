"""The least that any number of replicas over time costs which does work in time.

Work done by time t lies between what must be done by then and what can be done by then: a
corridor. The state at an edge between two bins is how many replicas serve and how much of the
work that could have been done is left; more than the corridor's width there is lost. A dynamic
programme over both, with a price on lost work, gives for any price a lower bound of the cost of
all schedules that lose no more than is allowed (weak duality).

Work is counted in whole grains: what can be done is rounded up, what must be done down, and
what a number of replicas does in a bin up, so that no schedule is worse off. Replicas may come
and go within a bin: rounded outwards to whole bins a replica's run is longer by less than one
bin at each of its ends, so that a bin is taken off the cost of a start and off that of a stop.
Only start-up within the window costs anything: what serves from its beginning on has paid
before.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Corridor", "least_by_backlog", "least_by_work"]

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]

_PRICES = np.geomspace(1.1, 12.0, 8)
"""Of lost work, in bins of a replica; which one is best hardly matters between them."""

_GRAINS = (32, 16, 8, 4, 2, 1)
"""Grains in what a replica of capacity 1 does in a bin."""

_STATES = 2000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Corridor:
    """Work by edge, cumulative, in bins of a replica of capacity 1; `least` <= `most`.

    At the first edge all is done that could have been, at the last one what must be.
    """

    least: _Floats
    most: _Floats

    def must(self, cover: float) -> float:
        """Work that a schedule does from the first edge to the last which does `cover` of all."""
        return max(0.0, float(self.least[-1] - self.most[0])) - self.may_lose(cover)

    def may_lose(self, cover: float) -> float:
        return (1.0 - cover) * float(self.most[-1] - self.least[0])

    @property
    def comes(self) -> _Floats:
        """Work that comes in each bin."""
        return np.diff(self.most)

    @property
    def width(self) -> _Floats:
        """Work that may be left at the end of each bin."""
        return (self.most - np.maximum(self.least, self.most[:1]))[1:]


def least_by_work(corridor: Corridor, capacity: _Floats, cover: float) -> float:
    """Replica-bins that do `cover` of the work if it could be done at any time.

    `capacity[n]` is what n replicas more than the minimum do in a bin; it rises ever less.
    """
    bins = len(corridor.most) - 1
    each = corridor.must(cover) / bins if bins > 0 else 0.0
    if each <= capacity[0]:
        return 0.0
    return bins * float(np.interp(each, capacity, np.arange(len(capacity))))


def least_by_backlog(
    corridor: Corridor, capacity: _Floats, *, start_up: float, cover: float
) -> float:
    """Replica-bins, start-up included, of all schedules that do `cover` of the work in time.

    `start_up` is in bins. 0 if the corridor is too wide for it to be worked out.
    """
    bins = len(corridor.most) - 1
    if bins < 1:
        return 0.0
    enough = float((corridor.comes + np.append(0.0, corridor.width[:-1])).max())
    capacity = capacity[: 1 + int(np.searchsorted(capacity, enough))]
    grains = _grains(corridor, len(capacity))
    if grains is None:
        return 0.0
    steps = _Steps.of(corridor, capacity, grains)
    lost = max(corridor.may_lose(cover), steps.lost_at_most() / grains)
    prices = _PRICES / grains
    costs = steps.least_costs(prices, start_up)
    return max(0.0, float((costs - _PRICES * lost).max()))


def _grains(corridor: Corridor, sizes: int) -> int | None:
    widest = float(corridor.width.max())
    return next((n for n in _GRAINS if (n * widest + 2) * sizes <= _STATES), None)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Steps:
    """The corridor and the capacities in grains."""

    comes: _Ints
    width: _Ints
    capacity: _Ints

    @classmethod
    def of(cls, corridor: Corridor, capacity: _Floats, grains: int) -> "_Steps":
        come = np.ceil(grains * (corridor.most - corridor.most[0]) - 1e-6).astype(np.int64)
        due = np.maximum(0.0, corridor.least - corridor.most[0])
        return cls(
            comes=np.diff(come),
            width=(come - np.floor(grains * due + 1e-6).astype(np.int64))[1:],
            capacity=np.ceil(grains * capacity - 1e-6).astype(np.int64),
        )

    def lost_at_most(self) -> int:
        """What even the largest number of replicas loses."""
        left = lost = 0
        for comes, width in zip(self.comes.tolist(), self.width.tolist(), strict=True):
            left = max(0, left + comes - int(self.capacity[-1]))
            lost += max(0, left - width)
            left = min(left, width)
        return lost

    def least_costs(self, prices: _Floats, start_up: float) -> _Floats:
        """Of replica-bins, starts and lost grains at each price, over all schedules.

        Arrays are by size, grains left, and price.
        """
        sizes, deepest = len(self.capacity), int(self.width.max()) + 1
        held = np.arange(sizes, dtype=np.float64)[:, None, None]
        rows = deepest * np.arange(sizes)[:, None]
        before = np.arange(deepest) - self.capacity[:, None]
        onward = np.broadcast_to(-held, (sizes, deepest, len(prices)))  # all may have stopped
        for k in range(len(self.comes) - 1, -1, -1):
            after = before + self.comes[k]
            lost = np.maximum(after - self.width[k], 0)
            np.clip(after, 0, self.width[k], out=after)
            after += rows
            cost = onward.reshape(-1, len(prices)).take(after, axis=0)
            cost += lost[:, :, None] * prices
            cost += held
            onward = _chosen(cost, min(float(k), start_up - 1.0))
        least: _Floats = onward[0, 0]
        return least


def _chosen(cost: _Floats, start: float) -> _Floats:
    """The least over all sizes to go to, by size before; each that stops earns a bin."""
    fewer, more = cost.copy(), cost.copy()
    for size in range(1, len(cost)):
        np.minimum(fewer[size], fewer[size - 1] - 1.0, out=fewer[size])
    for size in range(len(cost) - 2, -1, -1):
        np.minimum(more[size], more[size + 1] + start, out=more[size])
    return np.minimum(fewer, more, out=fewer)
