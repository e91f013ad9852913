"""Local linear trend, filtered by a bank of Kalman filters that differ in how fast things move.

State: a level that walks at random, and a trend that fades and is disturbed. Each filter works
in units of its own measurement variance, which is what its surprises have lately come to: the
noise need not be told, and the whole is equivariant under scaling. Variances of level and
trend are the bank's grid, as shares of that noise. The filter that has lately explained the
series best is believed (static multiple models, Magill, IEEE TAC 10(4), 1965). Time is counted
in usual steps, a gap is a long step, so it only widens the band. A surprise is clipped;
surprises that add up in one direction (Page's cumulative sum) are a jump of the level.
"""

import math

import numpy as np
from numpy.typing import NDArray

from weir.forecast.outlook import Outlook
from weir.forecast.samples import Sample

__all__ = ["Kalman"]

_LEVELS, _TRENDS = np.meshgrid([3e-4, 3e-3, 0.03, 0.3, 3.0, 30.0], [0.0, 1e-5, 1e-3])
_Q_LEVEL = _LEVELS.ravel()
_Q_TREND = _TRENDS.ravel()
_FADE = 40.0
"""Usual steps after which a trend has lost two thirds."""
_CLIP = 4.0
_SLACK, _SUM = 1.0, 5.0
_LOST = 100.0
"""Variance of a level of which nothing is known any more."""
_Bank = NDArray[np.float64]
_MEMORY = 80
"""Usual steps that the noise and the standing of a filter remember."""


class Kalman:
    """One series; see the module for the method. `min_points`: before, it says nothing."""

    def __init__(self, *, min_points: int = 5) -> None:
        self._min_points = max(2, min_points)
        self._points = 0
        self._at_s = 0.0
        self._step_s = 0.0
        count = len(_Q_LEVEL)
        self._level, self._trend = np.zeros(count), np.zeros(count)
        self._p11, self._p12, self._p22 = np.ones(count), np.zeros(count), np.zeros(count)
        self._noise = np.zeros(count)
        self._width = np.zeros(count)
        """Remembered mean of the log of a surprise's variance, in units of the noise."""
        self._drift = 0.0

    def observe(self, sample: Sample) -> None:
        if self._points == 0:
            self._level[:] = sample.value
            self._step_s = sample.window_s
        else:
            self._learn_step(sample.at_s - self._at_s)
            self._advance((sample.at_s - self._at_s) / self._step_s)
            self._update(sample.value, self._step_s / sample.window_s)
        self._at_s = sample.at_s
        self._points += 1

    def predict(self, at_s: float, window_s: float) -> Outlook | None:
        if self._points < self._min_points:
            return None
        best = self._best()
        steps = (at_s - self._at_s) / self._step_s
        level, _, p11, _, _ = self._ahead(steps)
        variance = (p11[best] + self._step_s / window_s) * self._noise[best]
        return Outlook.normal(float(level[best]), math.sqrt(variance))

    def _best(self) -> int:
        tiny = 1e-18 * float(self._level[0]) ** 2 + 1e-200
        return int((np.log(self._noise + tiny) + self._width).argmin())

    def _learn_step(self, seen_s: float) -> None:
        """The usual step follows the median of the steps by small moves towards it."""
        if self._points == 1:
            self._step_s = seen_s
        gain = 1.0 + 1.0 / (4.0 + min(self._points, _MEMORY))
        self._step_s = min(max(seen_s, self._step_s / gain), self._step_s * gain)

    def _ahead(self, steps: float) -> tuple[_Bank, _Bank, _Bank, _Bank, _Bank]:
        """Level, trend, and the variances of level, both and trend, after `steps`."""
        keep = math.exp(-steps / _FADE)
        reach = _FADE * (1.0 - keep)
        return (
            self._level + reach * self._trend,
            keep * self._trend,
            self._p11
            + 2.0 * reach * self._p12
            + reach**2 * self._p22
            + _Q_LEVEL * steps
            + _Q_TREND * reach**2 * steps / 3.0,
            keep * (self._p12 + reach * self._p22) + _Q_TREND * reach * steps / 2.0,
            keep**2 * self._p22 + _Q_TREND * steps,
        )

    def _advance(self, steps: float) -> None:
        self._level, self._trend, self._p11, self._p12, self._p22 = self._ahead(steps)

    def _update(self, value: float, noise: float) -> None:
        """`noise`: variance of this measurement over that of a usual one."""
        total = self._p11 + noise
        surprise = value - self._level
        if self._points >= self._min_points:
            spread = math.sqrt(self._noise[best := self._best()] * total[best])
            if self._jumps(float(surprise[best]), spread):
                self._p11 = np.full_like(total, _LOST)
                total = self._p11 + noise
            else:
                surprise = np.clip(surprise, -_CLIP * spread, _CLIP * spread)
        self._judge(surprise**2 / total, np.log(total))
        level_gain, trend_gain = self._p11 / total, self._p12 / total
        self._level = self._level + level_gain * surprise
        self._trend = self._trend + trend_gain * surprise
        self._p22 = np.maximum(0.0, self._p22 - trend_gain * self._p12)
        self._p12 = (1.0 - level_gain) * self._p12
        self._p11 = (1.0 - level_gain) * self._p11

    def _jumps(self, surprise: float, spread: float) -> bool:
        """Page's cumulative sum of both directions, kept as one signed number."""
        if surprise == 0.0 or spread == 0.0:
            self._drift = 0.0
            return surprise != 0.0
        sigma = min(_CLIP, abs(surprise) / spread) * math.copysign(1.0, surprise)
        side = math.copysign(1.0, sigma)
        self._drift = side * max(0.0, max(0.0, side * self._drift) + side * sigma - _SLACK)
        if abs(self._drift) <= _SUM:
            return False
        self._drift = 0.0
        return True

    def _judge(self, squared: _Bank, width: _Bank) -> None:
        weight = max(1.0 / self._points, 1.0 / _MEMORY)
        self._noise = self._noise + weight * (squared - self._noise)
        self._width = self._width + weight * (width - self._width)
