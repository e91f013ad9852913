"""Who gets how many replicas. A replica carries 5 chat requests/s unless said otherwise."""

import dataclasses
from typing import Any

import pytest

from globalplanner.core.arbiter.arbitrate import arbitrate
from globalplanner.core.arbiter.snapshot import Decision, Memory, PoolView, Rules
from tests.unit.globalplanner.fleets import (
    CHAT,
    LONG,
    fleet,
    load,
    pool,
    request_class,
    snapshot,
    view,
)
from weir.domain.fleet import NodeGroup, Role, Stage

RULES = Rules()


def decide(views: list[PoolView], loads: dict[str, float] | None, **more: Any) -> dict[str, int]:
    memory = more.pop("memory", Memory())
    return dict(arbitrate(snapshot(views, loads, **more), RULES, memory).replicas)


def replicas_over_time(
    views: list[PoolView],
    steps: list[tuple[float, dict[str, float] | None, dict[str, float | None]]],
    **more: Any,
) -> list[dict[str, int]]:
    """Decide at each (now_s, loads, backlogs); what was decided is present the next time."""
    decision = Decision(
        replicas={v.spec.id: v.replicas for v in views}, reasons={}, memory=Memory()
    )
    decided = []
    for now_s, loads, backlogs in steps:
        views = [
            dataclasses.replace(
                v,
                replicas=decision.replicas[v.spec.id],
                ready=decision.replicas[v.spec.id],
                backlog_replica_s=backlogs.get(v.spec.id, 0.0),
            )
            for v in views
        ]
        decision = arbitrate(snapshot(views, loads, now_s=now_s, **more), RULES, decision.memory)
        decided.append(dict(decision.replicas))
    return decided


PREFILL = pool("prefill", Role.PREFILL)
DECODE = pool("decode", Role.DECODE)


def test_demand_is_served_with_as_few_replicas_as_carry_it() -> None:
    # 12 rps / 5 rps per replica = 2.4.
    assert decide([view(pool("a"))], {"chat": 12.0}) == {"a": 3}


def test_a_full_replica_is_not_an_overfull_one() -> None:
    assert decide([view(pool("a"))], {"chat": 10.0}) == {"a": 2}


def test_without_demand_every_pool_has_its_minimum() -> None:
    pools = [view(pool("a", min_replicas=2)), view(pool("b", min_replicas=0))]
    assert decide(pools, {"chat": 0.0}) == {"a": 2, "b": 0}


def test_no_replica_is_added_that_nothing_needs() -> None:
    assert decide([view(PREFILL), view(DECODE)], {"chat": 4.0}) == {"prefill": 1, "decode": 1}


def test_next_gpu_goes_where_it_adds_most() -> None:
    # Two GPUs are left. On a's stream a GPU adds 5 rps, on b's 3 rps.
    a, b = pool("a", model="ma"), pool("b", model="mb")
    views = [
        view(a, load_rps={CHAT: 10.0}),
        view(b, load_rps={CHAT: 10.0}, capacity_rps={CHAT: 3.0}),
    ]
    assert decide(views, {"chat": 20.0}, gpus=3) == {"a": 2, "b": 1}


def test_value_counts_per_gpu_not_per_replica() -> None:
    # A replica of b adds 8 rps with 2 GPUs, one of a 5 rps with one.
    a, b = pool("a", model="ma"), pool("b", model="mb", gpus_per_replica=2)
    views = [
        view(a, load_rps={CHAT: 20.0}),
        view(b, load_rps={CHAT: 20.0}, capacity_rps={CHAT: 8.0}),
    ]
    assert decide(views, {"chat": 40.0}, gpus=5) == {"a": 3, "b": 1}


def test_class_weight_decides_who_gets_the_last_gpu() -> None:
    classes = (request_class("chat"), request_class("long", weight=3.0))
    a, b = pool("a"), pool("b")
    views = [view(a, capacity_rps={CHAT: 5.0}), view(b, capacity_rps={LONG: 2.0})]
    whole = fleet([a, b], gpus=3, classes=classes)
    assert decide(views, {"chat": 20.0, "long": 20.0}, whole=whole) == {"a": 1, "b": 2}


def test_priority_beats_weight() -> None:
    classes = (request_class("chat", priority=1), request_class("long", weight=3.0))
    a, b = pool("a"), pool("b")
    views = [view(a, capacity_rps={CHAT: 5.0}), view(b, capacity_rps={LONG: 2.0})]
    whole = fleet([a, b], gpus=3, classes=classes)
    assert decide(views, {"chat": 20.0, "long": 20.0}, whole=whole) == {"a": 2, "b": 1}


