"""Requests without a prefill leg: short prompts, and prompts that no worker is ready for."""

from collections.abc import Sequence
from typing import Any

import pytest

from router.core.dispatch import Dispatch, DispatchSettings
from router.core.explain import ExplainedFlight
from router.core.flight import Flight
from router.core.queue.waiting import Place
from router.core.request import (
    Leg,
    Outcome,
    RetryReason,
    Route,
    RouteReason,
    Shed,
    ShedReason,
    WaitReason,
)
from tests.unit.router.builders import fleet, members, pool, request, request_class
from weir.domain.fleet import PoolSpec, RequestClass, Role, Stage
from weir.domain.ids import ClassName, PoolId, RouterId, WorkerId
from weir.domain.legs import LegRules, WithoutPrefill
from weir.domain.planning import PoolMembers, RoutingPlan

P, D, A = PoolId("p"), PoolId("d"), PoolId("a")
SHORT, LONG = 50, 500
BELOW = 100
_CLOSED = RetryReason.CLOSED


def service(
    pools: Sequence[PoolSpec],
    *memberships: PoolMembers,
    classes: Sequence[RequestClass] = (),
    legs: LegRules,
) -> Dispatch:
    settings = DispatchSettings(legs=legs)
    router = Dispatch(fleet(pools, classes), RouterId("r"), settings, lambda at_s: None)
    for membership in memberships:
        router.apply_members(membership, 0.0)
    return router


def pair(**changes: Any) -> Dispatch:
    """One prefill worker p1, and decode workers d1 and d2; what is below 100 tokens is short."""
    fields: dict[str, Any] = {
        "legs": LegRules(direct_below_tokens=BELOW),
        "prefill": members("p", "p1"),
        "decode": members("d", "d1", "d2"),
    }
    fields |= changes
    prefill, decode = fields.pop("prefill"), fields.pop("decode")
    return service([pool("p", Role.PREFILL), pool("d", Role.DECODE)], prefill, decode, **fields)


def place(router: Dispatch, isl: int, now_s: float = 0.0) -> tuple[Flight, Any]:
    flight = router.open(request(isl), now_s)
    return flight, router.place(flight, now_s)


def sent(router: Dispatch, isl: int, now_s: float = 0.0) -> tuple[Flight, Route]:
    flight, route = place(router, isl, now_s)
    assert isinstance(route, Route)
    return flight, route


# Short prompts.


def test_without_a_rule_every_prompt_has_a_prefill_leg() -> None:
    router = pair(legs=LegRules())
    assert sent(router, 1)[1].prefill is not None


def test_a_short_prompt_goes_straight_to_a_decode_worker() -> None:
    router = pair()
    _, short = sent(router, SHORT)
    assert (short.prefill, short.decode.pool_id, short.direct) == (None, D, True)
    assert short.reason is RouteReason.DIRECT
    _, long = sent(router, BELOW)
    assert (long.prefill is not None, long.direct) == (True, False)
    assert router.traffic.pools[P].requests == 1


def test_its_prompt_is_queued_at_the_decode_worker_until_its_first_token() -> None:
    router = pair(decode=members("d", "d1"))
    flight, _ = sent(router, SHORT)
    worker = router.pools[D].workers[WorkerId("d1")]
    assert (worker.queued_tokens, worker.direct_tokens, worker.in_flight) == (SHORT, SHORT, 1)
    flight.first_token(0.5)
    assert (worker.queued_tokens, worker.direct_tokens, worker.in_flight) == (0, 0, 1)
    flight.finish(Outcome.COMPLETED, 1.0, SHORT, 10)
    assert (worker.in_flight, worker.kv_tokens) == (0, 0)
    assert router.pools[P].workers[WorkerId("p1")].served == 0


def test_a_prompt_that_comes_with_its_kv_is_none_that_the_decode_worker_computes() -> None:
    router = pair(decode=members("d", "d1"))
    flight, _ = sent(router, LONG)
    flight.prefill_done(0.5)
    worker = router.pools[D].workers[WorkerId("d1")]
    assert (worker.queued_tokens, worker.direct_tokens) == (LONG, 0)


