"""Dynamo's loops and budget: replicas from what is seen."""

import pytest

from tests.unit.simulator.seen import ENGINE, decoding, pool_seen, replica, spec
from weir.domain.fleet import Role
from weir.domain.ids import PoolId
from weir.simulator.policies.dynamo.budget import GlobalBudget
from weir.simulator.policies.dynamo.engine import EngineKnown
from weir.simulator.policies.dynamo.load import EngineLoad, Means
from weir.simulator.policies.dynamo.load import step as load_step
from weir.simulator.policies.dynamo.loads import engine_loads
from weir.simulator.policies.dynamo.planner import SlaPlanner, ThresholdPlanner
from weir.simulator.policies.dynamo.policy import DynamoScaler
from weir.simulator.policies.dynamo.thresholds import Target, step, thresholds_of
from weir.simulator.policies.dynamo.throughput import ThroughputLoop
from weir.simulator.policies.scaler import Wish
from weir.simulator.policies.seen import PoolSeen, Traffic

P, Q, R = PoolId("p"), PoolId("q"), PoolId("r")


def _known(role: Role) -> EngineKnown:
    return EngineKnown(spec(role), ENGINE.max_sequences)


# --- fixed thresholds ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "role", "loads", "expected"),
    [
        (Target.THROUGHPUT, Role.PREFILL, [0.0, 1.0], 3),  # any engine at the bound
        (Target.THROUGHPUT, Role.PREFILL, [0.1, 0.0], 2),  # not below 0.1
        (Target.THROUGHPUT, Role.PREFILL, [0.09, 0.0], 1),
        (Target.LATENCY, Role.PREFILL, [0.1, 0.0], 3),
        (Target.LATENCY, Role.PREFILL, [0.01, 0.0], 2),
        (Target.LATENCY, Role.PREFILL, [0.0, 0.0], 1),
        (Target.THROUGHPUT, Role.DECODE, [1.0, 1.0], 2),
        (Target.THROUGHPUT, Role.DECODE, [1.01, 0.2], 3),
        (Target.THROUGHPUT, Role.DECODE, [0.59, 0.3, 0.3], 2),
        (Target.THROUGHPUT, Role.DECODE, [0.59, 0.3], 2),  # one alone would have 1.18
        (Target.LATENCY, Role.AGG, [0.41], 2),
        (Target.LATENCY, Role.AGG, [0.09, 0.05], 1),
        (Target.LATENCY, Role.AGG, [0.0], 1),
    ],
)
def test_fixed_thresholds_move_one_replica(
    target: Target, role: Role, loads: list[float], expected: int
) -> None:
    assert step(loads, thresholds_of(target, role)) == expected


def _wanted(planner: ThresholdPlanner | SlaPlanner, pool: PoolSeen, now_s: float = 0.0) -> int:
    return planner.tick(pool, now_s).replicas


def test_waiting_calls_are_loads_of_all_engines() -> None:
    # 20 calls on each and 10 waiting for each, of 40
    planner = ThresholdPlanner(Target.LATENCY, Role.DECODE)
    pool = pool_seen(decoding(10), decoding(10), queued=14)
    assert [load.decode_calls for load in engine_loads(pool, 0.0)] == [17.0, 17.0]
    assert _wanted(planner, pool) == 3
    assert _wanted(planner, pool_seen(decoding(10), decoding(10))) == 2


def test_prefill_thresholds_are_shares_of_the_context_length() -> None:
    planner = ThresholdPlanner(Target.LATENCY, Role.PREFILL)
    prefill = spec(Role.PREFILL)
    assert _wanted(planner, pool_seen(replica(pending_tokens=999), spec=prefill)) == 1
    assert _wanted(planner, pool_seen(replica(pending_tokens=1000), spec=prefill)) == 2


def test_a_planner_holds_still_while_a_replica_starts() -> None:
    planner = ThresholdPlanner(Target.THROUGHPUT, Role.DECODE)
    assert _wanted(planner, pool_seen(decoding(40), starting=1, queued=90)) == 2
    assert _wanted(planner, pool_seen(wanted=0)) == 1


# --- the short loop -----------------------------------------------------------------------


def _queued(*tokens: float) -> list[EngineLoad]:
    return [EngineLoad(each, 0.0, 0.0) for each in tokens]


def _running(*calls: float) -> list[EngineLoad]:
    return [EngineLoad(0.0, each, 500.0 * each) for each in calls]


@pytest.mark.parametrize(
    ("queued", "expected"),
    [
        ((1600, 1600), 3),  # 2.1 s each
        ((1600, 1400), 2),  # one is still in time
        ((700, 600), 2),  # doubled: 1.4 s of queue, 80 % of 1.5 s are allowed
        ((500, 590), 1),
        ((0,), 1),
    ],
)
def test_prefill_goes_by_the_queues_of_all_engines(
    queued: tuple[float, ...], expected: int
) -> None:
    loads, means = _queued(*queued), Means(500.0, 100.0)
    assert load_step(_known(Role.PREFILL), loads, means, ttft_s=2.0, itl_s=0.05) == expected


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ((40, 45), 3),  # 51 and 56 ms
        ((40, 30), 2),
        ((15, 16), 2),  # together 43 ms, 40 are allowed
        ((14, 12), 1),
        ((1,), 1),
    ],
)
def test_decode_goes_by_the_itl_with_one_more_call(calls: tuple[float, ...], expected: int) -> None:
    loads, means = _running(*calls), Means(500.0, 100.0)
    assert load_step(_known(Role.DECODE), loads, means, ttft_s=2.0, itl_s=0.05) == expected