def test_pool_weight_decides_between_models() -> None:
    a, b = pool("a", model="ma"), pool("b", model="mb", weight=2.0)
    views = [view(a, load_rps={CHAT: 10.0}), view(b, load_rps={CHAT: 10.0})]
    assert decide(views, {"chat": 20.0}, gpus=3) == {"a": 1, "b": 2}


def test_prefill_and_decode_grow_together_when_neither_helps_alone() -> None:
    assert decide([view(PREFILL), view(DECODE)], {"chat": 9.0}) == {"prefill": 2, "decode": 2}


def test_only_the_stage_that_is_short_grows() -> None:
    views = [view(PREFILL), view(DECODE, capacity_rps={CHAT: 20.0})]
    assert decide(views, {"chat": 14.0}) == {"prefill": 3, "decode": 1}
    views = [view(PREFILL, capacity_rps={CHAT: 20.0}), view(DECODE)]
    assert decide(views, {"chat": 14.0}) == {"prefill": 1, "decode": 3}


def test_one_prefill_that_feeds_many_decodes_competes_with_all_of_them() -> None:
    # Prefill + 4 decodes: 10 rps for 5 GPUs = 2 per GPU; an agg replica of the other model 1.5.
    p = pool("p", Role.PREFILL, model="ma", max_replicas=2)
    d = pool("d", Role.DECODE, model="ma", min_replicas=4, max_replicas=8)
    other = pool("other", model="mb", max_replicas=9)
    views = [
        view(p, capacity_rps={CHAT: 10.0}, load_rps={CHAT: 20.0}),
        view(d, capacity_rps={CHAT: 2.5}),
        view(other, capacity_rps={CHAT: 1.5}, load_rps={CHAT: 20.0}),
    ]
    decided = decide(views, {"chat": 40.0}, gpus=11)
    assert decided == {"p": 2, "d": 8, "other": 1}


def test_a_decode_replica_that_no_prefill_can_feed_is_not_started() -> None:
    views = [view(pool("prefill", Role.PREFILL, max_replicas=1)), view(DECODE)]
    assert decide(views, {"chat": 20.0}) == {"prefill": 1, "decode": 1}


def test_growth_stops_at_the_maximum() -> None:
    assert decide([view(pool("a", max_replicas=2))], {"chat": 50.0}) == {"a": 2}


def test_the_budget_is_never_planned_beyond() -> None:
    a, b = pool("a", gpus_per_replica=3), pool("b", gpus_per_replica=2, model="mb")
    decided = decide([view(a), view(b)], {"chat": 100.0}, gpus=9)
    assert 3 * decided["a"] + 2 * decided["b"] <= 9


def test_gpu_classes_and_node_groups_limit_as_the_budget_does() -> None:
    a = pool("a", gpu_class="H100", node_group="n1", model="ma")
    b = pool("b", gpu_class="L4", node_group="n2", model="mb")
    views = [view(a), view(b)]
    whole = fleet(
        [a, b],
        gpus=8,
        by_gpu_class={"H100": 2},
        node_groups=[NodeGroup(name="n2", gpu_class="L4", gpus=3)],
    )
    assert decide(views, {"chat": 100.0}, whole=whole) == {"a": 2, "b": 3}


def test_a_floor_is_set_aside_even_while_its_pool_is_idle() -> None:
    # b runs one replica, but two more GPUs are its own: of 6 only 3 are left for a.
    a = pool("a", model="ma", max_replicas=8)
    b = pool("b", model="mb", floor_replicas=3)
    views = [view(a, load_rps={CHAT: 50.0}), view(b)]
    assert decide(views, {"chat": 50.0}, gpus=6) == {"a": 3, "b": 1}


def test_demand_within_guarantees_is_served_before_anybody_borrows() -> None:
    # a's requests are worth more per GPU, but b is guaranteed three replicas.
    a = pool("a", model="ma", weight=5.0)
    b = pool("b", model="mb", guarantee_replicas=3)
    views = [view(a, load_rps={CHAT: 20.0}), view(b, load_rps={CHAT: 20.0})]
    assert decide(views, {"chat": 40.0}, gpus=5) == {"a": 2, "b": 3}


