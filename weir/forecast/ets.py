"""Exponential smoothing with a damped trend and a season (Holt and Winters).

A bank of smoothers that differ in their gains runs side by side; the one with the smallest
remembered squared error is believed, so the gains follow the series and nothing is fitted.
Gains are per usual step and grow with the elapsed time (Wright, "Forecasting data published at
irregular time intervals", Management Science 32(4), 1986). The season is a factor, taken off
before and put on after; it is decomposed anew, from coarse means of all that is remembered, as
time goes by. Variance ahead is that of the additive-error model (Hyndman et al., "Forecasting
with Exponential Smoothing", 2008, ch. 6).
"""

import math

import numpy as np
from numpy.typing import NDArray

from weir.forecast.outlook import Outlook
from weir.forecast.samples import History, Sample
from weir.forecast.season import Season, find_period, season_of

__all__ = ["Ets"]

_ALPHAS, _BETAS = np.meshgrid([0.03, 0.1, 0.25, 0.5, 0.9, 1.0], [0.0, 0.05, 0.2])
_ALPHA, _BETA = _ALPHAS.ravel(), _BETAS.ravel()
_DAMPING = 0.97
_MEMORY = 80
_CLIP = 4.0
_COARSE_S = 300.0
_COARSE_KEPT = 2048
_LOOK_EVERY = 12
"""Coarse means between two looks for a season."""


class Ets:
    """`season_s`: None to look for one; it counts once two of them have been seen."""

    def __init__(self, *, season_s: float | None = None, min_points: int = 5) -> None:
        self._min_points = max(2, min_points)
        self._seasons = _Seasons(season_s)
        self._points = 0
        self._at_s = 0.0
        self._step_s = 0.0
        self._level, self._trend = np.zeros(len(_ALPHA)), np.zeros(len(_ALPHA))
        self._error = np.zeros(len(_ALPHA))

    def observe(self, sample: Sample) -> None:
        before = self._seasons.season
        self._seasons.observe(sample)
        if self._points == 0:
            self._level[:] = sample.value
            self._step_s = sample.window_s
        else:
            self._learn_step(sample.at_s - self._at_s)
            self._update(sample, before)
        if (season := self._seasons.season) is not before:
            self._level *= _factor(before, sample.at_s) / _factor(season, sample.at_s)
        self._at_s = sample.at_s
        self._points += 1

    def predict(self, at_s: float, window_s: float) -> Outlook | None:
        if self._points < self._min_points:
            return None
        best = int(self._error.argmin())
        steps = (at_s - self._at_s) / self._step_s
        mean = float(self._level[best]) + _reach(steps) * float(self._trend[best])
        factor = _factor(self._seasons.season, at_s)
        std = math.sqrt(float(self._error[best]) * _widening(best, steps))
        return Outlook.normal(factor * mean, factor * std)

    def _update(self, sample: Sample, season: Season | None) -> None:
        steps = (sample.at_s - self._at_s) / self._step_s
        expected = self._level + _reach(steps) * self._trend
        error = sample.value / _factor(season, sample.at_s) - expected
        if self._points >= 2 * self._min_points:
            limit = _CLIP * np.sqrt(self._error * max(1.0, steps))
            error = np.where(limit > 0.0, np.clip(error, -limit, limit), error)
        alpha, beta = 1.0 - (1.0 - _ALPHA) ** steps, 1.0 - (1.0 - _BETA) ** steps
        self._trend = _DAMPING**steps * self._trend + alpha * beta * error / max(1.0, steps)
        self._level = expected + alpha * error
        weight = max(1.0 / self._points, 1.0 / _MEMORY)
        self._error = self._error + weight * (error**2 / max(1.0, steps) - self._error)

    def _learn_step(self, seen_s: float) -> None:
        if self._points == 1:
            self._step_s = seen_s
        gain = 1.0 + 1.0 / (4.0 + min(self._points, _MEMORY))
        self._step_s = min(max(seen_s, self._step_s / gain), self._step_s * gain)


class _Seasons:
    """Coarse means of all that is remembered, and the season found in them."""

    def __init__(self, season_s: float | None) -> None:
        self.season: Season | None = None
        self._season_s = season_s
        self._history = History(_COARSE_KEPT)
        self._sum = self._weight_s = 0.0
        self._began_s: float | None = None
        self._unseen = 0

    def observe(self, sample: Sample) -> None:
        began_s = sample.at_s - sample.window_s if self._began_s is None else self._began_s
        self._began_s = began_s
        self._sum += sample.value * sample.window_s
        self._weight_s += sample.window_s
        if sample.at_s - began_s < self._coarse_s():
            return
        mean = self._sum / self._weight_s
        self._history.add(Sample(sample.at_s, mean, sample.at_s - began_s))
        self._sum = self._weight_s = 0.0
        self._began_s = sample.at_s
        self._unseen += 1
        if self._unseen >= _LOOK_EVERY:
            self._unseen = 0
            self._look()

    def _coarse_s(self) -> float:
        return _COARSE_S if self._season_s is None else min(_COARSE_S, self._season_s / 24.0)

    def _look(self) -> None:
        grid = self._history.grid(self._history.step_s(), _COARSE_KEPT)
        period = (
            find_period(grid.filled())
            if self._season_s is None
            else round(self._season_s / grid.step_s)
        )
        self.season = season_of(grid, period) if period is not None else None


def _factor(season: Season | None, at_s: float) -> float:
    return 1.0 if season is None else 1.0 + season.at(at_s)


def _reach(steps: float) -> float:
    """What a damped trend of one per step adds up to."""
    return float((1.0 - _DAMPING**steps) / (1.0 - _DAMPING))


def _widening(which: int, steps: float) -> float:
    """Variance so far ahead over that of one step."""
    whole = np.arange(1.0, min(steps, 2000.0))
    weights: NDArray[np.float64] = _ALPHA[which] * (
        1.0 + _BETA[which] * (1.0 - _DAMPING**whole) / (1.0 - _DAMPING)
    )
    return 1.0 + float(np.dot(weights, weights))
