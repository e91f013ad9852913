"""Generated requests have the rate, the burstiness and the lengths they should."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.unit.workload.traces import columns_of
from weir.workload import (
    Burst,
    TraceColumns,
    bursty,
    constant,
    drawn_lengths,
    fixed_lengths,
    generator_of,
    lognormal_lengths,
    poisson,
)

LENGTHS = fixed_lengths(700, 180)
Make = Callable[..., TraceColumns]


def rng(seed: int = 0) -> np.random.Generator:
    return generator_of(seed, "test")


def gaps_cv(trace: TraceColumns) -> float:
    gaps_s = np.diff(trace.timestamp_s)
    return float(gaps_s.std() / gaps_s.mean())


@pytest.mark.parametrize("cv", [0.0, 0.3, 1.0, 3.0])
def test_arrivals_have_their_rate_and_their_coefficient_of_variation(cv: float) -> None:
    trace = bursty(20.0, 2000.0, cv, LENGTHS, rng())
    # 40,000 requests; the count's standard deviation is 200 cv.
    assert len(trace) == pytest.approx(40_000, abs=800 * cv + 1)
    assert gaps_cv(trace) == pytest.approx(cv, rel=0.05, abs=1e-6)
    assert trace.timestamp_s[0] >= 0.0 and trace.timestamp_s[-1] < 2000.0


def test_poisson_is_the_coefficient_of_variation_of_one() -> None:
    assert gaps_cv(poisson(20.0, 1000.0, LENGTHS, rng())) == pytest.approx(1.0, rel=0.05)


def test_constant_arrivals_are_even_up_to_their_noise() -> None:
    assert constant(2.0, 3.0, 0.0, LENGTHS, rng()).timestamp_s.tolist() == pytest.approx(
        [0.25, 0.75, 1.25, 1.75, 2.25, 2.75]
    )
    assert gaps_cv(constant(20.0, 1000.0, 0.1, LENGTHS, rng())) == pytest.approx(0.1, rel=0.05)


def test_the_same_seed_gives_the_same_requests_and_another_seed_others() -> None:
    first, again, other = (
        bursty(5.0, 100.0, 2.0, LENGTHS, rng(seed)).timestamp_s.tolist() for seed in (1, 1, 2)
    )
    assert first == again != other


@pytest.mark.parametrize("make", [poisson, lambda *a: constant(*a[:2], 0.0, *a[2:])])
def test_a_burst_rises_within_ten_seconds_and_lasts(make: Make) -> None:
    trace = make(10.0, 600.0, LENGTHS, rng(), [Burst(5.0, 200.0, 100.0)])
    counts, _ = np.histogram(trace.timestamp_s, bins=60, range=(0.0, 600.0))
    assert counts[:20].mean() == pytest.approx(100.0, rel=0.1)
    assert counts[20] == pytest.approx(300.0, rel=0.25)  # half of the way up
    assert counts[21:30].mean() == pytest.approx(500.0, rel=0.1)
    assert counts[30] == pytest.approx(300.0, rel=0.25)
    assert counts[31:].mean() == pytest.approx(100.0, rel=0.1)


def test_bursts_multiply_where_they_overlap_and_may_be_lulls() -> None:
    bursts = [Burst(2.0, 0.0, 100.0), Burst(0.0, 50.0, 30.0)]
    trace = constant(10.0, 100.0, 0.0, LENGTHS, rng(), bursts)
    assert len(trace.between(20.0, 50.0)) == pytest.approx(600, abs=1)
    assert len(trace.between(60.0, 80.0)) == 0


def test_more_requests_than_memory_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="lower the rate or the duration"):
        poisson(1e6, 1e6, LENGTHS, rng())


@pytest.mark.parametrize("cv", [-0.1, 21.0, float("nan")])
def test_a_burstiness_out_of_range_is_refused(cv: float) -> None:
    with pytest.raises(ValueError, match="coefficient of variation must be"):
        bursty(1.0, 1.0, cv, LENGTHS, rng())


def test_lognormal_lengths_have_their_means_and_spread() -> None:
    lengths = lognormal_lengths(700.0, 180.0, isl_cv=1.0, osl_cv=0.5)
    trace = lengths(np.arange(50_000.0), rng())
    assert trace.isl_tokens.mean() == pytest.approx(700.0, rel=0.03)
    assert trace.isl_tokens.std() == pytest.approx(700.0, rel=0.1)
    assert trace.osl_tokens.mean() == pytest.approx(180.0, rel=0.03)
    assert trace.osl_tokens.std() == pytest.approx(90.0, rel=0.1)
    assert (
        lognormal_lengths(1.0, 1.0, isl_cv=9.0, osl_cv=0.0)(np.zeros(1000), rng()).isl_tokens.min()
        == 1
    )


def test_drawn_requests_keep_both_lengths_and_the_class_together() -> None:
    trace = columns_of([0.0, 1.0], isl_tokens=[1, 2], osl_tokens=[10, 20], classes=["a", "b"])
    drawn = drawn_lengths(trace)(np.arange(100.0), rng()).requests()
    assert {(r.isl_tokens, r.osl_tokens, r.class_name) for r in drawn} == {
        (1, 10, "a"),
        (2, 20, "b"),
    }
    assert [r.timestamp_s for r in drawn] == list(range(100))
