import numpy as np
import pytest

from weir.forecast.samples import Grid
from weir.forecast.season import find_period, season_of

WAVE = 1.0 + 0.5 * np.sin(2.0 * np.pi * np.arange(240) / 48.0)


def test_the_period_is_found_under_noise_and_growth() -> None:
    noise = 0.1 * np.random.default_rng(1).standard_normal(240)
    assert find_period(100.0 * (WAVE + noise) + 0.3 * np.arange(240)) in (47, 48, 49)


def test_noise_a_line_and_a_constant_have_no_period() -> None:
    assert find_period(np.random.default_rng(1).standard_normal(240)) is None
    assert find_period(np.arange(240.0)) is None
    assert find_period(np.full(240, 3.0)) is None


def test_a_season_is_the_share_above_the_level() -> None:
    season = season_of(Grid(100.0 * WAVE, 10.0, 2400.0), 48)
    assert season is not None
    # The first step ends at 10 s with phase 0, a quarter of 48 steps later is the top.
    assert season.at(10.0 + 120.0) == pytest.approx(0.5, abs=0.02)
    assert season.at(10.0 + 360.0 + 4800.0) == pytest.approx(-0.5, abs=0.02)


def test_what_did_not_come_back_is_no_season() -> None:
    noise = 10.0 + np.random.default_rng(1).standard_normal(192)
    season = season_of(Grid(noise, 10.0, 1920.0), 48)
    assert season is not None
    assert np.abs(season.shape).max() < 0.05


def test_one_period_is_not_enough() -> None:
    assert season_of(Grid(WAVE[:90], 10.0, 900.0), 48) is None
