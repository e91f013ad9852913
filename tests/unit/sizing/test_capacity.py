from dataclasses import replace

import pytest

from weir.domain.fleet import Role, Slo, Statistic
from weir.domain.profile import EngineProfile, KvTier, PolynomialTiming, TableTiming
from weir.sizing.capacity import prefill_backlog_s, replica_capacity_rps

# Prefill: 0.1 ms per token. Decode: 10 ms plus 1 ms per sequence.
PROFILE = EngineProfile(
    timing=PolynomialTiming(prefill_s=(0.0, 1e-4), decode_s=(0.010,), decode_per_sequence_s=0.001),
    kv_tokens=100_000,
    max_batched_tokens=1000,
    kv_transfer_tokens_per_s=1e9,
)
LOOSE = Slo(ttft_s=float("inf"), itl_s=1000.0)


def test_prefill_capacity_is_one_over_the_service_time() -> None:
    # 1,000 tokens take 0.1 s.
    rate = replica_capacity_rps(PROFILE, Role.PREFILL, LOOSE, 1000, 100)
    assert rate == pytest.approx(10.0, rel=1e-3)


def test_planned_utilization_is_included() -> None:
    rate = replica_capacity_rps(PROFILE, Role.PREFILL, LOOSE, 1000, 100, utilization=0.8)
    assert rate == pytest.approx(8.0)


def test_prompts_prefilled_together_share_the_fixed_cost() -> None:
    profile = EngineProfile(timing=PolynomialTiming(prefill_s=(0.1, 1e-4)), max_batched_tokens=1000)
    # Alone 0.1 + 0.05 s; two in one iteration 0.1 + 0.1 s.
    rate = replica_capacity_rps(profile, Role.PREFILL, LOOSE, 500, 1)
    assert rate == pytest.approx(2 / 0.2, rel=1e-3)


def test_prefill_that_takes_longer_than_the_target_is_no_capacity() -> None:
    slo = Slo(ttft_s=0.09, itl_s=1.0)
    assert replica_capacity_rps(PROFILE, Role.PREFILL, slo, 1000, 100) is None


def test_the_kv_transfer_counts_towards_ttft() -> None:
    slow = EngineProfile(
        timing=PROFILE.timing, max_batched_tokens=1000, kv_transfer_tokens_per_s=1000.0
    )
    # Prefill 0.1 s, transfer 1 s.
    assert replica_capacity_rps(slow, Role.PREFILL, Slo(ttft_s=1.05, itl_s=1.0), 1000, 1) is None
    assert replica_capacity_rps(slow, Role.DECODE, Slo(ttft_s=0.9, itl_s=1.0), 1000, 1) is None
    assert replica_capacity_rps(slow, Role.PREFILL, Slo(ttft_s=1.2, itl_s=1.0), 1000, 1)


def test_cached_prompts_that_come_back_slowly_count_towards_ttft() -> None:
    # Half of 1,000 tokens is cached, of which two thirds come back at 1,000 a second.
    tiers = replace(PROFILE, kv_tiers=(KvTier(tokens=200_000, tokens_per_s=1000.0),))
    assert tiers.kv_reload_s(500.0) == pytest.approx(1 / 3)

    def rate_rps(profile: EngineProfile, ttft_s: float, role: Role) -> float | None:
        slo = Slo(ttft_s=ttft_s, itl_s=1.0)
        return replica_capacity_rps(profile, role, slo, 1000, 100, cached_share=0.5)

    for role in (Role.PREFILL, Role.AGG):
        # The other half takes 0.05 s.
        assert rate_rps(PROFILE, 0.37, role) is not None
        assert rate_rps(tiers, 0.37, role) is None
        assert rate_rps(tiers, 0.45, role) is not None
    assert rate_rps(tiers, 9.0, Role.DECODE) == rate_rps(PROFILE, 9.0, Role.DECODE)


def test_waiting_for_other_prompts_lowers_the_planned_load() -> None:
    # At load 0.5 the 95th percentile of the wait is 0.1 s * ln(0.5 / 0.05) / (2 * 0.5) = 0.23 s.
    slo = Slo(ttft_s=0.1 + 0.23026 + 1e-4, itl_s=1.0)
    rate = replica_capacity_rps(PROFILE, Role.PREFILL, slo, 1000, 100, utilization=0.8)
    assert rate == pytest.approx(5.0, rel=0.01)


def test_a_target_out_of_reach_of_queueing_halves_the_load_at_most() -> None:
    slo = Slo(ttft_s=0.101, itl_s=1.0)
    rate = replica_capacity_rps(PROFILE, Role.PREFILL, slo, 1000, 100, utilization=0.8)
    assert rate == pytest.approx(4.0)


