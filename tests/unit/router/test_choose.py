"""Pools and workers for one request. Times are in tests/unit/router/builders.py."""

from collections import Counter

from router.core.hints import HintRules
from router.core.request import Leg, Route, RouteReason, Wait, WaitReason
from router.service import RouterService
from tests.unit.router.builders import members, pool, request, request_class, service
from weir.domain.fleet import Role, Stage
from weir.domain.ids import ClassName, PoolId, WorkerId
from weir.domain.planning import RoutingPlan

P1, P2 = pool("p1", Role.PREFILL), pool("p2", Role.PREFILL)
D1, D2 = pool("d1", Role.DECODE), pool("d2", Role.DECODE)
READY = tuple(members(n, f"{n}-w1", f"{n}-w2") for n in ("p1", "p2", "d1", "d2"))

ANY = HintRules(tighten_to=1e-3)


def _route(router: RouterService, **changes: object) -> Route:
    decision = router.decide(request(**changes), 0.0)
    assert isinstance(decision, Route), decision
    return decision


def _send(router: RouterService, times: int = 1, **changes: object) -> list[Route]:
    routes = []
    for _ in range(times):
        profile = request(**changes)
        flight = router.open(profile, 0.0)
        decision = router.decide(profile, 0.0)
        assert isinstance(decision, Route), decision
        flight.sent(decision, 0.0)
        routes.append(decision)
    return routes


def _head(route: Route) -> str:
    return (route.prefill or route.decode).pool_id


def _plan(
    prefill: dict[str, float],
    decode: dict[str, float] | None = None,
    spill: tuple[str, ...] = (),
    *,
    version: int = 1,
) -> RoutingPlan:
    shares = {
        Stage.PREFILL: {PoolId(p): s for p, s in prefill.items()},
        Stage.DECODE: {PoolId(p): s for p, s in (decode or {}).items()},
    }
    return RoutingPlan(
        term=1,
        version=version,
        shares={ClassName("all"): shares},
        spill={ClassName("all"): {Stage.PREFILL: tuple(map(PoolId, spill))}},
    )


def test_two_legs_go_to_a_prefill_and_a_decode_worker() -> None:
    route = _route(service((P1, D1), *READY))
    assert route.prefill is not None
    assert (route.prefill.pool_id, route.decode.pool_id) == ("p1", "d1")
    assert (route.isl_tokens, route.osl_tokens) == (100, 50)
    assert route.reason is RouteReason.SHARE


def test_an_aggregated_pool_serves_in_one_leg() -> None:
    route = _route(service((pool("a", Role.AGG),), members("a", "w1")))
    assert route.prefill is None
    assert route.decode.worker.id == "w1"


def test_without_plan_pools_share_by_their_ready_workers() -> None:
    three = members("p1", "a", "b", "c")
    router = service((P1, P2, D1), three, members("p2", "d"), READY[2])
    heads = Counter(_head(r) for r in _send(router, 8, isl=10, max_tokens=2))
    assert heads == {"p1": 6, "p2": 2}


def test_a_plan_sets_the_shares_per_stage() -> None:
    router = service((P1, P2, D1, D2), *READY)
    router.apply_plan(_plan({"p1": 0.25, "p2": 0.75}, {"d1": 0.5, "d2": 0.5}))
    routes = _send(router, 8, isl=10, max_tokens=2)
    assert Counter(_head(r) for r in routes) == {"p1": 2, "p2": 6}
    assert Counter(r.decode.pool_id for r in routes) == {"d1": 4, "d2": 4}


def test_an_older_plan_changes_nothing() -> None:
    router = service((P1, P2, D1), *READY)
    assert router.apply_plan(_plan({"p1": 1.0}, version=5))
    assert not router.apply_plan(_plan({"p2": 1.0}, version=5))
    assert not router.apply_plan(RoutingPlan(term=0, version=99))
    assert _head(_route(router)) == "p1"


def test_a_planned_pool_without_ready_workers_is_skipped() -> None:
    router = service((P1, P2, D1), members("p1"), READY[1], READY[2])
    router.apply_plan(_plan({"p1": 0.9, "p2": 0.1}))
    route = _route(router)
    assert (_head(route), route.reason) == ("p2", RouteReason.SPILL)


def test_a_pool_that_the_plan_leaves_out_is_the_last_resort() -> None:
    router = service((P1, P2, D1), members("p1"), READY[1], READY[2])
    router.apply_plan(_plan({"p1": 1.0}))
    route = _route(router)
    assert (_head(route), route.reason) == ("p2", RouteReason.LAST_RESORT)
    router.apply_members(members("p1", "w1", version=2))
    assert _head(_route(router)) == "p1"


def test_a_pool_that_would_break_ttft_is_passed_over_in_spill_order() -> None:
    # p1 has 600 ms queued on each worker; 100 more tokens are 700 ms, over the 500 ms target.
    classes = (request_class(ttft_s=0.5),)
    router = service((P1, P2, D1), *READY, classes=classes)
    router.apply_plan(_plan({"p1": 1.0}, spill=("p2",)))
    _send(router, 2, isl=600, ttft_s=100.0)
    route = _route(router)
    assert (_head(route), route.reason) == ("p2", RouteReason.SPILL)
    assert _head(_route(router, ttft_s=0.8)) == "p1"


