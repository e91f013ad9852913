"""Targets for means: what the mean request waits, instead of what few may."""

import math

import pytest

from weir.domain.fleet import Role, Slo, Statistic
from weir.domain.profile import EngineProfile, PolynomialTiming
from weir.sizing.capacity import replica_capacity_rps

# Prefill: 0.1 ms per token. Decode: 10 ms plus 1 ms per sequence.
PROFILE = EngineProfile(
    timing=PolynomialTiming(prefill_s=(0.0, 1e-4), decode_s=(0.010,), decode_per_sequence_s=0.001),
    kv_tokens=100_000,
    max_batched_tokens=1000,
    kv_transfer_tokens_per_s=1e9,
)


def _rps(role: Role, ttft_s: float, statistic: Statistic, utilization: float = 1.0) -> float:
    slo = Slo(ttft_s=ttft_s, itl_s=0.05, statistic=statistic)
    rate = replica_capacity_rps(PROFILE, role, slo, 1000, 100, utilization=utilization)
    assert rate is not None
    return rate


def test_the_mean_first_token_is_planned_to_be_in_time() -> None:
    # Half of the time used: half of the prompts wait (Halfin and Whitt: 0.44), those that do
    # 0.1 s * 1 / (2 * 0.5); whoever comes later does not delay a prompt that fills a batch.
    ttft_s = 0.1 + 0.445 * 0.1
    assert _rps(Role.PREFILL, ttft_s, Statistic.MEAN) == pytest.approx(5.0, rel=0.03)


@pytest.mark.parametrize("role", list(Role))
def test_a_target_for_the_mean_lets_replicas_carry_more(role: Role) -> None:
    for ttft_s in (0.3, 0.6, 2.0):
        in_the_mean = _rps(role, ttft_s, Statistic.MEAN)
        assert in_the_mean >= _rps(role, ttft_s, Statistic.PERCENTILE) * 0.999


@pytest.mark.parametrize("role", list(Role))
def test_without_a_target_both_are_the_same(role: Role) -> None:
    both = [_rps(role, math.inf, statistic, 0.8) for statistic in Statistic]
    assert both[0] == pytest.approx(both[1], rel=1e-3)


def test_a_mean_prompt_that_takes_all_of_the_target_is_no_capacity() -> None:
    slo = Slo(ttft_s=0.09, itl_s=0.05, statistic=Statistic.MEAN)
    assert replica_capacity_rps(PROFILE, Role.PREFILL, slo, 1000, 100) is None