def test_short_prompts_go_as_pairs_where_the_decode_worker_would_be_late() -> None:
    # 50 tokens take 50 ms; behind 50 others 100 ms.
    classes = [request_class(ttft_s=0.08)]
    router = pair(decode=members("d", "d1"), classes=classes)
    assert sent(router, SHORT)[1].direct
    assert not sent(router, SHORT)[1].direct
    assert sent(router, SHORT - 30)[1].direct


def test_short_prompts_leave_an_eighth_of_the_sequences_to_pairs() -> None:
    # 8 sequences: one is left.
    router = pair(decode=members("d", "d1"))
    ways = [sent(router, 1)[1].direct for _ in range(8)]
    assert ways == [True] * 7 + [False]


def test_the_iteration_that_computes_a_short_prompt_keeps_the_gap_between_tokens() -> None:
    # It takes 10 ms and 1 ms for each prompt token in it, of 0.97 * 60 ms.
    router = pair(decode=members("d", "d1"), classes=[request_class(itl_s=0.060)])
    assert not sent(router, 49)[1].direct
    flight, route = sent(router, 30)
    assert route.direct
    assert not sent(router, 20)[1].direct
    assert sent(router, 10)[1].direct
    flight.first_token(0.05)
    assert sent(router, 30)[1].direct


def test_what_decode_workers_compute_slows_the_iterations_that_are_predicted() -> None:
    router = pair(decode=members("d", "d1"))
    worker = router.pools[D].workers[WorkerId("d1")]
    assert router.pools[D].itl_s(worker, 100) == pytest.approx(0.010)
    for n in range(100):
        flight, route = sent(router, SHORT, float(n))
        assert route.direct
        flight.first_token(n + 0.06)
        flight.finish(Outcome.COMPLETED, n + 0.55, SHORT, 50)
    # 50 ms of prompt per 50 tokens: 1 ms a token, as far as 5,000 tokens are against 1,024.
    assert router.pools[D].itl_s(worker, 100) == pytest.approx(0.0108, rel=0.005)
    for n in range(100, 400):
        flight, route = sent(router, LONG, float(n))
        assert not route.direct
        flight.prefill_done(n + 0.5)
        flight.first_token(n + 0.51)
        flight.finish(Outcome.COMPLETED, n + 1.0, LONG, 50)
    assert router.pools[D].itl_s(worker, 100) < 0.0102


def test_prompts_do_not_make_a_decode_worker_look_slow() -> None:
    router = pair(decode=members("d", "d1"))
    now_s = 0.0
    for _ in range(200):
        first, second = sent(router, SHORT, now_s)[0], sent(router, SHORT, now_s)[0]
        first.first_token(now_s + 0.05)
        second.first_token(now_s + 0.10)
        # 50 iterations of 10 ms, and the other one's prompt, of which the first has seen all.
        for flight, end_s in ((first, 0.05 + 0.49 + 0.05), (second, 0.10 + 0.49)):
            flight.finish(Outcome.COMPLETED, now_s + end_s, SHORT, 50)
        now_s += 1.0
    assert router.pools[D].pace == pytest.approx(1.0, abs=0.01)


def test_a_short_prompt_does_not_wait_behind_long_ones_for_a_prefill_worker() -> None:
    router = pair()
    for _ in range(4):
        sent(router, LONG)
    assert isinstance(place(router, LONG)[1], Place)
    assert sent(router, SHORT)[1].direct


def test_a_short_prompt_that_waits_goes_when_a_decode_worker_has_room_again() -> None:
    router = pair(decode=members("d", "d1"))
    for _ in range(4):
        sent(router, LONG)
    running = [sent(router, 1)[0] for _ in range(3)]
    flight, placed = place(router, SHORT)
    assert isinstance(placed, Place)
    gone: list[Route] = []
    placed.resume = gone.append
    running[0].first_token(0.1)
    assert not gone
    running[0].finish(Outcome.COMPLETED, 0.2, 1, 5)
    assert [route.direct for route in gone] == [True]
    assert flight.route is gone[0]


