import math
from dataclasses import replace

import pytest

from poolplanner.core.backlog import backlog_replica_s
from poolplanner.core.capacity import CapacityTable, Traffic
from poolplanner.core.load import ClassShape
from poolplanner.core.observation import EngineLoad, Observation
from tests.unit.poolplanner.pools import CLASSES, SMALL, pool_spec
from weir.domain.fleet import Role
from weir.domain.ids import ClassName

BY_NAME = {c.name: c for c in CLASSES}
SHAPES = {SMALL: ClassShape(isl_tokens=1000, osl_tokens=100, share=1.0)}


def _engines(*, running: int = 0, waiting: int = 0, waiting_tokens: int = 0) -> EngineLoad:
    return EngineLoad(
        workers=2,
        running=running,
        waiting=waiting,
        waiting_tokens=waiting_tokens,
        kv_used_tokens=0,
        kv_total_tokens=1,
    )


def _backlog(role: Role, seen: Observation, *, ready: int = 2) -> float | None:
    table = CapacityTable(pool_spec(role), BY_NAME, 0.8)
    return backlog_replica_s(table, seen, SHAPES, ready=ready)


def test_capacity_hardly_depends_on_where_lengths_fall_on_the_grid() -> None:
    table = CapacityTable(pool_spec(Role.PREFILL), BY_NAME, 0.8)
    # 1,000 tokens take 0.1 s, so 8 requests/s at 80 %.
    assert table.capacity_rps(SHAPES)[SMALL] == pytest.approx(8.0, rel=0.05)


def test_a_class_the_pool_cannot_serve_is_left_out() -> None:
    table = CapacityTable(pool_spec(Role.DECODE, context_limit_tokens=500), BY_NAME, 0.8)
    assert table.capacity_rps(SHAPES) == {}


def test_prefill_backlog_is_the_larger_of_what_routers_and_engines_see() -> None:
    # 0.1 ms per token; each of two replicas has 1,000 in an iteration.
    seen = Observation(age_s=1.0, queued_tokens=5000, engines=_engines(waiting_tokens=20_000))
    assert _backlog(Role.PREFILL, seen) == pytest.approx(2.0)
    seen = Observation(age_s=1.0, queued_tokens=5000, engines=_engines(waiting_tokens=2500))
    assert _backlog(Role.PREFILL, seen) == pytest.approx(0.3)
    seen = Observation(age_s=1.0, queued_tokens=5000)
    assert _backlog(Role.PREFILL, seen) == pytest.approx(0.3)


def test_what_fits_into_the_iterations_of_all_replicas_is_no_backlog() -> None:
    seen = Observation(age_s=1.0, queued_tokens=2000)
    assert _backlog(Role.PREFILL, seen, ready=2) == 0.0
    assert _backlog(Role.PREFILL, seen, ready=1) == pytest.approx(0.1)
    assert _backlog(Role.PREFILL, seen, ready=0) == pytest.approx(0.2)


# 40 sequences take 0.05 s a token: 40 / (100 tokens * 0.05 s) = 8 requests/s fully used.


def test_decode_backlog_is_what_waits_over_the_full_rate() -> None:
    seen = Observation(age_s=1.0, engines=_engines(waiting=16))
    assert _backlog(Role.DECODE, seen) == pytest.approx(2.0, rel=0.06)


def test_decode_backlog_counts_what_the_routers_hold_back() -> None:
    # 16 prompts of 1,000 tokens wait at the routers; the engines are given all they can run.
    seen = Observation(age_s=1.0, queued_tokens=16_000, engines=_engines(running=70))
    assert _backlog(Role.DECODE, seen) == pytest.approx(2.0, rel=0.06)
    seen = Observation(age_s=1.0, queued_tokens=16_000, in_flight=70)
    assert _backlog(Role.DECODE, seen) == pytest.approx(2.0, rel=0.06)


def test_decode_backlog_counts_what_runs_beyond_itl() -> None:
    # Two replicas hold 80 sequences within ITL.
    seen = Observation(age_s=1.0, engines=_engines(running=120))
    assert _backlog(Role.DECODE, seen) == pytest.approx(5.0, rel=0.15)
    seen = Observation(age_s=1.0, engines=_engines(running=70))
    assert _backlog(Role.DECODE, seen) == 0.0


def test_without_engine_telemetry_the_routers_sequences_tell_the_decode_backlog() -> None:
    seen = Observation(age_s=1.0, in_flight=120)
    assert _backlog(Role.DECODE, seen, ready=2) == pytest.approx(5.0, rel=0.15)
    assert _backlog(Role.DECODE, seen, ready=4) == 0.0


def test_an_aggregated_pool_counts_the_larger_backlog_once() -> None:
    seen = Observation(age_s=1.0, queued_tokens=52_000, engines=_engines(waiting=2))
    assert _backlog(Role.AGG, seen) == pytest.approx(5.0)


