"""The shape that comes back: its period, found or given, and the mean course over one period.

Classical decomposition: the ratios to a moving mean over one period are averaged by phase,
newer periods counting more, and drawn towards none as far as a period does not look like the
others. The period is where the autocorrelation peaks.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weir.forecast.samples import Grid

__all__ = ["Season", "find_period", "season_of"]

_MIN_PERIOD = 12
_MIN_CORRELATION = 0.4
_NEARLY = 0.85
_FORGET = 0.7
"""Weight of a period relative to the one after it."""
_DEEPEST, _HIGHEST = 0.8, 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Season:
    """Share by which the level is exceeded at each phase, counted from `start_s`."""

    shape: NDArray[np.float64]
    step_s: float
    start_s: float

    def at(self, at_s: float) -> float:
        """Between two phases, on the line between them."""
        place = (at_s - self.start_s) / self.step_s
        low = math.floor(place)
        share = place - low
        shape, count = self.shape, len(self.shape)
        return float((1.0 - share) * shape[low % count] + share * shape[(low + 1) % count])


def find_period(values: NDArray[np.float64]) -> int | None:
    """Steps after which the series comes back, at most half of it; None if it does not."""
    count = len(values)
    longest = count // 2
    if longest < _MIN_PERIOD:
        return None
    places = np.arange(count)
    rest = values - np.polyval(np.polyfit(places, values, 1), places)
    power = np.abs(np.fft.rfft(rest, 2 * count)) ** 2
    products = np.fft.irfft(power)[: longest + 1]
    if products[0] <= 1e-12 * float(np.dot(values, values)):
        return None
    overlap = count / (count - np.arange(longest + 1))
    correlation = products / products[0] * overlap
    below = np.flatnonzero(correlation < 0.0)
    if len(below) == 0:
        return None
    first = max(int(below[0]), _MIN_PERIOD)
    if first > longest or correlation[first:].max() < _MIN_CORRELATION:
        return None
    return first + _first_peak(correlation[first:])


def _first_peak(correlation: NDArray[np.float64]) -> int:
    """The highest place of the first stretch that is nearly as high as any: no multiple of it."""
    high = correlation >= _NEARLY * correlation.max()
    start = int(high.argmax())
    length = int(np.append(~high[start:], True).argmax())
    return start + int(correlation[start : start + length].argmax())


def season_of(grid: Grid, period: int) -> Season | None:
    """The season in the last whole periods of `grid`; None unless there are two."""
    values = grid.filled()
    whole = len(values) // period
    if whole < 2:
        return None
    values = values[-whole * period :]
    means = _moving_mean(values, period)
    ratios = np.divide(values, means, out=np.ones_like(values), where=means > 0.0)
    rest = ratios.reshape(whole, period) - 1.0
    shape = _strength(rest) * _course(rest)
    start_s = grid.end_s - (whole * period - 1) * grid.step_s
    return Season(np.clip(shape, -_DEEPEST, _HIGHEST), grid.step_s, start_s)


def _course(rest: NDArray[np.float64]) -> NDArray[np.float64]:
    """One period out of many, its mean zero."""
    weights = _FORGET ** np.arange(len(rest) - 1, -1, -1.0)
    course = np.average(rest, axis=0, weights=weights)
    return np.asarray(course - course.mean())


def _strength(rest: NDArray[np.float64]) -> float:
    """Share (0..1) of the others' course that a period left out shows: what will come back."""
    rows = range(len(rest))
    others = [_course(np.delete(rest, row, axis=0)) for row in rows]
    common = sum(float(np.dot(rest[row], others[row])) for row in rows)
    size = sum(float(np.dot(other, other)) for other in others)
    return min(1.0, max(0.0, common / size)) if size > 0.0 else 0.0


def _moving_mean(values: NDArray[np.float64], period: int) -> NDArray[np.float64]:
    """Centred; near the ends, the mean of the first or the last whole period."""
    sums = np.concatenate(([0.0], np.cumsum(values)))
    means = (sums[period:] - sums[:-period]) / period
    return np.interp(np.arange(len(values)), np.arange(len(means)) + 0.5 * (period - 1), means)
