"""Lengths of outputs of which the long ones have not ended yet."""

import pytest

from weir.domain.ids import ClassName
from weir.domain.telemetry import ClassTraffic
from weir.sizing.outputs import Outputs

TOKENS_PER_S = 25.0


def window(**counts: int) -> ClassTraffic:
    return ClassTraffic(name=ClassName("c"), **counts)


def after_s(seconds: int, *, rate_rps: int, short_s: int, long_s: int) -> Outputs:
    """Every other request decodes for `short_s`, the others for `long_s`, from a cold start."""
    found, half = Outputs(0.0), rate_rps / 2
    for now_s in range(1, seconds + 1):
        ends = [stay_s for stay_s in (short_s, long_s) if now_s > stay_s]
        decoding = half * (min(now_s, short_s) + min(now_s, long_s))
        found.add(
            window(
                completed=round(half * len(ends)),
                osl_tokens=round(half * TOKENS_PER_S * sum(ends)),
                decoding_ms=round(1000 * decoding),
                completed_decoding_ms=round(1000 * half * sum(ends)),
            ),
            float(now_s),
        )
    return found


def test_outputs_that_have_not_ended_count_from_the_start() -> None:
    """Only short ones of 100 tokens have ended; the mean is 100 + 5,000 over 2."""
    early = after_s(120, rate_rps=10, short_s=4, long_s=200)
    assert early.completed * 100 == pytest.approx(early._tokens)
    assert early.mean_tokens > 1_000


def test_at_rest_the_mean_is_that_of_those_that_end() -> None:
    found = after_s(3000, rate_rps=10, short_s=4, long_s=200)
    assert found.mean_tokens == pytest.approx(2550, rel=0.03)
    assert found.stay_s == pytest.approx(102, rel=0.03)


def test_when_nobody_comes_any_more_those_that_end_say_too_much() -> None:
    found = Outputs(0.0)
    found.add(
        window(
            completed=10, osl_tokens=50_000, decoding_ms=100_000, completed_decoding_ms=2_000_000
        ),
        1.0,
    )
    assert found.mean_tokens == pytest.approx(5_000 * (100 + 100) / (2_000 + 100))


def test_without_word_of_what_decodes_the_mean_is_of_those_that_ended() -> None:
    found = Outputs(0.0)
    found.add(window(completed=4, osl_tokens=400), 1.0)
    assert (found.mean_tokens, found.stay_s) == (100.0, 0.0)


def test_of_few_requests_what_still_runs_counts_little() -> None:
    found = Outputs(0.0)
    found.add(
        window(completed=1, osl_tokens=10, decoding_ms=10_000, completed_decoding_ms=400), 1.0
    )
    assert found.mean_tokens == pytest.approx(10 * (10 + 100) / (0.4 + 100))


def test_the_last_hundred_are_remembered_however_long_ago_they_ended() -> None:
    found = Outputs(0.0)
    found.add(window(completed=100, osl_tokens=20_000), 1.0)
    found.add(window(), 100_000.0)
    assert found.completed == pytest.approx(100)
    assert found.mean_tokens == pytest.approx(200)
    found.add(window(completed=10_000, osl_tokens=4_000_000), 100_001.0)
    found.add(window(), 100_301.0)
    assert found.completed < 101
    assert found.mean_tokens == pytest.approx(398, abs=1)
