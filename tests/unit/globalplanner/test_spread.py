"""Where a class's requests should go. A replica carries 5 chat requests/s unless said otherwise."""

import dataclasses
from typing import Any

import numpy as np

from globalplanner.core.arbiter.arbitrate import arbitrate
from globalplanner.core.arbiter.layout import Layout
from globalplanner.core.arbiter.plan import differs
from globalplanner.core.arbiter.snapshot import Memory, PoolView, Rules
from globalplanner.core.arbiter.spread import Groups, spread
from tests.unit.globalplanner.fleets import (
    CHAT,
    LONG,
    fleet,
    pool,
    request_class,
    snapshot,
    view,
)
from weir.domain.fleet import Role, Stage
from weir.domain.ids import ClassName


def shares(views: list[PoolView], loads: dict[str, float], **more: Any) -> Any:
    """Where the requests go among what there is, whatever would be better."""
    views = [dataclasses.replace(v, ceiling=v.replicas, backlog_replica_s=None) for v in views]
    decision = arbitrate(snapshot(views, loads, **more), Rules(), Memory())
    assert decision.replicas == {v.spec.id: v.replicas for v in views}
    return decision.shares, decision.spill


def test_pools_that_can_share_are_equally_busy() -> None:
    views = [view(pool("a"), 1), view(pool("b"), 3)]
    found, spill = shares(views, {"chat": 4.0})
    assert found == {CHAT: {Stage.PREFILL: {"a": 0.25, "b": 0.75}}}
    assert spill == {CHAT: {Stage.PREFILL: ("b", "a")}}


def test_a_class_keeps_clear_of_the_pool_that_another_needs() -> None:
    # Only b serves long requests: 2 rps keep it fully busy, so all chat goes to a.
    views = [view(pool("a")), view(pool("b"), capacity_rps={CHAT: 5.0, LONG: 2.0})]
    whole = fleet([v.spec for v in views], classes=[request_class("chat"), request_class("long")])
    found, _ = shares(views, {"chat": 5.0, "long": 2.0}, whole=whole)
    assert found[CHAT] == {Stage.PREFILL: {"a": 1.0}}
    assert found[LONG] == {Stage.PREFILL: {"b": 1.0}}


def test_both_stages_have_shares_and_an_aggregated_pool_only_the_first() -> None:
    views = [
        view(pool("agg")),
        view(pool("p", Role.PREFILL)),
        view(pool("d1", Role.DECODE)),
        view(pool("d2", Role.DECODE), capacity_rps={CHAT: 15.0}),
    ]
    found, _ = shares(views, {"chat": 10.0})
    assert found[CHAT][Stage.PREFILL] == {"agg": 0.5, "p": 0.5}
    assert found[CHAT][Stage.DECODE] == {"d1": 0.25, "d2": 0.75}


def test_what_rounding_leaves_of_a_class_has_no_share() -> None:
    # The aggregated pool takes all of it, but for the last bit of the number.
    views = [view(pool("agg")), view(pool("p", Role.PREFILL)), view(pool("d", Role.DECODE))]
    layout = Layout.of(snapshot(views, {"chat": 0.4}), None)
    ones = np.ones(3)
    whole = np.array([[1.0 - 2.0**-53]])
    found = spread(Groups(layout), 5.0 * ones[:, None], np.array([[0.4]]), ones, whole)
    assert found.rate_rps[1:].tolist() == [[0.0], [0.0]]
    assert found.rate_rps[0, 0] > 0.39


def test_the_spread_of_the_decision_before_is_a_start_and_no_more() -> None:
    layout = Layout.of(snapshot([view(pool("a")), view(pool("b"))], {"chat": 4.0}), None)
    of = Groups(layout), np.array([[5.0], [5.0]]), np.array([[4.0]]), np.array([1.0, 3.0])
    unknown = np.array([[np.nan]])
    found = spread(*of, unknown, before=np.array([[3.9], [0.1]]))
    assert np.allclose(found.rate_rps, [[1.0], [3.0]])
    assert np.allclose(found.busy, [0.2, 0.6])


def test_a_class_without_traffic_has_shares_by_capacity() -> None:
    found, _ = shares([view(pool("a"), 1), view(pool("b"), 3)], {"chat": 0.0})
    assert found == {CHAT: {Stage.PREFILL: {"a": 0.25, "b": 0.75}}}


def test_a_class_nobody_serves_within_slo_goes_to_whoever_runs() -> None:
    views = [view(pool("a"), 2, capacity_rps={}), view(pool("b", min_replicas=0), 0)]
    found, spill = shares(views, {"chat": 4.0})
    assert found == {CHAT: {Stage.PREFILL: {"a": 1.0}}}
    assert spill == {CHAT: {Stage.PREFILL: ("a", "b")}}


def test_nothing_goes_where_nothing_is_ready() -> None:
    views = [view(pool("a"), 2, ready=2), view(pool("b"), 2, ready=0)]
    found, _ = shares(views, {"chat": 30.0})
    assert found == {CHAT: {Stage.PREFILL: {"a": 1.0}}}


def test_before_anything_is_ready_shares_are_by_what_is_decided() -> None:
    views = [view(pool("a"), 1, ready=0), view(pool("b"), 1, ready=0)]
    found, _ = shares(views, {"chat": 1.0})
    assert found == {CHAT: {Stage.PREFILL: {"a": 0.5, "b": 0.5}}}


def test_small_changes_of_shares_are_not_worth_a_plan() -> None:
    def plan(a: float) -> dict[ClassName, Any]:
        return {CHAT: {Stage.PREFILL: {"a": a, "b": 1.0 - a}}}

    assert not differs(plan(0.5), plan(0.51))
    assert differs(plan(0.5), plan(0.53))
    assert differs(plan(0.005), {CHAT: {Stage.PREFILL: {"b": 1.0}}})
    assert differs(plan(0.5), {})
