"""Classes that nobody can serve within SLO: told of, and no reason to grow."""

import logging
from dataclasses import replace

import pytest

from globalplanner.core.arbiter.arbitrate import arbitrate
from globalplanner.core.arbiter.snapshot import Decision, Memory, PoolView, Rules
from tests.unit.globalplanner.fleets import (
    CHAT,
    LONG,
    fleet,
    pool,
    request_class,
    snapshot,
    view,
)
from tests.unit.globalplanner.live import Live
from weir.domain.fleet import Role

RULES = Rules()


def decide(views: list[PoolView], loads: dict[str, float]) -> Decision:
    classes = [request_class(name) for name in loads]
    whole = fleet([v.spec for v in views], gpus=16, classes=classes)
    return arbitrate(snapshot(views, loads, whole=whole), RULES, Memory())


def test_nothing_grows_for_a_class_that_no_pool_can_serve_within_slo() -> None:
    decision = decide([view(pool("a", max_replicas=8))], {"chat": 3.0, "long": 50.0})
    assert decision.replicas == {"a": 1}
    assert decision.infeasible == {LONG}
    assert "infeasible: no pools can serve it within SLO" in decision.class_reasons[LONG]


def test_prefill_does_not_grow_for_what_no_decode_pool_can_serve() -> None:
    p = view(pool("p", Role.PREFILL, max_replicas=8), capacity_rps={CHAT: 5.0, LONG: 5.0})
    d = view(pool("d", Role.DECODE, max_replicas=8), capacity_rps={CHAT: 50.0})
    decision = decide([p, d], {"chat": 3.0, "long": 50.0})
    assert decision.replicas == {"p": 1, "d": 1}
    assert decision.infeasible == {LONG}


def test_of_what_is_queued_only_the_part_of_feasible_classes_counts() -> None:
    # Of 120 s of work, 6 replicas in the 20 s that it should take, 1/6 is for chat.
    waiting = view(pool("a", max_replicas=8), backlog_replica_s=120.0)
    assert decide([waiting], {"chat": 3.0}).replicas == {"a": 7}
    assert decide([waiting], {"chat": 3.0, "long": 15.0}).replicas == {"a": 2}
    assert decide([waiting], {"chat": 0.0, "long": 15.0}).replicas == {"a": 1}


def test_a_class_is_feasible_if_one_model_can_serve_it() -> None:
    a = view(pool("a", model="m"), capacity_rps={CHAT: 5.0})
    b = view(pool("b", model="n"), capacity_rps={LONG: 5.0})
    assert decide([a, b], {"chat": 1.0, "long": 1.0}).infeasible == frozenset()


@pytest.mark.parametrize(
    "changes", [{"held": "has not reported to this leader"}, {"wish": 2}], ids=["silent", "wish"]
)
def test_where_too_little_is_known_nothing_is_called_infeasible(changes: dict[str, object]) -> None:
    unknown = view(pool("a"), capacity_rps={}, **changes)
    assert decide([unknown], {"chat": 1.0}).infeasible == frozenset()


def test_a_class_of_which_nothing_is_offered_is_no_news() -> None:
    assert decide([view(pool("a"))], {"chat": 1.0, "long": 0.0}).infeasible == frozenset()


def test_slower_engines_may_make_a_class_infeasible_and_faster_ones_feasible_again() -> None:
    able = view(pool("a"), capacity_rps={CHAT: 5.0})
    unable = replace(able, capacity_rps={})
    assert decide([able], {"chat": 1.0}).infeasible == frozenset()
    assert decide([unable], {"chat": 1.0}).infeasible == {CHAT}


def test_it_is_said_once_and_shown_in_status_and_metrics(caplog: pytest.LogCaptureFixture) -> None:
    live = Live(fleet([pool("a", power_w_per_gpu=700)], power_w=2800))
    live.run(10, rps=2)
    assert live.planner.standing().infeasible == []
    live.capacity_rps = {}
    with caplog.at_level(logging.INFO, "weir.globalplanner"):
        live.run(10, rps=2)
        assert live.planner.standing().infeasible == [CHAT]
        live.capacity_rps = {CHAT: 5.0}
        live.run(4, rps=2)
    told = [text for text in caplog.messages if "infeasible" in text]
    assert told == [
        "class chat is infeasible: no pools can serve it within SLO, so nothing grows for it",
        "class chat is not infeasible any more",
    ]
    assert live.planner.standing().infeasible == []
    assert live.metrics.registry.get_sample_value(
        "weir_globalplanner_limit_watts", {"limit": "power"}
    ) == pytest.approx(2800)
    limits = live.planner.standing().limits
    assert [(each.name, each.unit, each.charged) for each in limits] == [
        ("budget", "GPUs", 1),
        ("power", "W", 700),
    ]
