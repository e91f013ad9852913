"""Measurements of one rate at irregular times, and what models that need a grid make of them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import numpy as np
from numpy.typing import NDArray

__all__ = ["Grid", "History", "Sample", "Windows", "binned"]

_ROUNDING = 1e-6
_PLACES = 64
"""So many of the newest samples tell the usual distance between two."""


@dataclass(frozen=True, slots=True)
class Sample:
    """`value` is the mean rate over the `window_s` seconds that ended at `at_s`."""

    at_s: float
    value: float
    window_s: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and math.isfinite(self.at_s)):
            raise ValueError(f"a sample must be finite, not {self}: leave out what is unknown")
        if not self.window_s > 0.0:
            raise ValueError(f"window_s must be > 0, not {self.window_s}")


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Means of equal steps; the last ends at `end_s`. NaN where nothing was measured."""

    values: NDArray[np.float64]
    step_s: float
    end_s: float

    def filled(self) -> NDArray[np.float64]:
        """With straight lines through the gaps."""
        known = np.isfinite(self.values)
        if known.all():
            return self.values
        places = np.arange(len(self.values))
        return np.interp(places, places[known], self.values[known])


class History:
    """The newest `capacity` samples, in order of time; an older one than the last is refused."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._at_s = np.empty(2 * capacity)
        self._value = np.empty(2 * capacity)
        self._window_s = np.empty(2 * capacity)
        self._start = self._end = 0
        self._step_s: float | None = None
        """As long as it is not known anew."""

    def add(self, sample: Sample) -> None:
        """Raises `ValueError` if `sample` is not newer than the last one."""
        if self._end > self._start and sample.at_s <= self.last_s:
            raise ValueError(f"time runs backwards: {sample.at_s} is not after {self.last_s}")
        if self._end == len(self._at_s):
            self._move_to_front()
        self._at_s[self._end] = sample.at_s
        self._value[self._end] = sample.value
        self._window_s[self._end] = sample.window_s
        self._end += 1
        self._step_s = None
        self._start = max(self._start, self._end - self._capacity)

    def __len__(self) -> int:
        return self._end - self._start

    @property
    def at_s(self) -> NDArray[np.float64]:
        return self._at_s[self._start : self._end]

    @property
    def values(self) -> NDArray[np.float64]:
        return self._value[self._start : self._end]

    @property
    def last_s(self) -> float:
        """When the newest sample ended; there must be one."""
        return float(self._at_s[self._end - 1])

    @property
    def last(self) -> float:
        return float(self._value[self._end - 1])

    def step_s(self) -> float:
        """The usual distance of two samples; of a single one, its window."""
        if self._step_s is None:
            newest = self.at_s[-_PLACES:].tolist()
            apart_s = [later - before for before, later in pairwise(newest)]
            self._step_s = median(apart_s) if apart_s else float(self._window_s[self._end - 1])
        return self._step_s

    def mean_since(self, from_s: float) -> float:
        """Mean rate of the samples that ended after `from_s`, the newest at any rate."""
        first = min(int(np.searchsorted(self.at_s, from_s, "right")), len(self) - 1)
        weights = self._window_s[self._start + first : self._end]
        return float(np.dot(self.values[first:], weights) / weights.sum())

    def grid(self, step_s: float, points: int) -> Grid:
        """The last `points` steps, fewer if the history is shorter."""
        back = np.rint((self.last_s - self.at_s) / step_s).astype(np.int64)
        length = int(min(points, back[0] + 1))
        kept = back < length
        places = length - 1 - back[kept]
        counts = np.bincount(places, minlength=length)
        sums = np.bincount(places, weights=self.values[kept], minlength=length)
        values = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        return Grid(values, step_s, self.last_s)

    def _move_to_front(self) -> None:
        for column in (self._at_s, self._value, self._window_s):
            column[: self._end - self._start] = column[self._start : self._end].copy()
        self._end -= self._start
        self._start = 0


class Windows:
    """Puts samples together until they span `window_s`; longer ones pass as they are.

    What was measured for less than half of its span is dropped: it would say little.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._began_s: float | None = None
        self._sum = self._covered_s = 0.0

    def add(self, sample: Sample) -> Sample | None:
        """The mean over a whole window, if `sample` completes one."""
        began_s = self._began_s
        if began_s is None:
            began_s = self._began_s = sample.at_s - sample.window_s
        self._sum += sample.value * sample.window_s
        self._covered_s += sample.window_s
        span_s = sample.at_s - began_s
        if span_s < self._window_s * (1.0 - _ROUNDING):
            return None
        mean, covered_s = self._sum / self._covered_s, self._covered_s
        self._began_s, self._sum, self._covered_s = sample.at_s, 0.0, 0.0
        return Sample(sample.at_s, mean, covered_s) if covered_s >= 0.5 * span_s else None


def binned(
    timestamp_s: NDArray[np.float64],
    weights: NDArray[np.float64] | None,
    *,
    window_s: float,
    from_s: float,
    to_s: float,
) -> Iterator[Sample]:
    """Events counted, or their `weights` summed, per second of each whole window in between.

    This is how a request trace becomes a series: weights are its prompt or output tokens.
    """
    windows = int((to_s - from_s) / window_s + 1e-9)
    edges = from_s + window_s * np.arange(windows + 1)
    sums, _ = np.histogram(timestamp_s, bins=edges, weights=weights)
    for end_s, total in zip(edges[1:].tolist(), sums.tolist(), strict=True):
        yield Sample(end_s, total / window_s, window_s)