def test_when_no_pool_keeps_the_target_the_share_decides() -> None:
    router = service((P1, P2, D1), *READY, classes=(request_class(ttft_s=0.05),))
    router.apply_plan(_plan({"p1": 0.2, "p2": 0.8}, spill=("p1", "p2")))
    route = _route(router)
    assert (_head(route), route.reason) == ("p2", RouteReason.OVERLOAD)


def test_a_decode_pool_that_would_break_itl_is_passed_over() -> None:
    slow = pool("d1", Role.DECODE, profile=P1.profile.__class__(speed=0.01))
    router = service((P1, slow, D2), *READY, classes=(request_class(itl_s=0.02),))
    assert {_route(router).decode.pool_id for _ in range(3)} == {"d2"}


def test_kv_transfer_counts_in_ttft() -> None:
    # 100 tokens: 100 ms of prefill, and 100 ms to a decode worker that pulls 1,000 tokens/s.
    far = pool("d1", Role.DECODE, profile=type(P1.profile)(kv_transfer_tokens_per_s=1000.0))
    agg = pool("a", Role.AGG)
    router = service((P1, far, agg), READY[0], READY[2], members("a", "w"), hints=ANY)
    assert _route(router, ttft_s=0.25, itl_s=1.0).prefill is not None
    assert _route(router, ttft_s=0.15, itl_s=1.0).prefill is None


def test_a_pool_whose_context_is_too_short_is_passed_over() -> None:
    router = service((pool("p1", Role.PREFILL, context_limit_tokens=500), P2, D1), *READY)
    assert {_head(r) for r in _send(router, 4, isl=600)} == {"p2"}


def test_legs_of_a_pair_speak_one_dialect() -> None:
    router = service((P1, pool("d1", Role.DECODE, dialect="sglang"), D2), *READY)
    assert {r.decode.pool_id for r in _send(router, 4, isl=10)} == {"d2"}


def test_models_do_not_share_pools() -> None:
    other = pool("a", Role.AGG, model="other")
    router = service((other, pool("b", Role.AGG)), members("a", "a1"), members("b", "b1"))
    assert _route(router).decode.pool_id == "b"
    assert _route(router, model="other").decode.pool_id == "a"


def test_a_request_waits_while_a_stage_has_no_worker() -> None:
    router = service((P1, D1), READY[0])
    decision = router.decide(request(), 0.0)
    assert isinstance(decision, Wait)
    assert (decision.reason, decision.stage) == (WaitReason.NO_WORKER, Stage.DECODE)
    decision = service((P1, D1), READY[2]).decide(request(), 0.0)
    assert isinstance(decision, Wait)
    assert (decision.reason, decision.stage) == (WaitReason.NO_WORKER, Stage.PREFILL)


def test_a_request_waits_while_every_worker_has_full_batches_queued() -> None:
    router = service((P1, D1), members("p1", "w"), READY[2])
    _send(router, 2, isl=1000)
    decision = router.decide(request(), 0.0)
    assert isinstance(decision, Wait)
    assert (decision.reason, decision.stage) == (WaitReason.NO_ROOM, Stage.PREFILL)


def test_a_last_resort_that_is_full_is_waited_for_as_one_that_is_there() -> None:
    router = service((P1, P2, D1), members("p1"), members("p2", "w"), READY[2])
    router.apply_plan(_plan({"p1": 1.0}))
    _send(router, 2, isl=1000)
    decision = router.decide(request(), 0.0)
    assert isinstance(decision, Wait)
    assert decision.reason is WaitReason.NO_ROOM


def test_a_request_waits_before_prefill_while_decode_is_full() -> None:
    router = service((P1, D1), READY[0], members("d1", "w"))
    _send(router, 8, isl=10)
    decision = router.decide(request(), 0.0)
    assert isinstance(decision, Wait)
    assert (decision.reason, decision.stage) == (WaitReason.NO_ROOM, Stage.DECODE)


def test_excluded_workers_are_taken_only_if_there_are_no_others() -> None:
    router = service((pool("a", Role.AGG),), members("a", "w1", "w2"))
    one, both = frozenset({WorkerId("w1")}), frozenset({WorkerId("w1"), WorkerId("w2")})
    for _ in range(3):
        decision = router.decide(request(), 0.0, exclude=one)
        assert isinstance(decision, Route)
        assert decision.decode.worker.id == "w2"
    assert isinstance(router.decide(request(), 0.0, exclude=both), Route)


def test_after_prefill_only_the_decode_worker_is_chosen_anew() -> None:
    router = service((P1, P2, D1, D2), *READY)
    first = _route(router)
    assert isinstance(first.prefill, Leg)
    second = router.decide(
        request(), 0.0, frozenset({first.decode.worker.id}), prefilled=first.prefill
    )
    assert isinstance(second, Route)
    assert second.prefill is first.prefill
    assert second.decode.worker.id != first.decode.worker.id


def test_asking_changes_nothing() -> None:
    router = service((P1, P2, D1, D2), *READY)
    assert len({repr(_route(router)) for _ in range(5)}) == 1
