"""Prophet's forecasts, made in a slow fit for some time to come and looked up here."""

import math

from weir.forecast.fits import Fit, FitTask, ProphetFit
from weir.forecast.outlook import Outlook
from weir.forecast.samples import History, Sample

__all__ = ["Prophet"]


class Prophet:
    """`points`: the newest so many steps are fitted; `ahead_s`: how far a fit must reach."""

    def __init__(self, *, ahead_s: float, points: int = 50, min_points: int = 5) -> None:
        self._history = History(points)
        self._points = points
        self._min_points = min_points
        self._ahead_s = ahead_s
        self._fit: ProphetFit | None = None
        self._asked_s: float | None = None

    def observe(self, sample: Sample) -> None:
        self._history.add(sample)

    def task(self) -> FitTask | None:
        if len(self._history) < self._min_points or self._asked_s == self._history.last_s:
            return None
        self._asked_s = self._history.last_s
        grid = self._history.grid(self._history.step_s(), self._points)
        return FitTask("prophet", grid, self._ahead_s)

    def accept(self, fit: Fit) -> None:
        if not isinstance(fit, ProphetFit):
            raise TypeError(f"a Prophet cannot use {type(fit).__name__}")
        self._fit = fit

    def predict(self, at_s: float, window_s: float) -> Outlook | None:
        fit = self._fit
        if fit is None:
            return None
        place = max(0.0, (at_s - fit.start_s) / fit.step_s)
        low = math.floor(place)
        if low + 1 >= len(fit.values):
            return None
        share = place - low
        return Outlook.of(((1.0 - share) * fit.values[low] + share * fit.values[low + 1]).tolist())
