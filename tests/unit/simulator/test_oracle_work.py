"""Engines of 1,000 prompt tokens/s, or 10 sequences at 20 ms: 500 output tokens/s."""

import numpy as np
import pytest

from tests.unit.globalplanner.fleets import pool, request_class
from weir.domain.fleet import PoolSpec, Role, Slo, Stage
from weir.domain.profile import EngineProfile, PolynomialTiming
from weir.simulator.oracle.curves import Bins, done_by, per_bin
from weir.simulator.oracle.offered import Offered
from weir.simulator.oracle.work import Work, work_of

ENGINE = EngineProfile(
    timing=PolynomialTiming(prefill_s=(0.0, 1e-3), decode_s=(0.010,), decode_per_sequence_s=1e-3),
    kv_tokens=100_000,
    max_sequences=10,
    max_batched_tokens=500,
)
PREFILL = pool("p", Role.PREFILL, profile=ENGINE)
DECODE = pool("d", Role.DECODE, profile=ENGINE)
LONG = pool("d", Role.DECODE, profile=ENGINE, context_limit_tokens=10**6)
AGG = pool("a", Role.AGG, profile=ENGINE)


def _offered(*lengths: tuple[int, int]) -> Offered:
    return Offered(
        arrival_s=np.zeros(len(lengths)),
        isl_tokens=np.array([isl for isl, _ in lengths]),
        osl_tokens=np.array([osl for _, osl in lengths]),
        class_index=np.zeros(len(lengths), np.intp),
    )


def _work(
    spec: PoolSpec,
    *lengths: tuple[int, int],
    stage: Stage | None = None,
    speed: float = 1.0,
    itl_s: float = 0.030,
) -> Work:
    profile = EngineProfile(
        timing=ENGINE.timing,
        kv_tokens=ENGINE.kv_tokens,
        max_sequences=ENGINE.max_sequences,
        max_batched_tokens=ENGINE.max_batched_tokens,
        speed=speed,
    )
    item = request_class(slo=Slo(ttft_s=2.0, itl_s=itl_s))
    return work_of(spec, profile, stage or spec.role.stages[0], _offered(*lengths), [item])


def test_a_prompt_costs_its_tokens_at_the_engines_best_rate() -> None:
    work = _work(PREFILL, (500, 9), (1500, 9))
    assert work.replica_s == pytest.approx([0.5, 1.5])
    assert work.late_s == pytest.approx([1.5, 0.5])
    assert work.slowest_s == pytest.approx([0.5, 1.5])


def test_an_engine_prefills_best_at_the_size_with_the_least_time_a_token() -> None:
    # 0.1 s and 1e-4 s a token: the full iteration of 500 tokens takes 0.15 s.
    timing = PolynomialTiming(prefill_s=(0.1, 1e-4))
    profile = EngineProfile(timing=timing, max_batched_tokens=500)
    work = work_of(PREFILL, profile, Stage.PREFILL, _offered((1000, 1)), [request_class()])
    assert work.replica_s == pytest.approx([0.3])


def test_an_output_token_costs_a_batchs_share_of_an_iteration() -> None:
    # The full batch of 10 takes 20 ms a token; alone 11 ms.
    work = _work(DECODE, (100, 50))
    assert work.replica_s == pytest.approx([50 * 0.002])
    assert work.quickest_s == pytest.approx([50 * 0.011])
    assert work.usual_s == pytest.approx([50 * 0.020])


def test_output_begins_within_ttft_and_is_no_slower_than_the_fullest_batch() -> None:
    work = _work(DECODE, (100, 50))
    assert work.late_s == pytest.approx([2.0])
    assert work.slowest_s == pytest.approx([50 * 0.020])


def test_where_the_fullest_batch_is_too_slow_output_may_begin_late_and_go_on_alone() -> None:
    work = _work(DECODE, (100, 50), itl_s=0.015)
    assert work.late_s == pytest.approx([2.0 + 49 * 0.015 - 50 * 0.011])
    assert work.slowest_s == pytest.approx([50 * 0.011])


def test_a_tight_itl_makes_output_dearer() -> None:
    # 15 ms holds for 5 sequences: 3 ms a token.
    work = _work(DECODE, (100, 50), itl_s=0.015)
    assert work.replica_s == pytest.approx([50 * 0.003])
    assert work.usual_s == pytest.approx([50 * 0.015])


def test_an_itl_that_no_batch_keeps_does_not_make_work_vanish() -> None:
    assert _work(DECODE, (100, 50), itl_s=0.001).replica_s == pytest.approx([50 * 0.002])


def test_long_contexts_leave_room_for_fewer_sequences() -> None:
    # 4 of 25,000 tokens fit, at 14 ms: 3.5 ms a token (less between two lengths of the grid).
    assert _work(DECODE, (24_990, 20)).replica_s[0] == pytest.approx(20 * 0.0035, rel=0.1)
    # Alone 11 ms.
    assert _work(LONG, (99_900, 20)).replica_s == pytest.approx([20 * 0.011], rel=0.01)


def test_what_a_pool_cannot_hold_is_no_work_for_it() -> None:
    assert _work(LONG, (99_990, 20)).replica_s == [np.inf]
    assert _work(pool("d", Role.DECODE, context_limit_tokens=999), (980, 20)).replica_s == [np.inf]
    short = pool("p", Role.PREFILL, context_limit_tokens=999)
    assert np.isfinite(_work(short, (980, 20)).replica_s).all()


@pytest.mark.parametrize("spec", [PREFILL, DECODE, AGG])
def test_twice_the_speed_halves_the_work(spec: PoolSpec) -> None:
    slow, fast = (_work(spec, (100, 50), (900, 7), speed=speed) for speed in (1.0, 2.0))
    assert slow.replica_s == pytest.approx(2.0 * fast.replica_s)
    assert slow.quickest_s == pytest.approx(2.0 * fast.quickest_s)


def test_an_aggregated_replica_does_both_stages() -> None:
    # Full: 10 sequences at 20 ms; each needs 0.1 s of prefill per 51 tokens, so an iteration is
    # 20 ms + 10 / 51 * 100 ms = 39.6 ms, within the ITL of 50 ms. A token still costs 2 ms.
    prefill = _work(AGG, (100, 51), stage=Stage.PREFILL, itl_s=0.050)
    decode = _work(AGG, (100, 51), stage=Stage.DECODE, itl_s=0.050)
    assert prefill.replica_s == pytest.approx([0.1])
    assert decode.replica_s == pytest.approx([50 * 0.002])
    # Within 25 ms there is room for 5 of them only: 15 ms + 5 / 51 * 100 ms = 24.8 ms.
    tight = _work(AGG, (100, 51), stage=Stage.DECODE, itl_s=0.025)
    assert tight.replica_s == pytest.approx([50 * 0.015 / 5])


def test_work_is_done_evenly_over_its_duration() -> None:
    bins = Bins(start_s=100.0, bin_s=10.0, count=3)
    begin_s, duration_s = np.array([95.0, 112.0]), np.array([20.0, 0.0])
    work = np.array([4.0, 7.0])
    assert done_by(bins, begin_s, duration_s, work) == pytest.approx([1.0, 3.0, 11.0, 11.0])
    assert per_bin(bins, begin_s, duration_s, work) == pytest.approx([2.0, 8.0, 0.0])


def test_work_after_the_bins_is_not_in_them() -> None:
    bins = Bins(start_s=0.0, bin_s=10.0, count=1)
    begin_s = np.array([5.0, 10.0, 70.0])
    assert per_bin(bins, begin_s, np.full(3, 10.0), np.full(3, 1.0)) == pytest.approx([0.5])
