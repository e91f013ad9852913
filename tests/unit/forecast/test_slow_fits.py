"""ARIMA and Prophet; what needs their libraries is skipped, loudly, where these are missing."""

import logging

import numpy as np
import pytest
from numpy.typing import NDArray

from weir.domain.errors import WeirError
from weir.forecast import heavy
from weir.forecast.arima import Arima
from weir.forecast.fits import ArimaFit, FitTask, ProphetFit
from weir.forecast.heavy import fit, is_installed
from weir.forecast.outlook import LEVELS
from weir.forecast.prophet import Prophet
from weir.forecast.samples import Grid, Sample

STEP_S = 10.0


def needs(kind: str) -> pytest.MarkDecorator:
    reason = f"NOT RUN: {kind} needs {heavy.LIBRARIES[kind]}; pip install 'weir[forecast]'"
    return pytest.mark.skipif(not is_installed(kind), reason=reason)


def _arima(values: NDArray[np.float64] | list[float], model: ArimaFit) -> Arima:
    arima = Arima(min_points=5)
    for place, value in enumerate(values, 1):
        arima.observe(Sample(STEP_S * place, float(value), STEP_S))
    arima.accept(model)
    return arima


def _model(**changes: object) -> ArimaFit:
    plain = {"ar": (), "ma": (), "differences": 0, "centre": 0.0, "variance": 1.0}
    return ArimaFit(**{**plain, **changes}, step_s=STEP_S)  # type: ignore[arg-type]


def test_an_autoregression_falls_back_to_its_mean_by_halves() -> None:
    arima = _arima([10.0] * 9 + [18.0], _model(ar=(0.5,), centre=10.0))
    for steps, expected in ((1, 14.0), (2, 12.0), (3, 11.0)):
        outlook = arima.predict(STEP_S * (10 + steps), STEP_S)
        assert outlook is not None and outlook.median == pytest.approx(expected)
        # Variance 1, then 1 + 1/4, then 1 + 1/4 + 1/16.
        spread = (outlook.quantile(0.95) - outlook.median) / 1.6449
        assert spread**2 == pytest.approx(sum(0.25**i for i in range(steps)), rel=1e-3)


def test_a_random_walk_with_drift_goes_on_from_the_last_value() -> None:
    arima = _arima([1.0, 3.0, 2.0, 5.0, 7.0], _model(differences=1, centre=1.5))
    outlook = arima.predict(STEP_S * 9, STEP_S)
    assert outlook is not None and outlook.median == pytest.approx(7.0 + 4 * 1.5)
    assert (outlook.quantile(0.95) - outlook.median) / 1.6449 == pytest.approx(2.0, rel=1e-3)


def test_it_does_not_see_further_than_its_path() -> None:
    assert _arima([1.0] * 5, _model()).predict(1e6, STEP_S) is None


def test_an_old_fit_is_put_to_new_data() -> None:
    arima = _arima([10.0] * 9, _model(differences=1))
    arima.observe(Sample(100.0, 30.0, STEP_S))
    outlook = arima.predict(110.0, STEP_S)
    assert outlook is not None and outlook.median == 30.0


@pytest.mark.parametrize("bad", [{"ma": (1.2,)}, {"ar": (1.01,)}, {"ma": (0.5, -1.1)}])
def test_a_fit_that_would_grow_without_bound_is_passed_over(bad: dict[str, object]) -> None:
    arima = _arima([5.0] * 9 + [50.0], _model(differences=1))
    before = arima.predict(110.0, STEP_S)
    arima.accept(_model(**bad))
    assert arima.predict(110.0, STEP_S) == before


def test_a_path_is_looked_up_between_its_steps_and_ends() -> None:
    prophet = Prophet(ahead_s=60.0)
    values = np.outer([10.0, 20.0, 30.0], np.ones(len(LEVELS)))
    prophet.accept(ProphetFit(values=values, start_s=100.0, step_s=10.0))
    outlook = prophet.predict(105.0, STEP_S)
    assert outlook is not None and outlook.median == 15.0
    assert prophet.predict(125.0, STEP_S) is None


def test_without_its_library_a_fit_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heavy, "is_installed", lambda kind: False)
    with pytest.raises(WeirError, match=r"needs statsforecast; install it: pip install 'weir\["):
        fit(FitTask("arima", Grid(np.ones(9), 1.0, 9.0), 10.0))


@needs("arima")
def test_recursions_agree_with_the_library_that_fitted() -> None:
    from statsforecast.models import AutoARIMA

    noise = np.random.default_rng(3).standard_normal(300)
    walk = 50.0 + np.cumsum(noise) + np.random.default_rng(4).standard_normal(300)
    for values in (walk, 20.0 + np.convolve(noise, [1.0, 0.6, 0.3], "same")):
        model = fit(FitTask("arima", Grid(values, STEP_S, STEP_S * 300), 0.0))
        assert isinstance(model, ArimaFit)
        said = AutoARIMA(season_length=1).forecast(values, h=10, level=[90])
        arima = _arima(values, model)
        for step in (0, 9):
            outlook = arima.predict(STEP_S * (301 + step), STEP_S)
            assert outlook is not None
            assert outlook.median == pytest.approx(said["mean"][step], rel=0.01)
            assert outlook.quantile(0.95) == pytest.approx(said["hi-90"][step], rel=0.02)


@needs("arima")
def test_a_constant_with_a_gap_is_fitted_too() -> None:
    values = np.full(40, 6.0)
    values[10:14] = np.nan
    model = fit(FitTask("arima", Grid(values, STEP_S, 400.0), 0.0))
    assert isinstance(model, ArimaFit) and (model.centre, model.variance) == (6.0, 0.0)


@needs("prophet")
def test_prophet_goes_on_with_the_line() -> None:
    logging.getLogger("cmdstanpy").disabled = True
    task = FitTask("prophet", Grid(10.0 + np.arange(50.0), STEP_S, 500.0), 100.0)
    model = fit(task)
    assert isinstance(model, ProphetFit)
    assert model.values[4, LEVELS.index(0.5)] == pytest.approx(64.0, rel=0.05)
    assert (np.diff(model.values, axis=1) >= 0.0).all()
