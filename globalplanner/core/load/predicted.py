"""Forecasts of the classes' rates by a predictor that the document names.

The trend of the last minute stays the floor: replicas are needed for what comes now, too, so a
predictor says how much more there will be, and when a rise that the trend sees is over.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

from weir.domain.ids import ClassName
from weir.forecast.fits import Fit, FitTask
from weir.forecast.forecaster import Forecaster, ForecastSettings, Kind
from weir.forecast.samples import Sample
from weir.forecast.trend import Forecast

__all__ = ["Predicted", "Series"]

_UPPER = 0.8
_SCORE = NormalDist().inv_cdf(_UPPER)

Series = tuple[ClassName, Kind]
"""A slow fit's: whose rate, by what."""


@dataclass(slots=True)
class Predicted:
    """One forecaster for each class, made when the class is first seen."""

    settings: ForecastSettings
    _by_class: dict[ClassName, Forecaster] = field(default_factory=dict)
    _newest_s: dict[ClassName, float] = field(default_factory=dict)

    def observe(self, name: ClassName, rate_rps: float, at_s: float, *, window_s: float) -> None:
        """Take in a class's mean rate over the `window_s` seconds that ended at `at_s`."""
        if at_s > self._newest_s.get(name, float("-inf")):
            self._newest_s[name] = at_s
            self._of(name).observe(rate_rps, at_s, window_s=window_s)

    def warm_up(self, samples: Mapping[ClassName, Iterable[Sample]]) -> None:
        """Learn from what was measured at another time, moved to end before anything is seen."""
        for name, series in samples.items():
            for sample in series:
                self.observe(name, sample.value, sample.at_s, window_s=sample.window_s)

    def at(self, name: ClassName, at_s: float, *, floor_rps: float) -> Forecast | None:
        """The rate at `at_s`, no less than `floor_rps`; None as long as too little is known."""
        outlook = self._of(name).predict(at_s)
        if outlook is None:
            return None
        mean = max(floor_rps, outlook.mean)
        return Forecast(mean=mean, std=max(0.0, outlook.quantile(_UPPER) - mean) / _SCORE)

    def due(self, now_s: float) -> Mapping[Series, FitTask]:
        """The slow fits to begin now; each is handed out once."""
        return {
            (name, kind): task
            for name, forecaster in self._by_class.items()
            for kind, task in forecaster.due_fits(now_s).items()
        }

    def accept(self, series: Series, fit: Fit) -> None:
        """Use a finished fit; late is no harm."""
        name, kind = series
        self._of(name).accept(kind, fit)

    def _of(self, name: ClassName) -> Forecaster:
        if name not in self._by_class:
            self._by_class[name] = Forecaster(self.settings)
        return self._by_class[name]