def test_shares_count_a_short_prompt_for_the_pair_whose_turn_it_was() -> None:
    # The plan: half to the pair, half to the aggregated pool.
    router = service(
        [pool("p", Role.PREFILL), pool("d", Role.DECODE), pool("a", Role.AGG)],
        members("p", "p1"),
        members("d", "d1", "d2"),
        members("a", "a1", "a2"),
        legs=LegRules(direct_below_tokens=BELOW),
    )
    shares = {Stage.PREFILL: {P: 0.5, A: 0.5}, Stage.DECODE: {D: 1.0}}
    router.apply_plan(RoutingPlan(term=1, version=1, shares={ClassName("all"): shares}), 0.0)
    went = []
    for _ in range(20):
        flight, route = sent(router, SHORT)
        went.append(route.decode.pool_id)
        flight.finish(Outcome.COMPLETED, 0.0, SHORT, 1)
    assert went.count(D) == went.count(A) == 10


def test_a_short_prompt_that_failed_there_is_not_tried_there_again() -> None:
    router = pair()
    flight, route = sent(router, SHORT)
    flight.retry(route.decode, _CLOSED, 0.0)
    again = router.place(flight, 0.0, frozenset({route.decode.worker.id}))
    assert isinstance(again, Route)
    assert again.decode.worker.id != route.decode.worker.id


def test_samples_tell_what_has_entered_the_fleet_at_a_decode_pool() -> None:
    router = pair()
    sent(router, SHORT)
    sent(router, LONG)[0].prefill_done(0.1)
    by_pool = {traffic.pool_id: traffic for traffic in router.sample(1.0, 1.0).pools}
    assert (by_pool[P].arrivals, by_pool[P].direct) == (1, 0)
    assert (by_pool[D].arrivals, by_pool[D].direct) == (2, 1)


def test_an_explanation_tells_when_a_decode_worker_would_have_computed_it() -> None:
    router = pair()
    flight = router.open_explained(request(SHORT), 0.0)
    assert isinstance(flight, ExplainedFlight)
    assert isinstance(router.place(flight, 0.0), Route)
    views = {view.pool_id: view for view in flight.pools}
    assert views[D].ttft_s == pytest.approx(0.05)
    assert flight.sent_on is not None
    assert flight.sent_on.reason is RouteReason.DIRECT
    long = router.open_explained(request(LONG), 0.0)
    router.place(long, 0.0)
    assert {view.pool_id: view.ttft_s for view in long.pools}[D] is None


# No prefill worker.


def lost(policy: WithoutPrefill, **changes: Any) -> Dispatch:
    """A pair without any prefill worker."""
    rules = LegRules(without_prefill=policy)
    return pair(legs=rules, **({"prefill": members("p")} | changes))


def counts(router: Dispatch) -> dict[str, int]:
    return {policy.value: n for policy, n in router.traffic.without_prefill.items() if n}


def test_requests_queue_for_a_prefill_worker_unless_told_otherwise() -> None:
    router = lost(WithoutPrefill.QUEUE)
    flight, placed = place(router, LONG)
    assert isinstance(placed, Place)
    assert counts(router) == {"queue": 1}
    router.apply_members(members("p", "p1", version=2), 0.0)
    assert flight.route is not None
    assert flight.route.prefill is not None


def test_requests_run_on_decode_workers_alone_where_that_is_the_policy() -> None:
    router = lost(WithoutPrefill.RUN_ON_DECODE)
    _, route = sent(router, LONG)
    assert (route.prefill, route.direct, route.reason) == (None, True, RouteReason.NO_PREFILL)
    assert router.traffic.routes[RouteReason.NO_PREFILL] == 1
    assert router.ready(0.0) is None
    router.apply_members(members("p", "p1", version=2), 0.0)
    assert sent(router, LONG)[1].prefill is not None


