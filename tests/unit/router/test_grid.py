"""Requests in the cells of a static grid. Times are in tests/unit/router/builders.py.

Prompts below 200 tokens are for the first pool of a stage, longer ones for the second; TTFT
targets from 500 ms on move a request to the third.
"""

from dataclasses import replace
from typing import Any

import pytest

from router.core.queue.waiting import Place
from router.core.request import Outcome, RetryReason, Route, RouteReason, Wait, WaitReason
from router.service import RouterService
from tests.unit.router.builders import members, pool, request, request_class, service
from weir.domain.errors import RequestError
from weir.domain.fleet import PoolSpec, Role, Stage
from weir.domain.grid import Axis, Grid, GridStage, Override
from weir.domain.ids import ClassName, ModelName, PoolId, WorkerId
from weir.domain.overrides import ClassTargets
from weir.domain.planning import RoutingPlan

ISL = Axis(low=0, high=400, buckets=2, usual=200)
TTFT = Axis(low=0, high=1000, buckets=2, usual=0)
RUSH = Override(low=10, high=99, pool=0)


def _stage(*names: str, cells: tuple[int, ...], **axes: Any) -> GridStage:
    pools = tuple(map(PoolId, names))
    return GridStage(pools=pools, ranks=tuple(range(len(pools))), cells=cells, **axes)


HEADS = _stage(
    "p0", "p1", "p2", cells=(0, 2, 1, 2), isl_tokens=ISL, ttft_ms=TTFT, overrides=(RUSH,)
)
DECODES = _stage("d0", "d1", cells=(0, 1), isl_tokens=ISL)
GRID = Grid(head=HEADS, decode=DECODES)
RETRYING = Grid(head=HEADS, decode=DECODES, retries=True)
NAMES = ("p0", "p1", "p2", "d0", "d1")
EVERYBODY = tuple(members(name, f"{name}-w") for name in NAMES)


def _pools(**changes: Any) -> list[PoolSpec]:
    """Five pools; `p0={...}` changes one of them."""
    roles = {"p": Role.PREFILL, "d": Role.DECODE}
    return [pool(name, roles[name[0]], **changes.get(name, {})) for name in NAMES]


def _router(grid: Grid = GRID, *without: str, **settings: Any) -> RouterService:
    present = [each for each in EVERYBODY if each.pool_id not in without]
    return service(_pools(), *present, grid=grid, **settings)


def _pair(decision: object) -> tuple[str, str]:
    assert isinstance(decision, Route), decision
    assert decision.prefill is not None
    return decision.prefill.pool_id, decision.decode.pool_id


def _plan(**shares: float) -> RoutingPlan:
    prefill = {PoolId(name): share for name, share in shares.items()}
    by_stage = {Stage.PREFILL: prefill, Stage.DECODE: {PoolId("d1"): 1.0}}
    return RoutingPlan(term=1, version=1, shares={ClassName("all"): by_stage})


def test_both_legs_are_those_of_the_cell() -> None:
    router = _router()
    assert _pair(router.decide(request(100), 0.0)) == ("p0", "d0")
    assert _pair(router.decide(request(300), 0.0)) == ("p1", "d1")
    assert _pair(router.decide(request(100, ttft_s=0.5), 0.0)) == ("p2", "d0")
    # vLLM's priority: below 0 is earlier. Dynamo's is its opposite.
    assert _pair(router.decide(request(300, priority=-10), 0.0)) == ("p0", "d1")
    assert _pair(router.decide(request(300, priority=10), 0.0)) == ("p1", "d1")


def test_the_reason_is_the_cell() -> None:
    decision = _router().decide(request(), 0.0)
    assert isinstance(decision, Route)
    assert decision.reason is RouteReason.CELL


def test_a_plan_goes_before_the_grid_where_it_has_shares() -> None:
    router = _router()
    router.apply_plan(_plan(p1=1.0))
    assert _pair(router.decide(request(100), 0.0)) == ("p1", "d1")
    router = _router()
    router.apply_plan(_plan())
    assert _pair(router.decide(request(100), 0.0)) == ("p0", "d0")


def test_other_models_have_nothing_to_do_with_it() -> None:
    other = pool("other", Role.AGG, model=ModelName("other"))
    router = service([*_pools(), other], *EVERYBODY, members("other", "w"), grid=GRID)
    decision = router.decide(request(model="other"), 0.0)
    assert isinstance(decision, Route)
    assert (decision.decode.pool_id, decision.reason) == ("other", RouteReason.SHARE)


