"""Superposing a trace keeps its curve, its bursts and its span."""

import numpy as np
import pytest

from tests.unit.workload.traces import columns_of
from weir.workload import TraceColumns, superpose

TRACE = columns_of([float(n) for n in range(1000)], isl_tokens=range(1, 1001))


def rows(columns: TraceColumns) -> list[tuple[float, int]]:
    return list(zip(columns.timestamp_s.tolist(), columns.isl_tokens.tolist(), strict=True))


def test_factor_one_changes_nothing() -> None:
    assert rows(superpose(TRACE, 1.0, seed=3)) == rows(TRACE)


def test_the_same_seed_gives_the_same_requests_and_another_seed_others() -> None:
    assert rows(superpose(TRACE, 1.7, seed=3)) == rows(superpose(TRACE, 1.7, seed=3))
    assert rows(superpose(TRACE, 1.7, seed=3)) != rows(superpose(TRACE, 1.7, seed=4))


@pytest.mark.parametrize("factor", [2.0, 3.0, 10.0])
def test_a_whole_factor_gives_each_request_so_many_times(factor: float) -> None:
    tokens, counts = np.unique(superpose(TRACE, factor).isl_tokens, return_counts=True)
    assert len(tokens) == 1000
    assert set(counts.tolist()) == {int(factor)}


@pytest.mark.parametrize("factor", [0.01, 0.3, 0.99, 1.5, 3.25])
def test_a_fraction_is_thinned(factor: float) -> None:
    # A sum of 1,000 draws with probability p: standard deviation below 16.
    assert len(superpose(TRACE, factor)) == pytest.approx(1000 * factor, abs=64)


def test_thinning_keeps_requests_as_they_are() -> None:
    kept = rows(superpose(TRACE, 0.5))
    assert [row for row in rows(TRACE) if row in set(kept)] == kept


def test_each_copy_is_shifted_as_a_whole_by_at_most_a_minute() -> None:
    # A request at n seconds has n + 1 prompt tokens: time - tokens + 1 is its copy's offset.
    tripled = superpose(TRACE, 3.0, seed=1)
    offsets_s = (tripled.timestamp_s - tripled.isl_tokens + 1 + 500.0) % 1000.0 - 500.0
    offsets_s = np.unique(offsets_s.round(6))
    assert len(offsets_s) == 3
    assert (np.abs(offsets_s) <= 60.0).all()


def test_the_rate_has_no_edges_at_the_ends_of_the_trace() -> None:
    # A request a second, ten times: ten a second at the start and at the end as well.
    scaled = superpose(TRACE, 10.0)
    per_minute, _ = np.histogram(scaled.timestamp_s, bins=20, range=(0.0, 1000.0))
    assert per_minute.tolist() == pytest.approx([500] * 20, abs=10)
    assert (np.diff(scaled.timestamp_s) >= 0.0).all()


def test_the_same_offsets_hold_in_a_window_cut_with_a_minutes_margin() -> None:
    # So a piece of a day can be kept instead of the day.
    day, piece = superpose(TRACE, 4.0, 7), superpose(TRACE.between(240.0, 760.0), 4.0, 7)
    assert rows(day.between(300.0, 700.0)) == rows(piece.between(300.0, 700.0))


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.5, 4.0])
def test_bounds_are_the_same_as_cutting_afterwards(factor: float) -> None:
    cut = superpose(TRACE, factor, 5, start_s=100.0, end_s=333.5)
    assert rows(cut) == rows(superpose(TRACE, factor, 5).between(100.0, 333.5))


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_a_factor_that_is_no_positive_number_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="factor must be"):
        superpose(TRACE, factor)


def test_short_traces_can_be_scaled() -> None:
    assert len(superpose(TRACE.take(slice(0)), 2.0)) == 0
    assert rows(superpose(TRACE.take(slice(1)), 3.0)) == [(0.0, 1)] * 3
    assert rows(superpose(columns_of([5.0, 5.0]), 2.0)) == [(5.0, 1)] * 4
    assert (superpose(TRACE.take(slice(5)), 8.0).timestamp_s < 5.0).all()


def test_everything_a_request_has_goes_with_it() -> None:
    trace = columns_of(
        [0.0, 10.0], isl_tokens=[1, 2], osl_tokens=[3, 4], classes=["a", None], reuse=[7, -1]
    )
    assert {
        (r.isl_tokens, r.osl_tokens, r.class_name, r.reuse_tokens)
        for r in superpose(trace, 5.0).requests()
    } == {(1, 3, "a", 7), (2, 4, None, None)}