def test_an_unused_guarantee_is_lent_and_comes_back_without_dwell() -> None:
    a = pool("a", model="ma", weight=5.0)
    b = pool("b", model="mb", guarantee_replicas=3)
    lent = [view(a, load_rps={CHAT: 20.0}), view(b)]
    assert decide(lent, {"chat": 20.0}, gpus=5) == {"a": 4, "b": 1}
    asked_for = [
        view(a, 4, load_rps={CHAT: 20.0}),
        view(b, 1, load_rps={CHAT: 20.0}),
    ]
    assert decide(asked_for, {"chat": 40.0}, gpus=5) == {"a": 2, "b": 3}


def test_growth_is_immediate_and_as_large_as_needed() -> None:
    assert decide([view(pool("a"))], {"chat": 19.0}) == {"a": 4}


def test_backlog_at_prefill_adds_prefill_replicas_only() -> None:
    # 45 s of one replica's work keep 2.25 replicas busy for a horizon of 20 s.
    views = [view(PREFILL, backlog_replica_s=45.0), view(DECODE)]
    assert decide(views, {"chat": 1.0}) == {"prefill": 3, "decode": 1}


def test_backlog_at_decode_adds_decode_replicas_only() -> None:
    views = [view(PREFILL), view(DECODE, backlog_replica_s=45.0)]
    assert decide(views, {"chat": 1.0}) == {"prefill": 1, "decode": 3}


def test_a_step_is_sized_from_the_backlog_once() -> None:
    # 65 s keep 3.25 replicas busy for 20 s, and 1 rps another 0.16.
    views = [view(pool("a", max_replicas=8))]
    busy = {"chat": 1.0}
    waiting = [(2.0 * i, busy, {"a": 65.0}) for i in range(15)]
    assert replicas_over_time(views, waiting) == [{"a": 4}] * 15


def test_a_backlog_that_grows_on_adds_more() -> None:
    views = [view(pool("a", max_replicas=8))]
    busy = {"chat": 1.0}
    seen = replicas_over_time(views, [(0.0, busy, {"a": 65.0}), (2.0, busy, {"a": 165.0})])
    assert seen == [{"a": 4}, {"a": 6}]


def test_a_backlog_still_there_after_start_up_and_horizon_adds_more() -> None:
    views = [view(pool("a", max_replicas=8))]
    busy = {"chat": 1.0}
    # Replicas start in 10 s, the horizon is 20 s.
    seen = replicas_over_time(
        views, [(0.0, busy, {"a": 65.0}), (28.0, busy, {"a": 85.0}), (32.0, busy, {"a": 85.0})]
    )
    assert seen == [{"a": 4}, {"a": 4}, {"a": 5}]


AIRLINE = [
    view(PREFILL, capacity_rps={CHAT: 5.7}),
    view(DECODE, capacity_rps={CHAT: 18.0}),
]


@pytest.mark.parametrize("backlog_s", [15.0, 20.0, 25.0, 30.0])
@pytest.mark.parametrize("rate_is_known_after_s", [0.0, 4.0, 8.0])
def test_airline_burst_takes_prefill_to_exactly_two_and_leaves_decode_at_one(
    backlog_s: float, rate_is_known_after_s: float
) -> None:
    """200 requests at once, then 8 rps: 1.4 times what one prefill replica carries."""
    steps: list[Any] = []
    for second in range(0, 60, 2):
        known = second >= rate_is_known_after_s
        one_serves_rps, two_serve_rps = 5.7 / 0.8, 2 * 5.7 / 0.8
        served_rps = one_serves_rps if second < 12 else two_serve_rps
        backlog_s = max(0.0, backlog_s + 2.0 * (8.0 - served_rps) / one_serves_rps)
        steps.append((second, {"chat": 8.0 if known else 0.5}, {"prefill": backlog_s}))
    decided = replicas_over_time(AIRLINE, steps)
    first_two = next(i for i, d in enumerate(decided) if d["prefill"] == 2)
    assert 2 * first_two <= rate_is_known_after_s
    assert all(d == {"prefill": 2, "decode": 1} for d in decided[first_two:])


def test_airline_is_back_at_one_and_one_a_dwell_after_the_burst() -> None:
    busy = [(float(t), {"chat": 8.0}, {"prefill": 5.0}) for t in range(0, 60, 2)]
    quiet = [(float(t), {"chat": 0.5}, {}) for t in range(60, 130, 2)]
    decided = replicas_over_time(AIRLINE, [*busy, *quiet])
    back = next(i for i, d in enumerate(decided) if i > 5 and d["prefill"] == 1)
    assert 2 * back == 60 + RULES.scale_down_dwell_s


def test_a_lower_need_takes_effect_only_after_the_dwell_time() -> None:
    views = [view(pool("a"), 3)]
    steps = [(t, {"chat": 4.0}, {}) for t in (0.0, 30.0, 58.0, 60.0, 62.0)]
    seen = [d["a"] for d in replicas_over_time(views, steps)]
    assert seen == [3, 3, 3, 1, 1]


