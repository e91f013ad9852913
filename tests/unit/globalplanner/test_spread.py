"""Where a class's requests should go. A replica carries 5 chat requests/s unless said otherwise."""

from typing import Any

import pytest

from globalplanner.core import spread as core
from globalplanner.core.demand import goodput_of
from globalplanner.core.plan import differs, shares_of
from globalplanner.core.snapshot import PoolView, Rules
from globalplanner.core.space import Space
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
    moment = snapshot(views, loads, **more)
    space = Space(goodput_of(moment, Rules()), moment.pools, moment.limits)
    return shares_of(space, moment, {v.spec.id: v.replicas for v in views})


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


def test_what_rounding_leaves_of_a_class_has_no_share(monkeypatch: pytest.MonkeyPatch) -> None:
    # The aggregated pool takes all of it, but for the last bit of the number.
    views = [view(pool("agg")), view(pool("p", Role.PREFILL)), view(pool("d", Role.DECODE))]
    monkeypatch.setattr(core, "_share_of_whole", lambda *given: 1.0 - 2.0**-53)
    found, _ = shares(views, {"chat": 0.4, "long": 30.0})
    assert found[CHAT] == {Stage.PREFILL: {"agg": 1.0}}


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