def test_an_alias_is_the_same_model() -> None:
    assert _pair(_router().decide(request(100, model="tiny-alias"), 0.0)) == ("p0", "d0")


def test_a_full_pool_is_waited_for_even_if_there_are_retries() -> None:
    router = _router(RETRYING)
    sent = 0
    while isinstance(decision := router.decide(request(300), 0.0), Route):
        router.open(request(300), 0.0).sent(decision, 0.0)
        sent += 1
        assert sent < 50
    assert decision.reason is WaitReason.NO_ROOM
    assert router.pools[PoolId("p0")].log.requests == 0
    assert _pair(router.decide(request(100), 0.0)) == ("p0", "d0")


def test_who_waits_holds_up_nobody_in_another_cell() -> None:
    router = _router(GRID, "p1")
    dispatch = router._dispatch
    waiting = dispatch.open(request(300), 0.0)
    assert isinstance(dispatch.place(waiting, 0.0), Place)
    assert isinstance(dispatch.place(dispatch.open(request(100), 0.0), 0.0), Route)
    router.apply_members(members("p1", "late"))
    assert waiting.route is not None
    assert _pair(waiting.route) == ("p1", "d1")


def test_what_waits_is_told_of_the_pool_that_it_waits_for() -> None:
    router = _router(RETRYING, "p0", "p1", "d0", "d1")
    dispatch = router._dispatch
    assert isinstance(dispatch.place(dispatch.open(request(300), 0.0), 0.0), Place)
    queued = {each.pool_id: each.queued_tokens for each in router.sample(1.0, 1.0).pools}
    assert {name: tokens for name, tokens in queued.items() if tokens} == {"p1": 300}


def test_without_retries_a_pool_without_workers_is_waited_for() -> None:
    decision = _router(GRID, "p1").decide(request(300), 0.0)
    assert isinstance(decision, Wait)
    assert (decision.reason, decision.stage) == (WaitReason.NO_WORKER, Stage.PREFILL)


def test_with_retries_the_next_faster_pool_takes_its_place() -> None:
    decision = _router(RETRYING, "p2").decide(request(100, ttft_s=0.5), 0.0)
    assert _pair(decision) == ("p1", "d0")
    assert isinstance(decision, Route)
    assert decision.reason is RouteReason.SPILL
    assert _pair(_router(RETRYING, "p2", "p1").decide(request(100, ttft_s=0.5), 0.0))[0] == "p0"


def test_the_fastest_pool_has_nobody_behind_it() -> None:
    assert isinstance(_router(RETRYING, "p0").decide(request(100), 0.0), Wait)


def test_a_failure_moves_a_request_to_the_next_pool_and_then_to_other_workers() -> None:
    workers = [members(name, f"{name}-w", f"{name}-v") for name in NAMES]
    router = service(_pools(), *workers, grid=RETRYING)
    failed: list[str] = []
    for expected in ("p2", "p1", "p0", "p2", "p1", "p0"):
        route = router.decide(request(100, ttft_s=0.5), 0.0, frozenset(map(WorkerId, failed)))
        assert _pair(route) == (expected, "d0")
        assert isinstance(route, Route) and route.prefill is not None
        assert route.prefill.worker.id not in failed
        failed.append(route.prefill.worker.id)


def test_without_retries_a_failure_moves_it_to_another_worker_of_its_pool() -> None:
    workers = [members(name, f"{name}-w", f"{name}-v") for name in NAMES]
    router = service(_pools(), *workers, grid=GRID)
    route = router.decide(request(300), 0.0, frozenset({WorkerId("p1-w")}))
    assert isinstance(route, Route) and route.prefill is not None
    assert (route.prefill.pool_id, route.prefill.worker.id) == ("p1", "p1-v")


def test_a_prefill_that_is_done_stays_when_the_decode_pool_fails() -> None:
    router = _router(RETRYING)
    flight = router.open(request(300), 0.0)
    route = router.decide(request(300), 0.0)
    assert isinstance(route, Route) and route.prefill is not None
    flight.sent(route, 0.0)
    flight.prefill_done(0.1)
    flight.retry(route.decode, RetryReason.CONNECT, 0.1)
    again = router.decide(request(300), 0.1, frozenset({WorkerId("d1-w")}), route.prefill)
    assert _pair(again) == ("p1", "d0")
    flight.finish(Outcome.CANCELLED, 0.2)