def test_decode_capacity_is_the_largest_batch_within_itl() -> None:
    # 20 sequences: 10 + 20 ms. 20 / (100 tokens * 0.03 s).
    slo = Slo(ttft_s=float("inf"), itl_s=0.0301)
    rate = replica_capacity_rps(PROFILE, Role.DECODE, slo, 1000, 100)
    assert rate == pytest.approx(20 / (100 * 0.030))


def test_decode_batch_is_bounded_by_kv() -> None:
    # A sequence holds 1,000 + 50 tokens in the middle of its output, 1,056 in blocks: 94 fit.
    rate = replica_capacity_rps(PROFILE, Role.DECODE, LOOSE, 1000, 100)
    assert rate == pytest.approx(94 / (100 * 0.104))


def test_decode_batch_is_bounded_by_max_sequences() -> None:
    profile = EngineProfile(timing=PROFILE.timing, max_sequences=8)
    rate = replica_capacity_rps(profile, Role.DECODE, LOOSE, 1000, 100)
    assert rate == pytest.approx(8 / (100 * 0.018))


def test_decode_slower_than_itl_even_alone_is_no_capacity() -> None:
    slo = Slo(ttft_s=10.0, itl_s=0.0105)
    assert replica_capacity_rps(PROFILE, Role.DECODE, slo, 1000, 100) is None


def test_agg_iterations_carry_the_prefill_of_the_successors() -> None:
    # 10 sequences of 100 tokens: an arrival each 10 iterations, 0.1 s of prefill each.
    # Iteration 0.020 + 0.1 / 10 = 0.030 s.
    slo = Slo(ttft_s=float("inf"), itl_s=0.0301, statistic=Statistic.MEAN)
    rate = replica_capacity_rps(PROFILE, Role.AGG, slo, 1000, 100)
    assert rate == pytest.approx(10 / (100 * 0.030))


def test_agg_serves_less_than_either_stage_alone() -> None:
    slo = Slo(ttft_s=1.0, itl_s=0.05)
    rates = {role: replica_capacity_rps(PROFILE, role, slo, 1000, 100) or 0.0 for role in Role}
    assert 0.0 < rates[Role.AGG] < min(rates[Role.PREFILL], rates[Role.DECODE])


def test_requests_beyond_the_context_limit_are_no_capacity() -> None:
    for role, fits in ((Role.PREFILL, True), (Role.DECODE, False), (Role.AGG, False)):
        rate = replica_capacity_rps(PROFILE, role, LOOSE, 1000, 100, context_limit_tokens=1050)
        assert (rate is not None) == fits


def test_requests_beyond_the_kv_space_are_no_capacity() -> None:
    for role in Role:
        assert replica_capacity_rps(PROFILE, role, LOOSE, 200_000, 100) is None


def test_measured_tables_work_like_polynomials() -> None:
    table = EngineProfile(
        timing=TableTiming(prefill=((1, 1e-4), (1000, 0.1)), decode=((1, 0.011), (100, 0.110))),
        kv_tokens=100_000,
        max_batched_tokens=1000,
        kv_transfer_tokens_per_s=1e9,
    )
    slo = Slo(ttft_s=10.0, itl_s=0.0301)
    for role in Role:
        expected = replica_capacity_rps(PROFILE, role, slo, 1000, 100)
        assert replica_capacity_rps(table, role, slo, 1000, 100) == pytest.approx(expected)


def test_speed_multiplies_capacity() -> None:
    fast = EngineProfile(timing=PROFILE.timing, max_batched_tokens=1000, speed=2.0)
    rate = replica_capacity_rps(fast, Role.PREFILL, LOOSE, 1000, 100)
    assert rate == pytest.approx(20.0, rel=1e-3)


@pytest.mark.parametrize(
    ("isl", "osl", "utilization"), [(-1, 1, 0.8), (1, float("nan"), 0.8), (1, 1, 0.0), (1, 1, 1.5)]
)
def test_impossible_input_is_refused(isl: float, osl: float, utilization: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        replica_capacity_rps(PROFILE, Role.PREFILL, LOOSE, isl, osl, utilization=utilization)


def test_empty_requests_are_served_like_the_shortest() -> None:
    for role in Role:
        assert replica_capacity_rps(PROFILE, role, LOOSE, 0, 0) == replica_capacity_rps(
            PROFILE, role, LOOSE, 1, 1
        )


def test_backlog_is_counted_in_full_iterations() -> None:
    assert prefill_backlog_s(PROFILE, 5000) == pytest.approx(0.5)
    assert prefill_backlog_s(PROFILE, 0) == 0.0