def test_decode_workers_take_no_more_than_two_batches_of_prompts() -> None:
    router = lost(WithoutPrefill.RUN_ON_DECODE, decode=members("d", "d1"))
    flights = [sent(router, 1000)[0] for _ in range(2)]
    waiting, placed = place(router, 1000)
    assert isinstance(placed, Place)
    assert placed.lacking is Stage.DECODE
    assert counts(router) == {}
    flights[0].first_token(1.0)
    assert waiting.route is not None


def test_requests_are_refused_at_once_where_that_is_the_policy() -> None:
    router = lost(WithoutPrefill.REFUSE)
    flight, shed = place(router, LONG)
    assert isinstance(shed, Shed)
    assert (shed.reason, shed.waited_for) == (ShedReason.NO_PREFILL, WaitReason.NO_WORKER)
    assert shed.retry_after_s == 7.0
    assert counts(router) == {"refuse": 1}
    flight.finish(Outcome.SHED, 0.0)
    router.apply_members(members("p", "p1", version=2), 0.0)
    assert isinstance(place(router, LONG)[1], Route)


def test_a_pool_that_is_asleep_is_waited_for_whatever_the_policy() -> None:
    for policy, waits in ((WithoutPrefill.REFUSE, True), (WithoutPrefill.RUN_ON_DECODE, False)):
        router = service(
            [pool("p", Role.PREFILL, min_replicas=0), pool("d", Role.DECODE)],
            members("p"),
            members("d", "d1"),
            legs=LegRules(without_prefill=policy),
        )
        _, placed = place(router, LONG)
        assert isinstance(placed, Place) is waits
        by_pool = {traffic.pool_id: traffic for traffic in router.sample(1.0, 1.0).pools}
        assert by_pool[P].arrivals == 0


def test_prefill_workers_that_have_all_failed_are_lost_until_they_may_be_tried_again() -> None:
    for policy, kind in (
        (WithoutPrefill.REFUSE, Shed),
        (WithoutPrefill.RUN_ON_DECODE, Route),
        (WithoutPrefill.QUEUE, Place),
    ):
        router = lost(policy, prefill=members("p", "p1"))
        flight, route = sent(router, LONG)
        assert route.prefill is not None
        flight.retry(route.prefill, _CLOSED, 0.0)
        again = router.place(flight, 0.0, frozenset({WorkerId("p1")}))
        assert isinstance(again, kind)
        assert isinstance(place(router, LONG, 0.1)[1], kind)
        if isinstance(again, Place):
            router.admit(0.6)
            assert again.route is not None
        else:
            assert sent(router, LONG, 0.6)[1].prefill is not None


def test_kv_that_is_there_already_needs_no_prefill_worker() -> None:
    for policy in WithoutPrefill:
        router = lost(policy)
        prefilled = Leg(pool_id=P, worker=members("p", "p1").workers[0])
        flight = router.open(request(LONG), 0.0)
        route = router.place(flight, 0.0, prefilled=prefilled)
        assert isinstance(route, Route)
        assert (route.prefill is prefilled, route.direct) == (True, False)


def test_an_aggregated_worker_needs_no_prefill_worker() -> None:
    for policy in WithoutPrefill:
        router = service(
            [pool("p", Role.PREFILL), pool("d", Role.DECODE), pool("a", Role.AGG)],
            members("p"),
            members("d", "d1"),
            members("a", "a1"),
            legs=LegRules(without_prefill=policy),
        )
        assert sent(router, LONG)[1].decode.pool_id == A
        assert counts(router) == {}


def test_aggregated_fleets_have_no_such_policy() -> None:
    for policy in WithoutPrefill:
        router = service([pool("a", Role.AGG)], members("a"), legs=LegRules(without_prefill=policy))
        assert isinstance(place(router, LONG)[1], Place)
        assert counts(router) == {}
