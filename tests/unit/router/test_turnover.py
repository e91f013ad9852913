"""How many sequences a decode worker will have when a reserved one begins."""

import math

import pytest

from router.core.workers.turnover import Turnover


def learned(*, ahead_s: float, stay_s: float, legs: int = 400) -> Turnover:
    turnover = Turnover()
    for _ in range(legs):
        turnover.begun(ahead_s)
        turnover.ended(stay_s)
    return turnover


def test_before_anything_is_seen_all_count() -> None:
    assert Turnover().occupied(20, 12) == 32.0


def test_long_outputs_after_short_prompts_have_hardly_ended() -> None:
    assert learned(ahead_s=0.1, stay_s=10.0).occupied(32, 0) > 31.5


def test_short_outputs_have_ended_before_a_long_prompt_is_done() -> None:
    # Of 20 that decode e^-4 are left, of 10 on their way 10 / 4: 0.4 and 2.4, and 1.6 in doubt.
    occupied = learned(ahead_s=2.0, stay_s=0.5).occupied(20, 10)
    left, come = math.exp(-4.0), 0.25 * (1.0 - math.exp(-4.0))
    doubt = math.sqrt(20 * left * (1.0 - left) + 10 * come * (1.0 - come))
    assert occupied == pytest.approx(20 * left + 10 * come + doubt, rel=0.05)
    assert 3.0 < occupied < 6.0


def test_never_more_than_there_are() -> None:
    for ahead_s in (0.01, 0.3, 3.0):
        for stay_s in (0.01, 0.3, 3.0):
            turnover = learned(ahead_s=ahead_s, stay_s=stay_s)
            for decoding, coming in ((0, 1), (1, 0), (3, 5), (32, 32)):
                assert 0.0 <= turnover.occupied(decoding, coming) <= decoding + coming


def test_one_odd_leg_hardly_matters() -> None:
    turnover = learned(ahead_s=0.1, stay_s=10.0)
    turnover.begun(30.0)
    turnover.ended(0.1)
    assert turnover.occupied(32, 0) > 30.0
