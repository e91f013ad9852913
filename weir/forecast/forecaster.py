"""One rate's forecast, from what is measured to what planners ask: the front of this package.

Pure, like all below it: slow fits are handed out as tasks (`due_fits`) and taken back when they
are done (`accept`), whoever makes them and however long that takes. Until then the last fit
speaks, and before the first one a light predictor.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from weir.forecast.arima import Arima
from weir.forecast.auto import AHEAD_S, PRICED_LEVELS, Auto
from weir.forecast.constant import Constant
from weir.forecast.ets import Ets
from weir.forecast.fits import Fit, FitTask, Fitted
from weir.forecast.kalman import Kalman
from weir.forecast.outlook import Outlook
from weir.forecast.predictor import Predictor
from weir.forecast.prophet import Prophet
from weir.forecast.samples import History, Sample, Windows
from weir.forecast.wrappers import Fallback, Log1p

__all__ = ["ForecastSettings", "Forecaster", "Kind"]

_RECENT = 256


class Kind(StrEnum):
    """The predictors by name. The last two need the extra `forecast`."""

    AUTO = "auto"
    CONSTANT = "constant"
    MEAN = "mean"
    KALMAN = "kalman"
    ETS = "ets"
    ARIMA = "arima"
    PROPHET = "prophet"


LIGHT = (Kind.KALMAN, Kind.ETS, Kind.MEAN, Kind.CONSTANT)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastSettings:
    """How one series is forecast; the defaults are those of a pool that starts in a minute."""

    kind: Kind = Kind.AUTO
    candidates: tuple[Kind, ...] = LIGHT
    """Whom `auto` may choose, the preferred first."""
    log1p: bool = False
    """Forecast the logarithm, so that errors count by their share."""
    ahead_s: Sequence[float] = AHEAD_S
    """Distances at which forecasts are judged and their bands corrected."""
    levels: Sequence[float] = PRICED_LEVELS
    """The quantiles that planners ask for: predictors are chosen by their loss there."""
    floor_s: float | None = 120.0
    """Median and above are never below the mean of so many last seconds; None: they may be."""
    window_s: float = 30.0
    """Forecasts are of means over such windows; finer samples are put together to them first."""
    memory_s: float = 120.0
    """Of the predictor `mean`."""
    season_s: float | None = None
    """A season known beforehand, such as 86,400; None: look for one."""
    min_points: int = 5
    """Samples before anything but the last value is forecast."""
    prophet_points: int = 50
    refit_s: float = 180.0
    """Between two slow fits of one series."""


class Forecaster:
    """One series under one `ForecastSettings`."""

    def __init__(self, settings: ForecastSettings) -> None:
        self._settings = settings
        self._fitted: dict[Kind, Fitted] = {}
        kinds = settings.candidates if settings.kind is Kind.AUTO else (settings.kind,)
        alone = settings.kind is not Kind.AUTO
        self._auto = Auto(
            {kind: self._made(kind, alone=alone) for kind in kinds},
            ahead_s=settings.ahead_s,
            levels=settings.levels,
        )
        self._recent = History(_RECENT)
        self._windows = Windows(settings.window_s)
        self._asked_s: dict[Kind, float] = {}

    def observe(self, value: float | None, at_s: float, *, window_s: float) -> None:
        """Take in the mean rate over the `window_s` seconds that ended at `at_s`.

        None is not known, and left out: the band then widens. Zeros before the first request
        are left out too: the series has not begun. Raises `ValueError` if `value` is negative
        or not finite, or `at_s` is not after the last one.
        """
        if value is None or (value == 0.0 and not len(self._recent)):
            return
        if value < 0.0:
            raise ValueError(f"a rate must be >= 0, not {value}")
        sample = Sample(at_s, value, window_s)
        self._recent.add(sample)
        whole = self._windows.add(sample)
        if whole is not None:
            self._auto.observe(whole)

    def warm_up(self, samples: Iterable[Sample]) -> None:
        """Learn from another day's samples, which the caller has moved to end by now."""
        for sample in samples:
            self.observe(sample.value, sample.at_s, window_s=sample.window_s)

    def predict(self, at_s: float) -> Outlook | None:
        """What the mean over the settings' `window_s` that ends at `at_s` will be.

        None before the first whole window. `at_s` must not lie before the last sample.
        """
        outlook = self._auto.predict(at_s, self._settings.window_s)
        if outlook is None:
            return None
        outlook = outlook.mapped(_not_negative)
        if self._settings.floor_s is None:
            return outlook
        return outlook.raised(self._recent.mean_since(self._recent.last_s - self._settings.floor_s))

    def due_fits(self, now_s: float) -> Mapping[Kind, FitTask]:
        """The slow fits to begin now; each is handed out once."""
        due: dict[Kind, FitTask] = {}
        for kind, predictor in self._fitted.items():
            if now_s - self._asked_s.get(kind, -self._settings.refit_s) < self._settings.refit_s:
                continue
            task = predictor.task()
            if task is not None:
                self._asked_s[kind] = now_s
                due[kind] = task
        return due

    def accept(self, kind: Kind, fit: Fit) -> None:
        """Use a finished fit; late is no harm."""
        self._fitted[kind].accept(fit)

    def chosen(self, ahead_s: float) -> str | None:
        """The predictor that speaks at this distance."""
        return self._auto.chosen(ahead_s)

    def coverage(self, ahead_s: float) -> float | None:
        """Share of the late measurements inside their 90 % band; None before any came due."""
        return self._auto.coverage(ahead_s)

    def losses(self, ahead_s: float) -> Mapping[str, float | None]:
        """The remembered pinball loss of each candidate at this distance."""
        return self._auto.losses(ahead_s)

    def _made(self, kind: Kind, *, alone: bool) -> Predictor:
        model = self._model(kind)
        scaled: Predictor = Log1p(model) if self._settings.log1p else model
        if not alone or kind is Kind.CONSTANT:
            return scaled
        if kind in self._fitted:
            scaled = Fallback(scaled, self._made(Kind.KALMAN, alone=False))
        return Fallback(scaled, Constant())

    def _model(self, kind: Kind) -> Predictor:
        settings = self._settings
        if kind is Kind.KALMAN:
            return Kalman(min_points=settings.min_points)
        if kind is Kind.ETS:
            return Ets(season_s=settings.season_s, min_points=settings.min_points)
        if kind is Kind.MEAN:
            return Constant(memory_s=settings.memory_s)
        if kind is Kind.CONSTANT:
            return Constant()
        return self._slow(kind)

    def _slow(self, kind: Kind) -> Predictor:
        settings = self._settings
        if kind is Kind.ARIMA:
            arima = self._fitted[kind] = Arima()
            return arima
        if kind is Kind.PROPHET:
            # The next fit may take as long as the time between two.
            ahead_s = max(settings.ahead_s) + 2.0 * settings.refit_s
            prophet = self._fitted[kind] = Prophet(
                ahead_s=ahead_s,
                points=settings.prophet_points,
                min_points=settings.min_points,
            )
            return prophet
        raise ValueError(f"{kind} cannot be a candidate")


def _not_negative(value: float) -> float:
    return max(0.0, value)
