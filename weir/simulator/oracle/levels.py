"""When each replica of a pool should run, if covered work were paid a price.

The j-th replica (level j) covers what of a bin's need lies between j - 1 and j replicas,
clip(need - (j - 1), 0, 1), whatever the others do. So with a price on covered work the levels
separate, and each is a two-state problem: off or on, one bin of holding for each bin on, and a
start's bins for each change from off to on. Its dynamic programme runs over all levels and
prices at once; all it has to remember of the past is how much dearer it is to be on than off.

Costs and work are in replica-bins.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Levels", "Runs"]

_Floats = NDArray[np.float64]
_Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Runs:
    """A schedule that is best at `price`: `on`, shape (bins, levels)."""

    price: float
    on: _Flags
    cost: float
    covered: float


class Levels:
    """`value`, shape (bins, levels): work that each level covers in each bin while on.

    `start`, shape (bins,): bins that a start costs which serves from this bin on.
    """

    def __init__(self, value: _Floats, start: _Floats) -> None:
        self.value = value
        self.start = start

    @classmethod
    def between(cls, need: _Floats, low: int, high: int, start: _Floats) -> "Levels":
        """Levels low + 1 .. high of this need (in replicas), as far as any bin needs them."""
        top = min(high, math.ceil(need.max(initial=0.0)))
        below = np.arange(low, max(low, top), dtype=np.float64)
        return cls(np.clip(need[:, None] - below, 0.0, 1.0), start)

    @property
    def work(self) -> float:
        """What all levels together can cover."""
        return float(self.value.sum())

    def best(self, prices: _Floats) -> list[Runs]:
        """For each price the schedule of least cost less price times covered work.

        Ties are broken towards off, so that a higher price never covers less.
        """
        on = self._on(1.0 - prices[:, None] * self.value[:, None, :])
        return [self.runs(on[:, index], float(price)) for index, price in enumerate(prices)]

    def runs(self, on: _Flags, price: float = 0.0) -> Runs:
        starts = (on[1:] & ~on[:-1]).sum(axis=1)
        return Runs(
            price=price,
            on=on,
            cost=float(on.sum() + starts @ self.start[1:]),
            covered=float(self.value[on].sum()),
        )

    def _on(self, net: _Floats) -> _Flags:
        """`net`, shape (bins, prices, levels): what being on costs in a bin, less what it earns."""
        bins = len(net)
        dearer = net.reshape(bins, -1).copy()
        carried = np.empty_like(dearer[0])
        for k in range(1, bins):
            np.maximum(dearer[k - 1], 0.0, out=carried)
            np.minimum(carried, self.start[k], out=carried)
            np.add(dearer[k], carried, out=dearer[k])
        on = np.empty(dearer.shape, bool)
        threshold = np.zeros_like(carried)
        for k in range(bins - 1, -1, -1):
            np.less(dearer[k], threshold, out=on[k])
            np.multiply(on[k], self.start[k], out=threshold)
        return on.reshape(net.shape)
