import numpy as np
import pytest

from weir.forecast.demand import Demand, DemandForecaster
from weir.forecast.fits import ArimaFit
from weir.forecast.forecaster import Forecaster, ForecastSettings, Kind
from weir.forecast.outlook import Outlook

WINDOW_S = 10.0


def _settings(kind: Kind = Kind.AUTO, floor_s: float | None = None) -> ForecastSettings:
    return ForecastSettings(
        kind=kind, floor_s=floor_s, window_s=WINDOW_S, ahead_s=(10.0, 60.0), refit_s=100.0
    )


def _fed(forecaster: Forecaster, values: list[float], start: int = 1) -> Forecaster:
    for place, value in enumerate(values, start):
        forecaster.observe(value, WINDOW_S * place, window_s=WINDOW_S)
    return forecaster


def _noise(count: int) -> list[float]:
    return np.random.default_rng(2).gamma(4.0, 5.0, count).tolist()


def _ahead(forecaster: Forecaster, at_s: float) -> Outlook:
    outlook = forecaster.predict(at_s)
    assert outlook is not None
    return outlook


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_says_something_from_the_first_window_on(kind: Kind) -> None:
    forecaster = Forecaster(_settings(kind))
    assert forecaster.predict(10.0) is None
    forecaster.observe(4.0, 10.0, window_s=WINDOW_S)
    assert _ahead(forecaster, 70.0).median == 4.0


def test_leading_zeros_and_unknowns_are_left_out() -> None:
    forecaster = Forecaster(_settings())
    forecaster.observe(0.0, 10.0, window_s=WINDOW_S)
    forecaster.observe(None, 20.0, window_s=WINDOW_S)
    assert forecaster.predict(30.0) is None
    forecaster.observe(5.0, 30.0, window_s=WINDOW_S)
    forecaster.observe(None, 40.0, window_s=WINDOW_S)
    assert _ahead(forecaster, 50.0).median == 5.0


def test_negative_rates_and_time_that_runs_backwards_are_refused() -> None:
    forecaster = _fed(Forecaster(_settings()), [1.0, 2.0])
    with pytest.raises(ValueError, match=">= 0"):
        forecaster.observe(-1.0, 30.0, window_s=WINDOW_S)
    with pytest.raises(ValueError, match="backwards"):
        forecaster.observe(1.0, 20.0, window_s=WINDOW_S)


def test_with_a_floor_the_forecast_is_not_below_what_is_there_now() -> None:
    falling = [100.0 - i for i in range(60)]
    free = _fed(Forecaster(_settings()), falling)
    floored = _fed(Forecaster(_settings(floor_s=40.0)), falling)
    # The last four windows: 44, 43, 42, 41.
    assert _ahead(free, 660.0).median < 42.0
    assert _ahead(floored, 660.0).median == 42.5
    assert _ahead(floored, 660.0).quantile(0.05) == _ahead(free, 660.0).quantile(0.05)


def test_its_band_is_watched() -> None:
    forecaster = _fed(Forecaster(_settings()), _noise(400))
    for ahead_s in (10.0, 60.0):
        coverage = forecaster.coverage(ahead_s)
        assert coverage == pytest.approx(0.9, abs=0.05)
    assert forecaster.chosen(60.0) in {"kalman", "ets", "mean", "constant"}


def test_what_another_day_taught_is_there_at_the_start() -> None:
    from weir.forecast.samples import Sample

    taught = Forecaster(_settings())
    taught.warm_up([Sample(WINDOW_S * i, v, WINDOW_S) for i, v in enumerate(_noise(200), -200)])
    assert taught.coverage(10.0) is not None
    assert 10.0 < _ahead(taught, 10.0).median < 30.0


def test_a_slow_fit_is_asked_for_once_and_then_after_some_time() -> None:
    forecaster = _fed(Forecaster(_settings(Kind.ARIMA)), _noise(30))
    task = forecaster.due_fits(300.0)[Kind.ARIMA]
    assert len(task.grid.values) == 30
    assert not forecaster.due_fits(310.0)
    _fed(forecaster, _noise(11), 31)
    assert not forecaster.due_fits(399.0)
    assert len(forecaster.due_fits(410.0)[Kind.ARIMA].grid.values) == 41


def test_until_a_slow_fit_is_done_a_light_predictor_speaks() -> None:
    values = _noise(60)
    waiting = _fed(Forecaster(_settings(Kind.ARIMA)), values)
    light = _fed(Forecaster(_settings(Kind.KALMAN)), values)
    assert _ahead(waiting, 660.0) == _ahead(light, 660.0)
    level = ArimaFit(ar=(), ma=(), differences=0, centre=3.0, variance=0.0, step_s=WINDOW_S)
    waiting.accept(Kind.ARIMA, level)
    assert _ahead(waiting, 660.0) != _ahead(light, 660.0)


def test_tokens_have_a_band_of_their_own() -> None:
    forecaster = DemandForecaster(_settings())
    draws = np.random.default_rng(4)
    for place in range(1, 300):
        requests = float(draws.poisson(100))
        demand = Demand(
            requests=requests / WINDOW_S,
            prompt_tokens=float(draws.pareto(1.6, int(requests)).sum() * 500.0 / WINDOW_S),
            output_tokens=None,
        )
        forecaster.observe(demand, WINDOW_S * place, window_s=WINDOW_S)
    outlook = forecaster.predict(3050.0)
    assert outlook.requests is not None and outlook.prompt_tokens is not None
    assert outlook.output_tokens is None
    relative = [o.quantile(0.95) / o.median for o in (outlook.requests, outlook.prompt_tokens)]
    assert relative[1] > 1.3 * relative[0]
    assert forecaster.coverage(60.0)["prompt_tokens"] == pytest.approx(0.9, abs=0.06)
