"""Scaling a trace's rate keeps its shape."""

import pytest

from weir.workload import TraceRequest, scale_rate

TRACE = [TraceRequest(timestamp_s=float(n), isl_tokens=n + 1, osl_tokens=1) for n in range(1000)]


def test_factor_one_changes_nothing() -> None:
    assert scale_rate(TRACE, 1.0, seed=3) == TRACE


def test_the_same_seed_gives_the_same_requests_and_another_seed_others() -> None:
    assert scale_rate(TRACE, 1.7, seed=3) == scale_rate(TRACE, 1.7, seed=3)
    assert scale_rate(TRACE, 1.7, seed=3) != scale_rate(TRACE, 1.7, seed=4)


@pytest.mark.parametrize("factor", [0.01, 0.3, 0.99, 1.5, 2.0, 3.25])
def test_the_number_of_requests_follows_the_factor(factor: float) -> None:
    # A sum of 1,000 draws with probability p: standard deviation below 16.
    assert len(scale_rate(TRACE, factor)) == pytest.approx(1000 * factor, abs=64)


def test_thinning_keeps_requests_as_they_are() -> None:
    kept = scale_rate(TRACE, 0.5)
    assert [request for request in TRACE if request in kept] == kept


def test_copies_arrive_before_the_next_request_in_order_of_time() -> None:
    doubled = scale_rate(TRACE, 2.0)
    assert len(doubled) == 2000
    times = [request.timestamp_s for request in doubled]
    assert times == sorted(times)
    for request in doubled:
        original_s = request.isl_tokens - 1.0
        assert original_s <= request.timestamp_s <= original_s + 1.0


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_a_factor_that_is_no_positive_number_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="factor must be"):
        scale_rate(TRACE, factor)


def test_short_traces_can_be_scaled() -> None:
    assert scale_rate([], 2.0) == []
    assert len(scale_rate(TRACE[:1], 3.0)) == 3
