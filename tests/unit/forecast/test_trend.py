import pytest

from weir.forecast.trend import Dynamics, Forecast, Trend, observe, predict


def _constant(rate: float, samples: int, step_s: float = 2.0) -> Trend:
    trend: Trend | None = None
    for i in range(samples):
        trend = observe(trend, rate, i * step_s, window_s=step_s)
    assert trend is not None
    return trend


def test_one_measurement_is_the_forecast_with_the_spread_of_its_count() -> None:
    trend = observe(None, 8.0, 10.0, window_s=2.0)
    # 16 arrivals counted: variance (8 + 0.25) / 2.
    assert predict(trend, 10.0).mean == 8.0
    assert predict(trend, 10.0).std == pytest.approx((8.25 / 2.0) ** 0.5)


def test_longer_windows_are_trusted_more() -> None:
    short = observe(None, 8.0, 0.0, window_s=1.0)
    long = observe(None, 8.0, 0.0, window_s=10.0)
    assert predict(long, 0.0).std < predict(short, 0.0).std


def test_forecast_widens_with_distance() -> None:
    trend = _constant(5.0, 50)
    stds = [predict(trend, trend.at_s + ahead_s).std for ahead_s in (0.0, 10.0, 60.0, 600.0)]
    assert stds == sorted(stds)
    assert stds[0] < stds[-1]


def test_a_burst_is_believed_at_the_second_measurement() -> None:
    trend = _constant(2.0, 50)
    trend = observe(trend, 20.0, 100.0, window_s=2.0)
    assert predict(trend, 100.0).mean < 5.0
    trend = observe(trend, 20.0, 102.0, window_s=2.0)
    assert predict(trend, 102.0).mean > 18.0


def test_a_burst_is_not_extrapolated() -> None:
    trend = _constant(2.0, 50)
    for at_s in (100.0, 102.0):
        trend = observe(trend, 20.0, at_s, window_s=2.0)
    assert predict(trend, 162.0).mean < 22.0


def test_the_end_of_a_burst_is_believed_too() -> None:
    trend = _constant(20.0, 50)
    for at_s in (100.0, 102.0, 104.0):
        trend = observe(trend, 0.0, at_s, window_s=2.0)
    assert predict(trend, 104.0).mean < 2.0


def test_a_single_outlier_hardly_moves_the_forecast() -> None:
    trend = observe(_constant(5.0, 100), 100.0, 200.0, window_s=2.0)
    assert predict(trend, 200.0).mean < 6.0


def test_a_steady_ramp_is_followed_ahead_of_the_level() -> None:
    trend: Trend | None = None
    dynamics = Dynamics(trend_rel=1e-3, fade_s=1e6)
    for i in range(300):
        trend = observe(trend, 10.0 + 0.05 * i, i * 1.0, window_s=1.0, dynamics=dynamics)
    assert trend is not None
    assert predict(trend, 299.0 + 60.0).mean == pytest.approx(10.0 + 0.05 * 359, rel=0.1)


def test_bursty_counts_raise_the_dispersion_and_the_spread() -> None:
    smooth, bursty = _constant(10.0, 60), _constant(10.0, 60)
    for i in range(60, 160):
        smooth = observe(smooth, 10.0, i * 2.0, window_s=2.0)
        bursty = observe(bursty, 18.0 if i % 2 else 2.0, i * 2.0, window_s=2.0)
    assert bursty.dispersion > 3.0 > 1.0 > smooth.dispersion
    assert predict(bursty, 400.0).std > predict(smooth, 400.0).std


def test_quantiles_are_of_the_normal_and_never_negative() -> None:
    assert Forecast(mean=10.0, std=2.0).quantile(0.5) == pytest.approx(10.0)
    assert Forecast(mean=10.0, std=2.0).quantile(0.975) == pytest.approx(13.92, abs=0.01)
    assert Forecast(mean=1.0, std=2.0).quantile(0.05) == 0.0


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf")])
def test_impossible_rates_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="rate must be"):
        observe(None, rate, 0.0)


def test_time_does_not_run_backwards() -> None:
    trend = observe(None, 1.0, 10.0)
    with pytest.raises(ValueError, match="backwards"):
        observe(trend, 1.0, 9.0)
    with pytest.raises(ValueError, match="backwards"):
        predict(trend, 9.0)


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(ValueError, match="window_s"):
        observe(None, 1.0, 0.0, window_s=0.0)