@pytest.mark.parametrize("role", list(Role))
def test_backlog_is_unknown_when_nobody_tells(role: Role) -> None:
    assert _backlog(role, Observation(age_s=None)) is None


def test_a_pool_that_can_serve_nothing_knows_only_an_empty_backlog() -> None:
    table = CapacityTable(pool_spec(Role.DECODE, context_limit_tokens=500), BY_NAME, 0.8)
    queued = Observation(age_s=1.0, engines=_engines(waiting=9))
    assert backlog_replica_s(table, queued, SHAPES, ready=2) is None
    idle = Observation(age_s=1.0, engines=_engines())
    assert backlog_replica_s(table, idle, SHAPES, ready=2) == 0.0


PROMPTS = {SMALL: ClassShape(isl_tokens=8000, osl_tokens=100, share=1.0)}


def _prefill_rps(rate_rps: float | None, **traffic: float) -> float:
    # 8,000 tokens take 0.8 s; the first token may take 5 s.
    table = CapacityTable(pool_spec(Role.PREFILL), BY_NAME, 0.8)
    return table.capacity_rps(PROMPTS, Traffic(rate_rps=rate_rps, **traffic))[SMALL]  # type: ignore[arg-type]


def test_a_replica_of_a_larger_pool_carries_more() -> None:
    rates = [_prefill_rps(None, replicas=n) for n in (1, 2, 4, 8, 16)]
    assert rates == sorted(rates)
    assert rates[0] < 0.75 * rates[-1]
    assert rates[-1] == pytest.approx(0.8 / 0.8, rel=0.05)


@pytest.mark.parametrize("rate_rps", [0.1, 0.7, 1.9, 4.3, 25.0])
def test_the_rate_is_that_of_the_size_that_the_load_needs(rate_rps: float) -> None:
    needed = rate_rps / _prefill_rps(rate_rps)
    most, least = math.ceil(needed), math.floor(needed)
    assert most * _prefill_rps(None, replicas=most) >= rate_rps * 0.999
    if least >= 1 and needed > 1.0:
        assert least * _prefill_rps(None, replicas=least) <= rate_rps * 1.001


def test_replicas_at_hand_do_not_change_what_a_known_load_needs() -> None:
    assert _prefill_rps(2.0, replicas=1) == _prefill_rps(2.0, replicas=9)


def test_bursts_lower_the_rate_and_cached_prompts_raise_it() -> None:
    assert _prefill_rps(2.0, burstiness=4.0) < _prefill_rps(2.0)
    assert _prefill_rps(8.0, cached_share=0.5) == pytest.approx(2.0 * _prefill_rps(4.0), rel=0.15)


def test_speculation_multiplies_what_decodes() -> None:
    table = CapacityTable(pool_spec(Role.DECODE), BY_NAME, 0.8)
    alone = table.capacity_rps(SHAPES)[SMALL]
    # Two tokens per iteration: 90 sequences in 100 ms are within 50 ms per token, as 40 were.
    both = table.capacity_rps(SHAPES, Traffic(accept_length=2.0))[SMALL]
    assert both / alone == pytest.approx((90 / 0.100 * 2) / (40 / 0.050), rel=0.05)


def test_engines_that_are_slower_serve_less_and_head_room_shrinks_with_doubt() -> None:
    table = CapacityTable(pool_spec(Role.PREFILL), BY_NAME, 0.8)
    alone = table.capacity_rps(SHAPES)[SMALL]
    slow = replace(pool_spec(Role.PREFILL).profile, speed=0.6)
    table.measured(slow, rel_std=0.2)
    assert table.capacity_rps(SHAPES)[SMALL] == pytest.approx(0.6 * alone, rel=0.02)
    table.measured(slow, rel_std=0.02)
    sure = table.capacity_rps(SHAPES, Traffic(replicas=16))[SMALL]
    assert sure == pytest.approx(0.6 * alone * 0.94 / 0.8, rel=0.03)
    assert backlog_replica_s(
        table, Observation(age_s=1.0, queued_tokens=7000), SHAPES, ready=1
    ) == pytest.approx(1.0)


def test_prompts_that_spread_more_lower_the_rate() -> None:
    def rate_rps(spread: float) -> float:
        table = CapacityTable(pool_spec(Role.PREFILL), BY_NAME, 0.8)
        shapes = {SMALL: replace(PROMPTS[SMALL], isl_spread=spread)}
        return table.capacity_rps(shapes, Traffic(rate_rps=2.0))[SMALL]

    assert rate_rps(3.0) < rate_rps(1.5) < rate_rps(0.0)
    assert rate_rps(1.5) == _prefill_rps(2.0)