def test_a_lull_that_is_interrupted_begins_again() -> None:
    views = [view(pool("a"), 3)]
    steps = [(t, {"chat": r}, {}) for t, r in ((0.0, 4.0), (40.0, 14.0), (42.0, 4.0), (90.0, 4.0))]
    assert [d["a"] for d in replicas_over_time(views, steps)] == [3, 3, 3, 3]


def test_after_the_dwell_as_many_stay_as_were_needed_meanwhile() -> None:
    views = [view(pool("a"), 4)]
    steps = [(t, {"chat": r}, {}) for t, r in ((0.0, 4.0), (30.0, 8.0), (60.0, 4.0))]
    assert [d["a"] for d in replicas_over_time(views, steps)] == [4, 4, 2]


def test_survivors_must_carry_the_load_with_a_margin() -> None:
    # 9.5 rps fit two replicas (10 rps), but not 83 % of what they carry: 1 - 0.3 / sqrt(3).
    views = [view(pool("a"), 3)]
    tight = [(t, {"chat": 9.5}, {}) for t in (0.0, 60.0, 120.0)]
    assert replicas_over_time(views, tight)[-1] == {"a": 3}
    loose = [(t, {"chat": 8.2}, {}) for t in (0.0, 60.0, 120.0)]
    assert replicas_over_time(views, loose)[-1] == {"a": 2}


def test_unknown_load_changes_nothing() -> None:
    views = [view(pool("a"), 3), view(pool("b"), 1)]
    steps = [(t, None, {}) for t in (0.0, 60.0, 120.0)]
    assert replicas_over_time(views, steps) == [{"a": 3, "b": 1}] * 3


def test_time_without_knowledge_is_no_lull() -> None:
    views = [view(pool("a"), 3)]
    steps: list[Any] = [(0.0, {"chat": 1.0}, {}), (30.0, None, {}), (70.0, {"chat": 1.0}, {})]
    assert [d["a"] for d in replicas_over_time(views, steps)] == [3, 3, 3]


def test_unknown_backlog_does_not_shrink_but_may_grow() -> None:
    views = [view(pool("a"), 2)]
    idle = [(t, {"chat": 1.0}, {"a": None}) for t in (0.0, 100.0)]
    assert replicas_over_time(views, idle)[-1] == {"a": 2}
    assert replicas_over_time(views, [(0.0, {"chat": 12.0}, {"a": None})])[-1] == {"a": 3}


def test_a_held_pool_stays_and_the_others_are_decided_around_it() -> None:
    held = view(pool("a", model="ma"), 4, held="silent for 20 s", load_rps={CHAT: 0.0})
    other = view(pool("b", model="mb"), load_rps={CHAT: 30.0})
    assert decide([held, other], {"chat": 30.0}, gpus=6) == {"a": 4, "b": 2}


def test_a_pool_that_serves_no_class_within_slo_keeps_its_minimum() -> None:
    assert decide([view(pool("a"), capacity_rps={})], {"chat": 30.0}) == {"a": 1}


def test_under_contention_a_pool_with_more_than_it_needs_gives_without_dwell() -> None:
    a, b = pool("a", model="ma"), pool("b", model="mb")
    views = [view(a, 4, load_rps={CHAT: 1.0}), view(b, 2, load_rps={CHAT: 14.0})]
    assert decide(views, {"chat": 15.0}, gpus=6) == {"a": 3, "b": 3}


def test_under_contention_a_pool_gives_nothing_while_nobody_knows_what_is_queued_there() -> None:
    a, b = pool("a", model="ma"), pool("b", model="mb")
    dark = {"load_rps": {CHAT: 1.0}, "backlog_replica_s": None}
    views = [view(a, 4, **dark), view(b, 2, load_rps={CHAT: 14.0})]
    assert decide(views, {"chat": 15.0}, gpus=6) == {"a": 4, "b": 2}
    assert decide(views, {"chat": 15.0}, gpus=4) == {"a": 3, "b": 1}, "but a limit must hold"


def test_gpus_do_not_change_hands_for_nothing() -> None:
    # Both serve equally well; what is there stays, whoever has it.
    a, b = pool("a", model="ma"), pool("b", model="mb")
    for have in ((4, 2), (2, 4), (3, 3)):
        views = [
            view(a, have[0], load_rps={CHAT: 50.0}),
            view(b, have[1], load_rps={CHAT: 50.0}),
        ]
        assert decide(views, {"chat": 100.0}, gpus=6) == {"a": have[0], "b": have[1]}


