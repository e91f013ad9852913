"""ARIMA whose coefficients come from a slow fit and are put to the newest data at each sample.

So an old fit still forecasts from what is there now. Recursions after Box and Jenkins: the
surprises of the newest steps, the path ahead, and the weights of future surprises, whose sum
of squares is the variance.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from weir.forecast.fits import ArimaFit, Fit, FitTask
from weir.forecast.outlook import Outlook
from weir.forecast.samples import History, Sample

__all__ = ["Arima"]

_RECENT = 64
"""Steps over which the surprises are followed; before, they count as zero."""
_MARGIN = 1e-3
_FARTHEST = 400
"""Steps ahead."""


class Arima:
    """`points`: the newest so many steps are fitted, `min_points` at least."""

    def __init__(self, *, points: int = 300, min_points: int = 20) -> None:
        self._min_points = min_points
        self._history = History(points)
        self._points = points
        self._fit: ArimaFit | None = None
        self._asked_s: float | None = None
        self._path: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    def observe(self, sample: Sample) -> None:
        self._history.add(sample)
        self._path = None

    def task(self) -> FitTask | None:
        if len(self._history) < self._min_points or self._asked_s == self._history.last_s:
            return None
        self._asked_s = self._history.last_s
        step_s = self._history.step_s()
        return FitTask("arima", self._history.grid(step_s, self._points), _FARTHEST * step_s)

    def accept(self, fit: Fit) -> None:
        """One whose recursions would grow without bound is passed over; the last one stays."""
        if not isinstance(fit, ArimaFit):
            raise TypeError(f"an ARIMA cannot use {type(fit).__name__}")
        if _fades(fit.ar) and _fades([-each for each in fit.ma]):
            self._fit, self._path = fit, None

    def predict(self, at_s: float, window_s: float) -> Outlook | None:
        if self._fit is None:
            return None
        means, variances = self._path = self._path or self._ahead(self._fit)
        place = max(0, round((at_s - self._history.last_s) / self._fit.step_s) - 1)
        if place >= len(means):
            return None
        return Outlook.normal(float(means[place]), math.sqrt(float(variances[place])))

    def _ahead(self, fit: ArimaFit) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        values = self._history.grid(fit.step_s, _RECENT).filled()
        steps = _steps_for(values, fit.differences)
        centred = (steps - fit.centre).tolist()
        surprises = _surprises(centred, fit)
        path = np.array(_continued(centred, surprises, fit, _FARTHEST)) + fit.centre
        weights = np.array(_weights(fit, _FARTHEST))
        for order in range(fit.differences - 1, -1, -1):
            path = _steps_for(values, order)[-1] + np.cumsum(path)
            weights = np.cumsum(weights)
        return path, fit.variance * np.cumsum(weights**2)


def _fades(coefficients: Sequence[float]) -> bool:
    """Whether x = sum of coefficient * earlier x, newest first, dies away."""
    if not coefficients:
        return True
    growth = np.abs(np.roots([1.0, *(-each for each in coefficients)]))
    return bool(growth.max() < 1.0 - _MARGIN)


def _steps_for(values: NDArray[np.float64], differences: int) -> NDArray[np.float64]:
    return np.diff(values, differences) if len(values) > differences else np.zeros(1)


def _surprises(centred: Sequence[float], fit: ArimaFit) -> list[float]:
    """What each step was beside what the steps and surprises before let expect."""
    seen: list[float] = []
    for place, value in enumerate(centred):
        expected = _dot(fit.ar, centred, place) + _dot(fit.ma, seen, place)
        known = place >= len(fit.ar)
        seen.append(value - expected if known else 0.0)
    return seen


def _continued(
    centred: Sequence[float], surprises: Sequence[float], fit: ArimaFit, count: int
) -> list[float]:
    path, future = list(centred), [*surprises, *([0.0] * count)]
    for place in range(len(centred), len(centred) + count):
        path.append(_dot(fit.ar, path, place) + _dot(fit.ma, future, place))
    return path[len(centred) :]


def _weights(fit: ArimaFit, count: int) -> list[float]:
    """How much of one surprise is left after each step (the psi weights), 1 at first."""
    weights = [1.0]
    for place in range(1, count):
        direct = fit.ma[place - 1] if place <= len(fit.ma) else 0.0
        weights.append(direct + _dot(fit.ar, weights, place))
    return weights


def _dot(coefficients: Sequence[float], values: Sequence[float], place: int) -> float:
    """The newest first, of what lies before `place`."""
    return sum(
        c * values[place - 1 - lag] for lag, c in enumerate(coefficients) if place - 1 - lag >= 0
    )