def test_a_spread_that_trembles_changes_nothing() -> None:
    table = CapacityTable(pool_spec(Role.PREFILL), BY_NAME, 0.8)
    rates = {
        table.capacity_rps({SMALL: replace(PROMPTS[SMALL], isl_spread=spread)})[SMALL]
        for spread in (1.12, 1.13, 1.12, 1.13, 1.18)
    }
    assert len(rates) == 1


def test_prompts_that_cannot_be_in_time_wait_for_slack_and_ask_for_no_replica() -> None:
    queued = Observation(age_s=1.0, queued_tokens=52_000, hopeless_queued_tokens=40_000)
    assert _backlog(Role.PREFILL, queued) == pytest.approx(1.0)


def _with_hopeless(share: float) -> float:
    """The rate at 4 requests/s if so many of them have 60,000 tokens: 6 s, TTFT is 5 s."""
    table = CapacityTable(pool_spec(Role.PREFILL), BY_NAME, 0.8)
    shape = replace(PROMPTS[SMALL], hopeless_share=share, hopeless_isl_tokens=60_000)
    return table.capacity_rps({SMALL: shape}, Traffic(rate_rps=4.0))[SMALL]


def test_hopeless_work_takes_head_room_and_replicas_only_once_that_is_used_up() -> None:
    # 1 % of 6 s is 0.06 s a request beside 0.8 s: within a fifth of head room and the waits'.
    assert _with_hopeless(0.01) == _with_hopeless(0.0)
    # A third: 2/3 of 0.8 s and 2 s; all replicas are busy at 4 * 2.53 of them.
    assert _with_hopeless(1 / 3) == pytest.approx(1.0 / (0.8 * 2 / 3 + 2.0), rel=0.03)


def test_nothing_is_planned_for_a_class_that_is_hopeless_as_a_whole() -> None:
    other = ClassName("other")
    classes = {**BY_NAME, other: replace(BY_NAME[SMALL], name=other)}
    table = CapacityTable(pool_spec(Role.PREFILL), classes, 0.8)
    alone = table.capacity_rps({SMALL: PROMPTS[SMALL]}, Traffic(rate_rps=4.0))
    shapes = {
        SMALL: replace(PROMPTS[SMALL], share=0.5),
        other: replace(
            PROMPTS[SMALL],
            share=0.5,
            hopeless=True,
            hopeless_share=1.0,
            hopeless_isl_tokens=60_000,
        ),
    }
    both = CapacityTable(pool_spec(Role.PREFILL), classes, 0.8)
    assert both.capacity_rps(shapes, Traffic(rate_rps=8.0)) == alone


MANY = {ClassName(f"c{i}"): replace(CLASSES[0], name=ClassName(f"c{i}")) for i in range(6)}
ALIKE = {name: ClassShape(isl_tokens=3000, osl_tokens=100, share=1 / 6) for name in MANY}
EVEN, BURSTS = Traffic(rate_rps=4.0), Traffic(rate_rps=4.0, burstiness=8.0)


def test_what_arrives_otherwise_is_worked_out_in_several_rounds_and_then_exactly() -> None:
    table = CapacityTable(pool_spec(Role.PREFILL), MANY, 0.8)
    even = table.capacity_rps(ALIKE, EVEN)
    rounds = [table.capacity_rps(ALIKE, BURSTS) for _ in range(8)]
    bursts = CapacityTable(pool_spec(Role.PREFILL), MANY, 0.8).capacity_rps(ALIKE, BURSTS)
    first, *_, last = MANY
    assert bursts[first] < even[first]
    # Three rates a round: the first round leaves the last classes as they were.
    assert rounds[0][last] == pytest.approx(even[last], rel=0.01)
    assert rounds[-1] == pytest.approx(bursts, rel=0.01)


def test_other_targets_count_at_once() -> None:
    table = CapacityTable(pool_spec(Role.PREFILL), MANY, 0.8)
    table.capacity_rps(ALIKE, EVEN)
    tight = {name: replace(c, slo=replace(c.slo, ttft_s=1.0)) for name, c in MANY.items()}
    table.follow(tight)
    fresh = CapacityTable(pool_spec(Role.PREFILL), tight, 0.8)
    assert table.capacity_rps(ALIKE, EVEN) == pytest.approx(fresh.capacity_rps(ALIKE, EVEN))


def test_what_hovers_between_two_steps_does_not_move_capacity() -> None:
    table = CapacityTable(pool_spec(Role.PREFILL), BY_NAME, 0.8)
    # Steps of burstiness are a factor of 1.25; 1.12 is half way between two of them.
    rates = [
        table.capacity_rps(SHAPES, Traffic(rate_rps=40.0, burstiness=burstiness))[SMALL]
        for burstiness in (1.11, 1.13, 1.10, 1.14)
    ]
    assert len(set(rates)) == 1
