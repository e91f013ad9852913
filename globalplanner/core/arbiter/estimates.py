"""What moves would gain, where that has been weighed: good enough to choose what to weigh next.

Gains change little from one decision to the next. Every so often a move is looked at again.
"""

from collections.abc import Sequence

import numpy as np

from globalplanner.core.arbiter.stand import Move
from weir.sizing.basis import Floats

__all__ = ["Estimates"]

_FADES = 0.98
"""An estimate becomes more hopeful with each decision."""
_FORGOTTEN = 32
"""Decisions after which it is forgotten, at different times for different pools."""


class Estimates:
    """`gain` of a replica more and `loss` of one less, by pool; infinite where not known."""

    def __init__(self, pools: int) -> None:
        self.number = 0
        self.gain: Floats = np.full(pools, np.inf)
        self.loss: Floats = np.full(pools, -np.inf)
        self._together: dict[Move, tuple[float, int]] = {}

    @property
    def fresh(self) -> bool:
        """Whether nothing is known from earlier decisions."""
        return self.number <= 1

    def later(self) -> "Estimates":
        """Those of the next decision."""
        pools = len(self.gain)
        result = Estimates(pools)
        result.number = self.number + 1
        forgotten = (np.arange(pools) + result.number) % _FORGOTTEN == 0
        result.gain = np.where(forgotten, np.inf, self.gain / _FADES)
        result.loss = np.where(forgotten, -np.inf, self.loss * _FADES)
        result._together = {
            move: known for move, known in self._together.items() if result._fresh(move, known)
        }
        return result

    def note(self, moves: Sequence[Move], gains: Sequence[float]) -> None:
        """Moves have been weighed."""
        for move, gain in zip(moves, gains, strict=True):
            if len(move) > 1:
                self._together[move] = (gain, self.number)
            elif move[0][1] == 1:
                self.gain[move[0][0]] = max(gain, 0.0)
            elif move[0][1] == -1:
                self.loss[move[0][0]] = max(-gain, 0.0)

    def of(self, move: Move, most: float) -> float:
        """What a move gains by what is known of it: not more than `most`."""
        if len(move) == 1:
            pool, more = move[0]
            return min(most, float(self.gain[pool] if more > 0 else -self.loss[pool]))
        known = self._together.get(move)
        if known is None:
            return most
        gain, number = known
        fades = _FADES ** (self.number - number)
        return min(most, gain / fades if gain > 0.0 else gain * fades)

    def _fresh(self, move: Move, known: tuple[float, int]) -> bool:
        age = self.number - known[1]
        return age < _FORGOTTEN // 2 + move[0][0] % (_FORGOTTEN // 2)
