"""It stays as it is: the last value, or the mean of a window, with the changes seen so far.

The spread is empirical: what the series changed by, over the same distance, among the samples
kept. So it needs no model of noise, and a random walk and white noise are both right.
"""

import math

import numpy as np
from numpy.typing import NDArray

from weir.forecast.outlook import LEVELS, Outlook
from weir.forecast.samples import History, Sample

__all__ = ["Constant"]

_KEPT = 256
_FEW = 8
"""From fewer changes no quantiles can be read; then a normal of the same size."""


class Constant:
    """`memory_s`: None for the last value, else the mean of the samples that ended within it."""

    def __init__(self, *, memory_s: float | None = None, min_points: int = 1) -> None:
        self._memory_s = memory_s
        self._min_points = min_points
        self._history = History(_KEPT)

    def observe(self, sample: Sample) -> None:
        self._history.add(sample)

    def predict(self, at_s: float, window_s: float) -> Outlook | None:
        history = self._history
        if len(history) < max(1, self._min_points):
            return None
        now = self._now()
        step_s = history.step_s()
        steps = max(1, round((at_s - history.last_s) / step_s))
        changes = self._changes(min(steps, max(1, len(history) // 2)))
        widen = math.sqrt(max(1.0, steps / max(1, len(history) // 2)))
        if len(changes) < _FEW:
            seen = float(np.sqrt(np.mean(changes**2))) if len(changes) else abs(now)
            return Outlook.normal(now, widen * seen)
        places = (len(changes) - 1) * np.array(LEVELS)
        spread = np.interp(places, np.arange(len(changes)), np.sort(changes))
        return Outlook.of((now + widen * (spread - spread[len(LEVELS) // 2])).tolist())

    def _now(self) -> float:
        if self._memory_s is None:
            return self._history.last
        return self._history.mean_since(self._history.last_s - self._memory_s)

    def _changes(self, steps: int) -> NDArray[np.float64]:
        values = self._history.values
        if self._memory_s is None:
            return values[steps:] - values[:-steps]
        width = max(1, round(self._memory_s / self._history.step_s()))
        if len(values) < width + steps:
            return values[steps:] - values[:-steps]
        sums = np.concatenate(([0.0], np.cumsum(values)))
        means = (sums[width:] - sums[:-width]) / width
        return values[width - 1 + steps :] - means[: len(values) - width + 1 - steps]