def test_targets_find_the_pool_and_do_not_hold_it_back() -> None:
    """Nobody prefills 100 tokens in 1 ms, and the second one would have to wait for the first."""
    router = service(_pools(), *EVERYBODY, grid=GRID, classes=[request_class(ttft_s=50.0)])
    for _ in range(2):
        flight = router.open(request(100, ttft_s=0.001, itl_s=0.001), 0.0)
        assert (flight.sized.ttft_s, flight.sized.itl_s, flight.hopeless) == (50.0, 1.0, False)
        decision = router._dispatch.place(flight, 0.0)
        assert _pair(decision) == ("p0", "d0")


def test_new_targets_of_a_class_count_for_who_waits_in_a_cell() -> None:
    router = _router(GRID, "p0")
    dispatch = router._dispatch
    flight = dispatch.open(request(100, ttft_s=0.1), 0.0)
    assert isinstance(dispatch.place(flight, 0.0), Place)
    targets = {ClassName("all"): ClassTargets(ttft_s=7.0)}
    router.apply_plan(RoutingPlan(term=1, version=1, targets=targets))
    assert flight.sized.ttft_s == 7.0
    router.apply_members(EVERYBODY[0])
    assert flight.route is not None


def test_a_prompt_that_its_cell_cannot_hold_is_refused() -> None:
    """Though another pool could: the grid says where it goes, and nothing is cut off."""
    specs = _pools(p1={"context_limit_tokens": 250})
    router = service(specs, *EVERYBODY, grid=GRID)
    with pytest.raises(RequestError, match="maximum context length") as refused:
        router.open(request(300, isl_exact=True), 0.0)
    assert (refused.value.status, refused.value.code) == (400, "context_length_exceeded")
    assert _pair(router.decide(request(210, isl_exact=True), 0.0)) == ("p1", "d1")
    # With retries there is one that can.
    router = service(specs, *EVERYBODY, grid=RETRYING)
    assert _pair(router.decide(request(300, isl_exact=True), 0.0)) == ("p0", "d1")


def test_an_aggregated_pool_does_both_stages() -> None:
    stage = _stage("a0", "a1", cells=(0, 1), isl_tokens=ISL)
    specs = [pool("a0", Role.AGG), pool("a1", Role.AGG)]
    workers = (members("a0", "x"), members("a1", "y"))
    router = service(specs, *workers, grid=Grid(head=stage))
    for isl, expected in ((199, "a0"), (200, "a1")):
        decision = router.decide(request(isl), 0.0)
        assert isinstance(decision, Route)
        assert (decision.prefill, decision.decode.pool_id) == (None, expected)


@pytest.mark.parametrize("wrong", [{"buckets": 0}, {"high": 0}, {"usual": float("nan")}])
def test_an_axis_has_a_width(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="axis"):
        Axis(**{"low": 0, "high": 1, "buckets": 1, "usual": 0} | wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cells": (0,)},
        {"cells": (0, 2)},
        {"ranks": (0,)},
        {"overrides": (Override(low=0, high=0, pool=2),)},
    ],
)
def test_a_stage_names_no_pool_that_it_does_not_have(wrong: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"pools": ("a", "b"), "ranks": (0, 1), "cells": (0, 1)}
    with pytest.raises(ValueError, match=r"pools|cells"):
        GridStage(isl_tokens=ISL, **fields | wrong)


def test_a_target_that_finds_the_cell_is_not_denied_though_the_class_stays_as_it_is() -> None:
    class_ = request_class("all", ttft_s=1.0)
    router = service(_pools(), *EVERYBODY, grid=GRID, classes=(class_,))
    flight = router.open(request(100, ttft_s=0.5), 0.0)
    assert (flight.sized.ttft_s, flight.denied()) == (1.0, ())
    without = service(_pools(), *EVERYBODY, classes=(class_,))
    assert without.open(request(100, ttft_s=0.5), 0.0).denied() == ("ttft_s",)


def test_another_grid_counts_for_who_comes_then_and_who_waits_stays_in_its_cell() -> None:
    router = _router()
    swapped = replace(GRID, head=replace(GRID.head, cells=GRID.head.cells[::-1]))
    before = router.open(request(100), 0.0)
    router.regrid(swapped)
    assert before.sized.model.heads[0].id == "p0"
    assert _pair(router.decide(request(100), 0.0))[0] != "p0"
    assert router.regrids == 1


def test_who_began_without_a_grid_has_none_later() -> None:
    with pytest.raises(ValueError, match="no grid"):
        service(_pools()).regrid(GRID)
