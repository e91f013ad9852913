import math
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from weir.forecast.constant import Constant
from weir.forecast.ets import Ets
from weir.forecast.kalman import Kalman
from weir.forecast.outlook import Outlook
from weir.forecast.predictor import Predictor
from weir.forecast.samples import Sample
from weir.forecast.wrappers import Fallback, Log1p

STEP_S = 10.0
MAKERS: list[Callable[[], Predictor]] = [
    Constant,
    lambda: Constant(memory_s=60.0),
    Kalman,
    Ets,
    lambda: Log1p(Kalman()),
]
NAMES = ["constant", "mean", "kalman", "ets", "log1p"]
everyone = pytest.mark.parametrize("make", MAKERS, ids=NAMES)
moving = pytest.mark.parametrize("make", [Kalman, Ets], ids=["kalman", "ets"])


def fed(predictor: Predictor, values: Iterable[float]) -> Predictor:
    for place, value in enumerate(values, 1):
        predictor.observe(Sample(STEP_S * place, value, STEP_S))
    return predictor


def noisy(count: int, level: float = 50.0, std: float = 5.0) -> list[float]:
    return (level + std * np.random.default_rng(7).standard_normal(count)).tolist()


def ahead(predictor: Predictor, points: int, steps: float) -> Outlook:
    outlook = predictor.predict(STEP_S * (points + steps), STEP_S)
    assert outlook is not None
    return outlook


def width(outlook: Outlook) -> float:
    return outlook.quantile(0.95) - outlook.quantile(0.05)


@everyone
def test_a_constant_is_forecast_as_it_is(make: Callable[[], Predictor]) -> None:
    outlook = ahead(fed(make(), [7.0] * 40), 40, 18)
    assert outlook.median == pytest.approx(7.0, abs=1e-6)
    assert width(outlook) == pytest.approx(0.0, abs=1e-3)


@everyone
def test_noise_around_a_level_is_all_that_the_band_holds(make: Callable[[], Predictor]) -> None:
    outlook = ahead(fed(make(), noisy(300)), 300, 6)
    # White noise of 5: a band of 2 * 1.645 * 5 = 16.4; the last value alone adds its own noise.
    assert 13.0 < width(outlook) < 27.0
    assert 40.0 < outlook.median < 60.0


@everyone
def test_a_longer_gap_means_a_wider_band(make: Callable[[], Predictor]) -> None:
    walk = np.abs(100.0 + np.cumsum(np.random.default_rng(3).standard_normal(200)))
    predictor = fed(make(), walk.tolist())
    widths = [width(ahead(predictor, 200, steps)) for steps in (1, 10, 60)]
    assert widths[0] < widths[1] < widths[2]


@moving
def test_a_steady_ramp_is_continued(make: Callable[[], Predictor]) -> None:
    outlook = ahead(fed(make(), [100.0 + 2.0 * i for i in range(120)]), 120, 6)
    assert outlook.median == pytest.approx(100.0 + 2.0 * 125, rel=0.05)


@moving
def test_one_outlier_moves_little(make: Callable[[], Predictor]) -> None:
    calm = fed(make(), noisy(200))
    before = ahead(calm, 200, 3).median
    calm.observe(Sample(STEP_S * 201, 500.0, STEP_S))
    assert ahead(calm, 201, 3).median < before + 20.0


def test_a_jump_is_believed_at_the_second_measurement() -> None:
    predictor = fed(Kalman(), [*noisy(200), 250.0, 250.0])
    assert ahead(predictor, 202, 1).median > 200.0
    assert ahead(predictor, 202, 6).median < 320.0


def test_a_longer_window_is_less_noisy() -> None:
    predictor = fed(Kalman(), noisy(200))
    short = predictor.predict(STEP_S * 203, STEP_S)
    long = predictor.predict(STEP_S * 203, 9 * STEP_S)
    assert short is not None and long is not None
    assert width(long) < 0.6 * width(short)


@moving
def test_before_enough_points_nothing_is_said(make: Callable[[], Predictor]) -> None:
    predictor = fed(make(), [5.0] * 4)
    assert predictor.predict(100.0, STEP_S) is None
    outlook = Fallback(predictor, fed(Constant(), [5.0] * 4)).predict(100.0, STEP_S)
    assert outlook is not None and outlook.median == 5.0


def _day(at_s: float) -> float:
    return 100.0 * (1.0 + 0.6 * math.sin(2.0 * math.pi * at_s / 86_400.0))


@pytest.mark.parametrize("season_s", [None, 86_400.0])
def test_what_came_back_each_day_is_expected_tomorrow(season_s: float | None) -> None:
    with_season, without = Ets(season_s=season_s), Kalman()
    for i in range(1, 3 * 144 + 1):
        for predictor in (with_season, without):
            predictor.observe(Sample(600.0 * i, _day(600.0 * i), 600.0))
    at_s = 3 * 86_400.0 + 4 * 3600.0
    errors = []
    for predictor in (with_season, without):
        outlook = predictor.predict(at_s, 600.0)
        assert outlook is not None
        errors.append(abs(outlook.median - _day(at_s)))
    assert errors[0] < 8.0 < errors[1]
