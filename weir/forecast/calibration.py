"""A band that keeps its promise: what a predictor said, corrected by what then came.

For one distance ahead. Every forecast waits for its measurement; where that lay in the
forecast, as a normal score, is remembered. The quantile `q` of the corrected forecast is the
raw one at the score that the share `q` of the remembered ones did not exceed (conformal
prediction with the latest errors, Gibbs and Candès, "Adaptive conformal inference under
distribution shift", NeurIPS 2021, in the form of a predictive distribution). Until enough has
been seen, the model is believed. Forecasts that overlap in time count as one.
"""

import math
from array import array
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence

from weir.forecast.outlook import LEVELS, SCORES, Outlook, pinball
from weir.forecast.samples import Sample

__all__ = ["Record", "stride"]

_KEPT = 400
_PENDING = 5
"""So many forecasts wait for their measurement; more would hardly tell more."""
_BELIEF = 12.0
"""The model weighs as much as so many remembered scores, and less and less beside more."""
_MEMORY = 200
"""Forecasts that the loss and the coverage remember."""
_BAND = (LEVELS.index(0.05), LEVELS.index(0.95))


def stride(ahead_s: float, window_s: float) -> int:
    """Windows between two forecasts that are held against what comes."""
    return max(1, int(ahead_s / (_PENDING * window_s)))


class Record:
    """One predictor's record at `ahead_s`: corrects it, and knows its loss and coverage.

    `loss` is the remembered pinball loss over `levels`; `coverage` the share of measurements
    that fell into the 90 % band as it was issued. None before any forecast has come due.
    With `kept` scores of 0 it only watches.
    """

    def __init__(self, ahead_s: float, levels: Sequence[float], *, kept: int = _KEPT) -> None:
        self.ahead_s = ahead_s
        self.loss: float | None = None
        self.coverage: float | None = None
        self._levels = levels
        self._kept = kept
        self._waiting: deque[tuple[float, Outlook, Outlook]] = deque()
        self._scores = array("d")
        self._sorted = array("d")
        self._shift: Sequence[float] | None = None
        self._due = 0

    def corrected(self, raw: Outlook) -> Outlook:
        return raw if self._shift is None else raw.moved(self._shift)

    def standing(self, few: int) -> float:
        """The loss, infinite before `few` measurements have come."""
        return math.inf if self.loss is None or self._due < few else self.loss

    def expect(self, raw: Outlook, issued: Outlook, due_s: float) -> None:
        """Remember a forecast of the measurement that ends at `due_s`."""
        self._waiting.append((due_s, raw, issued))

    def observe(self, sample: Sample) -> None:
        """Hold all forecasts that are due against the measurement."""
        waiting = self._waiting
        changed = False
        while waiting and waiting[0][0] <= sample.at_s + 1e-6 * sample.window_s:
            due_s, raw, issued = waiting.popleft()
            if due_s > sample.at_s - sample.window_s:
                self._learn(raw, issued, sample.value)
                changed = True
        if changed and self._scores:
            apart_s = stride(self.ahead_s, sample.window_s) * sample.window_s
            self._shift = self._blended(max(1.0, self.ahead_s / apart_s))

    def _learn(self, raw: Outlook, issued: Outlook, value: float) -> None:
        self._due += 1
        weight = max(1.0 / self._due, 1.0 / _MEMORY)
        loss = pinball(issued, self._levels, value)
        inside = issued.values[_BAND[0]] <= value <= issued.values[_BAND[1]]
        self.loss = loss if self.loss is None else self.loss + weight * (loss - self.loss)
        before = float(inside) if self.coverage is None else self.coverage
        self.coverage = before + weight * (inside - before)
        if self._kept == 0 or raw.values[0] == raw.values[-1]:
            return  # without a spread there is no place in it
        score = raw.score(value)
        self._scores.append(score)
        insort(self._sorted, score)
        if len(self._scores) > self._kept:
            del self._sorted[bisect_left(self._sorted, self._scores.pop(0))]

    def _blended(self, overlap: float) -> list[float]:
        """The remembered quantiles, drawn towards the model while they are few."""
        seen = (len(self._sorted) / overlap) ** 2
        trust = seen / (seen + _BELIEF**2)
        return [
            trust * self._remembered(level) + (1.0 - trust) * score
            for level, score in zip(LEVELS, SCORES, strict=True)
        ]

    def _remembered(self, level: float) -> float:
        """The conformal quantile: of one more score, as likely anywhere among these."""
        place = level * (len(self._sorted) + 1) - 1.0
        low = min(max(int(place), 0), len(self._sorted) - 1)
        high = min(low + 1, len(self._sorted) - 1)
        share = min(1.0, max(0.0, place - low))
        return (1.0 - share) * self._sorted[low] + share * self._sorted[high]