def test_a_lowered_budget_is_met_at_once_where_it_costs_least() -> None:
    a, b = pool("a", model="ma"), pool("b", model="mb")
    views = [view(a, 4, load_rps={CHAT: 20.0}), view(b, 4, load_rps={CHAT: 5.0})]
    assert decide(views, {"chat": 25.0}, gpus=5) == {"a": 4, "b": 1}


def test_a_lowered_budget_is_met_even_without_telemetry() -> None:
    # Who is furthest above its guarantee (1 and 2) gives first: a, b, a.
    views = [view(pool("a"), 4), view(pool("b", min_replicas=2), 4)]
    assert decide(views, None, gpus=5) == {"a": 2, "b": 3}


def test_bounds_of_the_pool_hold_whatever_is_there() -> None:
    views = [view(pool("a", max_replicas=2), 3), view(pool("b", min_replicas=2), 1)]
    assert decide(views, {"chat": 0.0}) == {"a": 2, "b": 2}


def test_reasons_carry_the_numbers() -> None:
    views = [
        view(PREFILL, 2, capacity_rps={CHAT: 3.0}, backlog_replica_s=12.0),
        view(DECODE, capacity_rps={CHAT: 20.0}),
    ]
    reasons = arbitrate(snapshot(views, {"chat": 7.1}), RULES, Memory()).reasons
    assert reasons["prefill"] == (
        "2 -> 3: offered 7.1 rps needs 2.4 replicas at 80 %, backlog 12 s needs 0.6 more"
    )
    assert reasons["decode"] == "1: offered 7.1 rps needs 0.4 replicas at 80 %"


def test_reasons_say_what_stands_in_the_way() -> None:
    views = [view(pool("a", max_replicas=1)), view(pool("b", model="mb"), held="silent for 20 s")]
    reasons = arbitrate(snapshot(views, {"chat": 50.0}), RULES, Memory()).reasons
    assert reasons["a"].endswith("more would help, it is at its maximum")
    assert reasons["b"].endswith("held, silent for 20 s")
    used_up = arbitrate(snapshot([view(pool("a"))], {"chat": 50.0}, gpus=2), RULES, Memory())
    assert used_up.reasons["a"].endswith("more would help, the GPUs are used up")
    unknown = arbitrate(snapshot([view(pool("a"))], None), RULES, Memory())
    assert unknown.reasons["a"] == "1: held, no traffic telemetry yet"
    assert unknown.holding == "no traffic telemetry yet"


def test_two_models_are_split_as_their_requests_arrive() -> None:
    a, b = pool("a", model="ma"), pool("b", model="mb")
    views = [view(a, load_rps={CHAT: 3.0}), view(b, load_rps={CHAT: 1.0})]
    assert decide(views, {"chat": 20.0}) == {"a": 3, "b": 1}


def test_the_plan_follows_what_is_ready() -> None:
    a, b = pool("a"), pool("b")
    views = [view(a, 3, ready=1), view(b, 1, ready=1, capacity_rps={CHAT: 15.0})]
    decision = arbitrate(snapshot(views, {"chat": 20.0}), RULES, Memory())
    assert decision.shares == {CHAT: {Stage.PREFILL: {"a": 0.25, "b": 0.75}}}
    assert decision.spill == {CHAT: {Stage.PREFILL: ("b", "a")}}


def test_loads_of_a_class_are_taken_at_their_upper_quantile() -> None:
    high = dataclasses.replace(load(9.0), rate_high_rps=11.0)
    base = snapshot([view(pool("a"))], {"chat": 9.0})
    decision = arbitrate(dataclasses.replace(base, loads={CHAT: high}), RULES, Memory())
    assert decision.replicas == {"a": 3}


@pytest.mark.parametrize(("decoding_rps", "replicas"), [(12.0, 3), (4.0, 1), (19.0, 4), (None, 3)])
def test_decode_replicas_are_for_what_decodes_and_prefill_replicas_for_what_arrives(
    decoding_rps: float | None, replicas: int
) -> None:
    chat = dataclasses.replace(load(12.0), decoding_rps=decoding_rps)
    whole = snapshot([view(PREFILL), view(DECODE)], None, gpus=16)
    decision = arbitrate(dataclasses.replace(whole, loads={CHAT: chat}), RULES, Memory())
    assert decision.replicas == {"prefill": 3, "decode": replicas}
    assert decision.value == pytest.approx(12.0)
