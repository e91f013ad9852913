import math
from dataclasses import replace

import pytest

from weir.domain.fleet import Slo
from weir.domain.profile import EngineProfile, PolynomialTiming
from weir.sizing.case import Case
from weir.sizing.interference import Interference
from weir.sizing.queueing import Queue

# A prompt of 1,000 tokens takes 0.1 s, a full iteration too; 10 sequences decode in 20 ms.
PROFILE = EngineProfile(
    timing=PolynomialTiming(prefill_s=(0.0, 1e-4), decode_s=(0.010,), decode_per_sequence_s=0.001),
    max_batched_tokens=1010,
)
CASE = Case(
    profile=PROFILE,
    slo=Slo(ttft_s=5.0, itl_s=0.05),
    isl_tokens=1000,
    osl_tokens=100,
    utilization=1.0,
    queue=Queue(),
    prompt_tokens=1000,
    accept_length=1.0,
)


def _late(rate_rps: float, case: Case = CASE, sequences: float = 10.0) -> float:
    return Interference(case, case.decode_times_s, 0.1).late(rate_rps, sequences)


def test_half_are_late_where_what_is_left_is_what_comes() -> None:
    # Of 50 ms decoding leaves 30; 6 prompts/s take 0.6 of the time: 30 ms.
    assert _late(6.0) == pytest.approx(0.5)


def test_tokens_in_time_depend_on_how_many_prompts_come_meanwhile() -> None:
    # 3/s take half of what is left. 15 come in 5 s: 3 * sqrt(15) * (2^(1/3) - 1) = 3.02 deviations.
    assert _late(3.0) == pytest.approx(0.00126, rel=0.03)
    short = replace(CASE, osl_tokens=10)
    assert _late(3.0, short) == pytest.approx(0.17, rel=0.03), "1.5 in 0.5 s: 0.95 deviations"


def test_nothing_is_late_if_an_iteration_full_of_prompts_is_in_time() -> None:
    # 20 ms of decoding and 100 ms of prompts.
    assert _late(9.0, replace(CASE, slo=Slo(ttft_s=5.0, itl_s=0.119))) > 0.0
    assert _late(9.0, replace(CASE, slo=Slo(ttft_s=5.0, itl_s=0.121))) == 0.0
    chunked = replace(CASE, profile=replace(PROFILE, max_batched_tokens=310))
    assert _late(6.0, replace(chunked, slo=Slo(ttft_s=5.0, itl_s=0.051))) == 0.0


def test_spread_raises_it_and_more_replicas_and_accepted_tokens_lower_it() -> None:
    alone = _late(4.0)
    assert _late(4.0, replace(CASE, queue=Queue(isl_spread=1.5))) > alone
    assert _late(4.0, replace(CASE, queue=Queue(replicas=8.0))) < alone
    assert _late(4.0, replace(CASE, accept_length=2.0)) < alone
    assert _late(4.0, sequences=20.0) > alone


@pytest.mark.parametrize("rate_rps", [0.01, 3.0, 50.0])
def test_it_is_a_share(rate_rps: float) -> None:
    for spread in (0.0, 1.5, 30.0):
        for itl_s in (1e-3, 0.05, math.inf):
            queue = Queue(isl_spread=spread, osl_spread=spread)
            case = replace(CASE, queue=queue, slo=Slo(ttft_s=5.0, itl_s=itl_s))
            assert 0.0 <= _late(rate_rps, case) <= 1.0