def test_decode_stays_if_its_kv_would_not_fit_without_one() -> None:
    loads = [EngineLoad(0.0, 5.0, 50_000.0)] * 2
    assert load_step(_known(Role.DECODE), loads, Means(9000.0, 10.0), ttft_s=1.0, itl_s=1.0) == 2


def test_an_aggregated_pool_shrinks_only_if_both_stages_agree() -> None:
    known, means = _known(Role.AGG), Means(500.0, 100.0)
    idle, prompts = [EngineLoad(0.0, 1.0, 500.0)] * 2, [EngineLoad(900.0, 1.0, 500.0)] * 2
    assert load_step(known, idle, means, ttft_s=2.0, itl_s=0.05) == 1
    assert load_step(known, prompts, means, ttft_s=2.0, itl_s=0.05) == 2
    assert load_step(known, prompts, means, ttft_s=1.0, itl_s=0.05) == 3


# --- the long loop ------------------------------------------------------------------------


def _window(arrivals: int, isl: int = 250, osl: int = 100) -> Traffic:
    return Traffic(arrivals=arrivals, isl_tokens=arrivals * isl, completed=10, osl_tokens=10 * osl)


def _loop() -> ThroughputLoop:
    return ThroughputLoop(_known(Role.PREFILL), "constant", ttft_s=2.0, itl_s=0.05)


def test_the_long_loop_plans_full_engines_for_the_load_of_the_last_window() -> None:
    # 10 requests/s, 4 for each engine
    assert _loop().window(_window(1800), current=2) == 3


def test_the_long_loop_steps_by_eight_at_most() -> None:
    assert _loop().window(_window(18_000), current=2) == 10
    assert _loop().window(_window(18), current=20) == 12


def test_the_long_loop_knows_nothing_before_a_call_has_ended() -> None:
    assert _loop().window(Traffic(arrivals=5, isl_tokens=500), current=2) is None


def test_an_idle_window_repeats_the_lengths_and_falls_to_the_least() -> None:
    loop = _loop()
    loop.window(_window(1800), current=3)
    assert loop.window(Traffic(), current=3) == 1
    assert loop.means == Means(250.0, 100.0)


def test_the_long_loops_result_is_the_least_of_the_short_one() -> None:
    planner = SlaPlanner(_known(Role.PREFILL), "constant", ttft_s=2.0, itl_s=0.05)
    idle = replica()
    prefill = spec(Role.PREFILL)
    pool = pool_seen(idle, idle, idle, idle, spec=prefill, traffic=_window(900))
    assert _wanted(planner, pool, 0.0) == 3  # no window has ended yet
    assert _wanted(planner, pool, 180.0) == 3  # 1,800 calls in it
    quiet = pool_seen(idle, idle, idle, spec=prefill, traffic=Traffic())
    assert _wanted(planner, quiet, 185.0) == 3


# --- budget -------------------------------------------------------------------------------


def _budget(most: int = 8) -> GlobalBudget:
    return GlobalBudget({P: 1, Q: 1, R: 2}, most)


def test_who_asks_first_gets_all_that_fits_and_nothing_in_part() -> None:
    budget = _budget()
    current = {P: 2, Q: 2}
    assert budget.ask(P, 6, current, 0.0) == {P: 6}
    assert budget.ask(Q, 5, current | {P: 6}, 1.0) is None


def test_an_old_wish_goes_along_when_another_pool_shrinks() -> None:
    budget = _budget()
    assert budget.ask(Q, 3, {P: 6, Q: 2}, 0.0) is None
    assert budget.ask(P, 4, {P: 6, Q: 2}, 300.0) == {P: 4, Q: 3}


def test_wishes_are_forgotten_after_six_minutes() -> None:
    budget = _budget()
    assert budget.ask(Q, 3, {P: 6, Q: 2}, 0.0) is None
    assert budget.ask(P, 4, {P: 6, Q: 2}, 361.0) == {P: 4}


def test_the_smallest_wishes_go_first_and_the_last_in_part() -> None:
    budget = _budget(most=10)
    current = {P: 6, Q: 1, R: 1}
    assert budget.ask(Q, 4, current, 0.0) is None
    assert budget.ask(R, 3, current, 0.0) is None
    # without 4 of P's, 5 are free: Q takes 3, R a replica of the two it wanted
    assert budget.ask(P, 2, current, 1.0) == {P: 2, Q: 4, R: 2}


def test_an_old_wish_of_which_no_part_fits_is_left_out() -> None:
    budget = _budget(most=10)
    current = {P: 6, Q: 1, R: 1}
    assert budget.ask(Q, 4, current, 0.0) is None
    assert budget.ask(R, 3, current, 0.0) is None
    assert budget.ask(P, 3, current, 1.0) == {P: 3, Q: 4}


def test_above_the_budget_a_shrink_that_does_not_reach_it_is_refused() -> None:
    budget = _budget(most=6)
    assert budget.ask(P, 5, {P: 6, Q: 2}, 0.0) is None
    # and is granted along with another's growth that fits only then
    assert budget.ask(Q, 1, {P: 4, Q: 2}, 1.0) == {Q: 1, P: 5}


class _Wants:
    def __init__(self, replicas: int) -> None:
        self._replicas = replicas

    def tick(self, pool: PoolSeen, now_s: float) -> Wish:
        return Wish(self._replicas, "told so")


def test_pools_ask_in_turn_and_one_that_wants_no_change_does_not() -> None:
    pools = {id: pool_seen(replica(), replica()) for id in (P, Q, R)}
    budget = GlobalBudget(dict.fromkeys(pools, 1), 7)
    scaler = DynamoScaler({P: _Wants(3), Q: _Wants(2), R: _Wants(9)}, budget)
    wishes = scaler.desired(pools, 0.0)
    assert {id: wish.replicas for id, wish in wishes.items()} == {P: 3}
