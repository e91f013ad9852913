"""What a forecast says: a distribution, kept as its values at fixed quantile levels.

Between the levels a value is interpolated on the normal score of the level, beyond them
extrapolated: so a normal distribution is exact, any monotone transform of it keeps its
quantiles, and an empirical one needs no formula.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

__all__ = ["LEVELS", "SCORES", "Distribution", "Outlook", "pinball"]

_NORMAL = NormalDist()
LEVELS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
SCORES = tuple(_NORMAL.inv_cdf(level) for level in LEVELS)
_MIDDLE = LEVELS.index(0.5)
_FARTHEST = 30.0
"""A score of what was thought impossible: where the spread is zero, or nearly."""


class Distribution(Protocol):
    """What planners ask of any forecast; `weir.forecast.trend.Forecast` is one too."""

    @property
    def mean(self) -> float:
        """The expected value."""

    def quantile(self, q: float) -> float:
        """The value that is not exceeded with probability `q` (0 < q < 1)."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """A distribution by its values at `LEVELS`, which never fall."""

    values: tuple[float, ...]

    @classmethod
    def normal(cls, mean: float, std: float) -> "Outlook":
        return cls(tuple([mean + std * score for score in SCORES]))

    @classmethod
    def of(cls, values: Sequence[float]) -> "Outlook":
        """Sorts what a model or a correction has let cross."""
        return cls(tuple(sorted(values)))

    @property
    def median(self) -> float:
        return self.values[_MIDDLE]

    @property
    def mean(self) -> float:
        """Of the piecewise normal, from Gauss-Hermite points; exact for a normal one."""
        return (self.at(-_ROOT_3) + 4.0 * self.median + self.at(_ROOT_3)) / 6.0

    def quantile(self, q: float) -> float:
        """The value that is not exceeded with probability `q` (0 < q < 1)."""
        return self.at(_NORMAL.inv_cdf(q))

    def at(self, score: float) -> float:
        """The value at a normal score: 0 is the median, 1.645 the quantile 0.95."""
        upper = min(max(bisect_left(SCORES, score), 1), len(SCORES) - 1)
        low, high = SCORES[upper - 1], SCORES[upper]
        share = (score - low) / (high - low)
        start = self.values[upper - 1]
        return start + share * (self.values[upper] - start)

    def score(self, value: float) -> float:
        """The inverse of `at`, within ±30: where in this distribution `value` lies."""
        values = self.values
        upper = min(max(bisect_left(values, value), 1), len(values) - 1)
        start, width = values[upper - 1], values[upper] - values[upper - 1]
        if width <= 0.0:
            inside = start <= value <= start + width
            return 0.0 if inside else math.copysign(_FARTHEST, value - start)
        low, high = SCORES[upper - 1], SCORES[upper]
        score = low + (value - start) / width * (high - low)
        return min(_FARTHEST, max(-_FARTHEST, score))

    def mapped(self, monotone: Callable[[float], float]) -> "Outlook":
        """The distribution of a function, which must not fall, of what this is one of."""
        return Outlook(tuple([monotone(value) for value in self.values]))

    def moved(self, scores: Sequence[float]) -> "Outlook":
        """With the values at `scores`, one per level, in place of those at `SCORES`."""
        return Outlook.of([self.at(score) for score in scores])

    def raised(self, floor: float) -> "Outlook":
        """With median and upper quantiles at `floor` or above; the lower ones stay."""
        values = self.values
        return Outlook(values[:_MIDDLE] + tuple([max(floor, value) for value in values[_MIDDLE:]]))


_ROOT_3 = math.sqrt(3.0)


def pinball(outlook: Outlook, levels: Sequence[float], value: float) -> float:
    """Mean over `levels` of the quantile loss, in the unit of `value`."""
    total = 0.0
    for level in levels:
        error = value - outlook.quantile(level)
        total += max(level * error, (level - 1.0) * error)
    return total / len(levels)
