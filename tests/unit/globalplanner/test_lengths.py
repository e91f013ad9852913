"""How slowly what decodes follows what arrives."""

import math

import pytest

from globalplanner.core.load.lengths import Lengths
from weir.domain.histogram import LogHistogram
from weir.domain.ids import ClassName
from weir.domain.telemetry import ClassTraffic


def lengths(*, osl_tokens: int, itl_s: float) -> Lengths:
    """As seen of a hundred requests by a router that does not tell how many decode."""
    histogram = LogHistogram()
    histogram.add(itl_s, 100)
    found = Lengths(0.0)
    found.add(
        ClassTraffic(
            name=ClassName("c"),
            arrivals=100,
            isl_tokens=50_000,
            completed=100,
            osl_tokens=100 * osl_tokens,
            itl_s=histogram,
        ),
        0.0,
    )
    return found


def test_means_are_of_what_was_seen() -> None:
    found = lengths(osl_tokens=200, itl_s=0.02)
    assert (found.isl_tokens, found.osl_tokens) == (500.0, 200.0)
    assert found.outputs.stay_s == pytest.approx(4.0, rel=0.1)


def test_before_an_output_was_seen_decoding_goes_by_what_is_forecast() -> None:
    found = Lengths(0.0)
    found.measured(5.0, None, 5.0)
    assert found.decoding_until(60.0, 80.0) == 80.0


def test_decoding_follows_arrivals_as_slowly_as_outputs_take() -> None:
    found = lengths(osl_tokens=4000, itl_s=0.025)
    stay_s = found.outputs.stay_s
    found.measured(10.0, None, 5.0)
    found.measured(20.0, None, 5.0)
    assert found.decoding_rps == pytest.approx(10.0 + 10.0 * (1.0 - math.exp(-5.0 / stay_s)))
    # A start-up of a minute later it is not yet at rest, and the rise may be over by then.
    assert 11.0 < found.decoding_until(60.0, 20.0) < 14.0
    assert found.decoding_until(10_000.0, 20.0) == pytest.approx(20.0)


def test_it_starts_from_what_decodes_where_routers_tell() -> None:
    found = lengths(osl_tokens=4000, itl_s=0.025)
    stay_s = found.outputs.stay_s
    found.measured(10.0, 30.0 * stay_s, 5.0)
    assert found.decoding_rps == pytest.approx(30.0)
    keep = math.exp(-60.0 / stay_s)
    assert found.decoding_until(60.0, 10.0) == pytest.approx(30.0 * keep + 10.0 * (1.0 - keep))


def test_in_a_lull_those_that_decode_go_on_and_the_usual_comes_after_them() -> None:
    found = lengths(osl_tokens=4000, itl_s=0.025)
    found.measured(20.0, None, 5.0)
    assert found.decoding_until(60.0, 0.0) == pytest.approx(20.0)


def test_short_outputs_follow_what_is_forecast_and_chance_is_averaged() -> None:
    found = lengths(osl_tokens=10, itl_s=0.02)
    found.measured(10.0, None, 5.0)
    found.measured(20.0, None, 5.0)
    assert found.decoding_rps == pytest.approx(10.0 + 10.0 * (1.0 - math.exp(-5.0 / 30.0)))
    assert found.decoding_until(60.0, 20.0) == pytest.approx(20.0)
