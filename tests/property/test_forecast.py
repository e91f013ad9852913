import math

from hypothesis import given
from hypothesis import strategies as st

from weir.forecast.trend import Trend, observe, predict

RATES = st.floats(0.0, 1e5)
STEPS = st.floats(0.01, 300.0)


@given(st.lists(st.tuples(RATES, STEPS), min_size=1, max_size=60), st.floats(0.0, 3600.0))
def test_forecasts_are_finite_and_never_negative(
    samples: list[tuple[float, float]], ahead_s: float
) -> None:
    trend: Trend | None = None
    at_s = 0.0
    for rate, step_s in samples:
        at_s += step_s
        trend = observe(trend, rate, at_s, window_s=step_s)
        assert trend.level_var >= 0.0 and trend.trend_var >= 0.0
        assert trend.covar**2 <= trend.level_var * trend.trend_var * (1.0 + 1e-6) + 1e-9
    assert trend is not None
    forecast = predict(trend, at_s + ahead_s)
    assert math.isfinite(forecast.mean) and math.isfinite(forecast.std)
    assert 0.0 <= forecast.quantile(0.1) <= forecast.quantile(0.5) <= forecast.quantile(0.9)


@given(st.floats(0.5, 1000.0), st.floats(0.5, 10.0), st.floats(0.1, 3.0))
def test_constant_input_is_learned_and_the_spread_shrinks(
    rate: float, step_s: float, first_factor: float
) -> None:
    trend = observe(None, rate * first_factor, 0.0, window_s=step_s)
    for i in range(1, 200):
        trend = observe(trend, rate, i * step_s, window_s=step_s)
    assert abs(predict(trend, trend.at_s).mean - rate) < 0.01 * rate
    assert predict(trend, trend.at_s).std < predict(observe(None, rate, 0.0), 0.0).std
