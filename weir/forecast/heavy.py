"""The slow fits, by libraries of the extra `forecast`; imported where a fit is made, no earlier.

Not for a process that has ticks to keep: statsforecast takes seconds to import and 240 MB.
"""

import importlib.util
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from weir.domain.errors import WeirError
from weir.forecast.fits import ArimaFit, Fit, FitTask, ProphetFit
from weir.forecast.outlook import LEVELS

__all__ = ["LIBRARIES", "fit", "is_installed"]

LIBRARIES: Mapping[str, str] = {"arima": "statsforecast", "prophet": "prophet"}
"""Which library fits which predictor."""
_EPOCH_S = 1_704_067_200.0
"""Prophet wants dates: seconds are counted from the begin of 2024."""
_DRAWS = 300


def is_installed(kind: str) -> bool:
    return importlib.util.find_spec(LIBRARIES[kind]) is not None


def fit(task: FitTask) -> Fit:
    """Takes tenths of a second, the first one seconds; raises `WeirError` without the library."""
    if not is_installed(task.kind):
        raise WeirError(
            f"predictor {task.kind} needs {LIBRARIES[task.kind]}; "
            "install it: pip install 'weir[forecast]'"
        )
    return _FITS[task.kind](task)


def _arima(task: FitTask) -> ArimaFit:
    values = task.grid.filled()
    if np.ptp(values) == 0.0:
        return _level(float(values[0]), task)
    from statsforecast.models import AutoARIMA

    model = AutoARIMA(season_length=1).fit(values).model_
    differences = int(model["arma"][5])
    coefficients = model["coef"]
    centre = coefficients.get("intercept", coefficients.get("drift", 0.0))
    return ArimaFit(
        ar=_plain(model["model"]["phi"]),
        ma=_plain(model["model"]["theta"]),
        differences=differences,
        centre=float(centre),
        variance=float(model["sigma2"]),
        step_s=task.grid.step_s,
    )


def _level(value: float, task: FitTask) -> ArimaFit:
    return ArimaFit(
        ar=(), ma=(), differences=0, centre=value, variance=0.0, step_s=task.grid.step_s
    )


def _plain(values: NDArray[np.float64]) -> tuple[float, ...]:
    """Without trailing zeros, which the state space form pads with."""
    return tuple(np.trim_zeros(np.asarray(values, dtype=float), "b").tolist())


def _prophet(task: FitTask) -> ProphetFit:
    import pandas
    from prophet import Prophet

    grid = task.grid
    count = len(grid.values)
    ahead = int(task.ahead_s / grid.step_s) + 2
    times_s = grid.end_s + grid.step_s * np.arange(1 - count, ahead)
    dates = pandas.to_datetime(_EPOCH_S + times_s, unit="s")
    model = Prophet(uncertainty_samples=_DRAWS)
    model.fit(pandas.DataFrame({"ds": dates[:count], "y": grid.values}), seed=1)
    np.random.seed(1)
    draws = model.predictive_samples(pandas.DataFrame({"ds": dates[count:]}))["yhat"]
    return ProphetFit(
        values=np.quantile(draws, LEVELS, axis=1).T,
        start_s=grid.end_s + grid.step_s,
        step_s=grid.step_s,
    )


_FITS: Mapping[str, Callable[[FitTask], Fit]] = {"arima": _arima, "prophet": _prophet}
