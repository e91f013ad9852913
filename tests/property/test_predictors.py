import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.forecast.auto import Auto
from weir.forecast.constant import Constant
from weir.forecast.ets import Ets
from weir.forecast.forecaster import Forecaster, ForecastSettings, Kind
from weir.forecast.kalman import Kalman
from weir.forecast.outlook import LEVELS, Outlook, pinball
from weir.forecast.predictor import Predictor
from weir.forecast.samples import Sample

RATES = st.floats(0.0, 1e7, allow_subnormal=False)
STEPS = st.floats(0.5, 300.0)
SERIES = st.lists(st.tuples(RATES, STEPS), min_size=1, max_size=20)
REGULAR = st.lists(st.floats(0.0, 1e4, allow_subnormal=False), min_size=12, max_size=24)
KINDS = pytest.mark.parametrize("kind", [Kind.AUTO, Kind.KALMAN, Kind.ETS])
MODELS = pytest.mark.parametrize("make", [Kalman, Ets])


def _settings(kind: Kind, **changes: object) -> ForecastSettings:
    plain = {"kind": kind, "window_s": 10.0, "ahead_s": (10.0, 60.0), "floor_s": None}
    return ForecastSettings(**{**plain, **changes})  # type: ignore[arg-type]


def _fed(kind: Kind, values: Sequence[float], **changes: object) -> Forecaster:
    forecaster = Forecaster(_settings(kind, **changes))
    for place, value in enumerate(values, 1):
        forecaster.observe(value, 10.0 * place, window_s=10.0)
    return forecaster


@KINDS
@given(SERIES, st.floats(0.0, 3600.0), st.booleans())
def test_forecasts_are_finite_ordered_and_never_negative(
    kind: Kind, samples: list[tuple[float, float]], ahead_s: float, log1p: bool
) -> None:
    forecaster = Forecaster(_settings(kind, log1p=log1p, floor_s=60.0))
    at_s = 0.0
    for value, step_s in samples:
        at_s += step_s
        forecaster.observe(value, at_s, window_s=step_s)
    outlook = forecaster.predict(at_s + ahead_s)
    if outlook is not None:
        assert all(math.isfinite(value) and value >= 0.0 for value in outlook.values)
        assert list(outlook.values) == sorted(outlook.values)
        assert 0.0 <= outlook.quantile(0.2) <= outlook.quantile(0.5) <= outlook.quantile(0.93)


@KINDS
@given(REGULAR, st.sampled_from([0.125, 8.0, 1024.0]))
def test_in_another_unit_the_forecast_is_the_same(
    kind: Kind, values: list[float], scale: float
) -> None:
    # Powers of two, so that no rounding can tip a choice.
    at_s = 10.0 * len(values) + 60.0
    plain = _fed(kind, values).predict(at_s)
    scaled = _fed(kind, [scale * value for value in values]).predict(at_s)
    assert (plain is None) == (scaled is None)
    if plain is not None and scaled is not None:
        largest = max(values)
        for value, other in zip(plain.values, scaled.values, strict=True):
            assert other == pytest.approx(scale * value, rel=1e-6, abs=1e-6 * scale * largest)


@KINDS
@given(st.floats(0.1, 1e6), st.integers(6, 24))
def test_a_constant_series_is_forecast_as_constant(kind: Kind, value: float, count: int) -> None:
    outlook = _fed(kind, [value] * count).predict(10.0 * count + 60.0)
    assert outlook is not None
    assert outlook.median == pytest.approx(value, rel=1e-6)


@MODELS
@given(REGULAR, st.floats(10.0, 100.0), st.floats(1.5, 5.0))
def test_missing_data_never_narrows_the_band(
    make: type[Predictor], values: list[float], ahead_s: float, factor: float
) -> None:
    predictor = make()
    for place, value in enumerate(values, 1):
        predictor.observe(Sample(10.0 * place, value, 10.0))
    last_s = 10.0 * len(values)
    near, far = (predictor.predict(last_s + a, 10.0) for a in (ahead_s, factor * ahead_s))
    assert near is not None and far is not None
    assert _width(far) >= _width(near) * (1.0 - 1e-9)


@given(REGULAR)
def test_several_together_never_lose_more_than_the_worst_of_them(values: list[float]) -> None:
    makers: dict[str, Callable[[], Predictor]] = {
        "constant": Constant,
        "kalman": Kalman,
        "ets": Ets,
    }
    auto = _judged({name: make() for name, make in makers.items()})
    alone = [_judged({name: make()}) for name, make in makers.items()]
    for place, value in enumerate(values, 1):
        losses = []
        for each in (auto, *alone):
            outlook = each.predict(10.0 * place, 10.0)
            losses.append(None if outlook is None else pinball(outlook, (0.5, 0.9), value))
            each.observe(Sample(10.0 * place, value, 10.0))
        if losses[0] is not None:
            worst = max(loss for loss in losses[1:] if loss is not None)
            assert losses[0] <= worst * (1.0 + 1e-9) + 1e-9


@given(st.lists(st.floats(-1e6, 1e6), min_size=9, max_size=9), st.floats(-10.0, 10.0))
def test_an_outlook_is_monotone_in_the_score(values: list[float], score: float) -> None:
    outlook = Outlook.of(values)
    assert len(values) == len(LEVELS)
    assert outlook.at(score) <= outlook.at(score + 0.1) + 1e-6


def _judged(candidates: dict[str, Predictor]) -> Auto:
    return Auto(candidates, ahead_s=(10.0,), levels=(0.5, 0.9))


def _width(outlook: Outlook) -> float:
    return outlook.quantile(0.95) - outlook.quantile(0.05)
