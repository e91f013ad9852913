"""What a pool's work will be: requests, prompt tokens and output tokens per second.

Tokens are the real demand. Lengths are heavy-tailed, so tokens vary far more than requests do,
and a forecast of requests times a mean length has a band much too narrow. Each of the three is
a series of its own, whose band is corrected by its own past.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from weir.forecast.fits import Fit, FitTask
from weir.forecast.forecaster import Forecaster, ForecastSettings, Kind
from weir.forecast.outlook import Outlook

__all__ = ["Demand", "DemandForecaster", "DemandOutlook"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Means over one window, per second; None where it was not measured."""

    requests: float | None
    prompt_tokens: float | None
    output_tokens: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandOutlook:
    """None where nothing is known yet."""

    requests: Outlook | None
    prompt_tokens: Outlook | None
    output_tokens: Outlook | None


class DemandForecaster:
    """Three `Forecaster`s under the same settings; `series` has them by name."""

    def __init__(self, settings: ForecastSettings) -> None:
        names = ("requests", "prompt_tokens", "output_tokens")
        self.series: Mapping[str, Forecaster] = {name: Forecaster(settings) for name in names}

    def observe(self, demand: Demand, at_s: float, *, window_s: float) -> None:
        """Take in the window that ended at `at_s`; raises `ValueError` as `Forecaster` does."""
        self.series["requests"].observe(demand.requests, at_s, window_s=window_s)
        self.series["prompt_tokens"].observe(demand.prompt_tokens, at_s, window_s=window_s)
        self.series["output_tokens"].observe(demand.output_tokens, at_s, window_s=window_s)

    def predict(self, at_s: float) -> DemandOutlook:
        """The window that ends at `at_s`."""
        return DemandOutlook(
            requests=self.series["requests"].predict(at_s),
            prompt_tokens=self.series["prompt_tokens"].predict(at_s),
            output_tokens=self.series["output_tokens"].predict(at_s),
        )

    def due_fits(self, now_s: float) -> dict[tuple[str, Kind], FitTask]:
        """The slow fits to begin now, by series and predictor."""
        return {
            (name, kind): task
            for name, forecaster in self.series.items()
            for kind, task in forecaster.due_fits(now_s).items()
        }

    def accept(self, key: tuple[str, Kind], fit: Fit) -> None:
        """Use a finished fit."""
        name, kind = key
        self.series[name].accept(kind, fit)

    def coverage(self, ahead_s: float) -> dict[str, float | None]:
        """Share of the late measurements inside their 90 % band, by series."""
        return {name: each.coverage(ahead_s) for name, each in self.series.items()}
