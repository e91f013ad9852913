"""Prompts whose beginning a decode worker keeps from the turn before, and goes without prefill.

Engines as in `builders`: 1 ms per prompt token. Prompts have blocks of 100 tokens here.
"""

from dataclasses import replace
from typing import Any

import pytest

from router.core.dispatch import Dispatch
from router.core.explain import ExplainedFlight
from router.core.flight import Flight
from router.core.queue.waiting import Place
from router.core.request import Outcome, RetryReason, Route, RouteReason
from tests.unit.router.builders import MODEL, PROFILE, members, pool, request_class
from tests.unit.router.test_legs import service
from tests.unit.router.test_reuse import prompt
from weir.domain.fleet import Role
from weir.domain.ids import PoolId, WorkerId
from weir.domain.legs import LegRules, WithoutPrefill

P, D = PoolId("p"), PoolId("d")
BELOW = 150


def pair(below: int = BELOW, decode: tuple[str, ...] = ("d1", "d2"), **changes: Any) -> Dispatch:
    policy = changes.pop("policy", WithoutPrefill.QUEUE)
    classes = [request_class(**changes.pop("slo", {}))]
    profile = replace(PROFILE, **changes)
    return service(
        [
            pool("p", Role.PREFILL, context_limit_tokens=8000),
            pool("d", Role.DECODE, profile=profile, context_limit_tokens=8000),
        ],
        members("p", "p1"),
        members("d", *decode),
        classes=classes,
        legs=LegRules(direct_below_tokens=below, without_prefill=policy),
    )


def send(router: Dispatch, *blocks: int, now_s: float = 0.0, **fields: Any) -> tuple[Flight, Route]:
    flight = router.open(prompt(*blocks, **fields), now_s)
    placed = router.place(flight, now_s)
    assert isinstance(placed, Route)
    return flight, placed


def end(flight: Flight, now_s: float = 0.0, cached_tokens: int | None = None) -> None:
    flight.prefill_done(now_s)
    flight.first_token(now_s)
    if cached_tokens is not None:
        flight.reused(flight.sized.isl_tokens, cached_tokens)
    flight.finish(Outcome.COMPLETED, now_s, flight.sized.isl_tokens, 2)


def serve(router: Dispatch, *blocks: int, now_s: float = 0.0, **fields: Any) -> Route:
    flight, route = send(router, *blocks, now_s=now_s, **fields)
    end(flight, now_s)
    return route


def test_the_next_turn_goes_straight_to_the_decode_worker_of_the_last_one() -> None:
    router = pair()
    first = serve(router, 1, 2, 3)
    assert first.prefill is not None
    for other in range(3):
        serve(router, 9 + other, 8, 7)
    flight, turn = send(router, 1, 2, 3, 4)
    assert (turn.prefill, turn.direct, turn.reason) == (None, True, RouteReason.DIRECT)
    assert (turn.decode.worker, turn.decode.cached_tokens) == (first.decode.worker, 300)
    worker = router.pools[D].workers[turn.decode.worker.id]
    assert (worker.queued_tokens, worker.direct_tokens) == (100, 100)
    end(flight)
    assert (worker.queued_tokens, worker.direct_tokens, worker.kv_tokens) == (0, 0, 0)
    # What it computed itself is kept as well.
    assert serve(router, 1, 2, 3, 4, 5).decode.cached_tokens == 400


def test_too_much_that_is_new_goes_through_prefill() -> None:
    router = pair()
    serve(router, 1, 2, 3)
    assert not serve(router, 1, 2, 3, 4, 5).direct
    assert not serve(router, 1, 2, 6, 7).direct


def test_it_is_kept_when_the_request_has_ended_and_not_before() -> None:
    router = pair()
    flight, _ = send(router, 1, 2, 3)
    flight.prefill_done(0.0)
    flight.first_token(0.0)
    assert not serve(router, 1, 2, 3, 4).direct
    router = pair()
    flight, _ = send(router, 1, 2, 3)
    flight.prefill_done(0.0)
    flight.finish(Outcome.CANCELLED, 0.0)
    assert not serve(router, 1, 2, 3, 4).direct


def test_nothing_is_remembered_where_prompts_do_not_go_straight() -> None:
    router = pair(below=0)
    assert router.pools[D].reuse is None
    assert not router.reuses(MODEL)
    assert pair().reuses(MODEL)
    assert not pair(prefix_caching=False).reuses(MODEL)


def test_what_runs_takes_the_space_of_what_is_kept() -> None:
    # 1,000 tokens of KV: 300 are kept while no more than 700 run.
    router = pair(decode=("d1",), kv_tokens=1000)
    serve(router, 1, 2, 3)
    worker = router.pools[D].workers[WorkerId("d1")]
    worker.kv_tokens = 600
    assert router.pools[D].kept is not None
    ties = prompt(1, 2, 3, 4).ties
    assert ties is not None
    assert router.pools[D].kept.candidates(ties, 400, 0.0) == {worker: 300}
    worker.kv_tokens = 750
    assert router.pools[D].kept.candidates(ties, 400, 0.0) == {worker: 200}
    worker.kv_tokens = 0  # What is gone does not come back.
    assert router.pools[D].kept.candidates(ties, 400, 0.0) == {worker: 200}


def test_a_worker_that_is_full_is_not_waited_for() -> None:
    router = pair()
    first = serve(router, 1, 2, 3)
    worker = router.pools[D].workers[first.decode.worker.id]
    worker.in_flight = router.pools[D].predictor.max_sequences
    router.pools[D].reload(worker)
    turn = send(router, 1, 2, 3, 4)[1]
    assert turn.prefill is not None
    assert turn.decode.worker != first.decode.worker


def test_of_two_decode_workers_the_one_done_sooner_gets_it() -> None:
    router = pair(below=350)
    has_all = serve(router, 1, 2, 3, 4).decode.worker
    flight, turn = send(router, 1, 2, 3, 4, 5, 6)
    assert turn.decode.worker == has_all  # 200 tokens instead of 600
    # These are queued there, and 200 more would come: 300 are done sooner elsewhere.
    turn = send(router, 1, 11, 12)[1]
    assert (turn.direct, turn.decode.cached_tokens) == (True, 0)
    assert turn.decode.worker != has_all
    end(flight)
    turn = send(router, 1, 13, 14)[1]
    assert (turn.decode.worker, turn.decode.cached_tokens) == (has_all, 100)


def test_a_worker_that_has_gone_keeps_nothing() -> None:
    router = pair()
    first = serve(router, 1, 2, 3)
    left = {"d1", "d2"} - {first.decode.worker.id}
    router.apply_members(members("d", *left, version=2), 0.0)
    assert not serve(router, 1, 2, 3, 4).direct


def test_a_worker_that_failed_it_does_not_get_it_again() -> None:
    router = pair()
    serve(router, 1, 2, 3)
    flight, turn = send(router, 1, 2, 3, 4)
    assert turn.direct
    flight.retry(turn.decode, RetryReason.CLOSED, 0.0)
    again = router.place(flight, 0.0, frozenset({turn.decode.worker.id}))
    assert isinstance(again, Route)
    assert again.prefill is not None


def test_hits_that_are_not_confirmed_are_not_relied_on_for_a_while() -> None:
    router = pair()
    blocks = list(range(40))
    serve(router, *blocks)
    flight, turn = send(router, *blocks, 200)
    assert turn.decode.cached_tokens == 4000
    end(flight, cached_tokens=4000)  # The engine tells of hits: so it would tell of none.
    blocks.append(200)
    for number in range(8):
        flight, turn = send(router, *blocks, 201 + number)
        end(flight, cached_tokens=0)
        if not turn.direct:
            break
    assert number == 1
    assert not serve(router, *blocks, 300, now_s=61.0).direct
    assert serve(router, *blocks, 301, now_s=1000.0).direct


def test_one_that_waits_goes_straight_when_a_decode_worker_has_room_to_spare() -> None:
    router = pair(decode=("d1",), max_sequences=6)
    serve(router, 1, 2, 3)
    decoding = [send(router, 50 + n, 8)[0] for n in range(3)]
    for flight in decoding:
        flight.prefill_done(0.0)
        flight.first_token(0.0)
    for n in range(2):  # All that a prefill worker takes.
        send(router, 60 + n, isl=1000)
    long = router.place(router.open(prompt(7, 7, 7, 7), 0.0), 0.0)
    held = router.place(router.open(prompt(1, 2, 3, 4), 0.0), 0.0)
    assert isinstance(long, Place)
    assert isinstance(held, Place)
    gone: list[Any] = []
    long.resume = held.resume = gone.append
    end(decoding[0])
    assert [route.direct for route in gone] == [True]
    assert held.route is gone[0]


def test_a_long_prompt_is_not_hopeless_where_little_of_it_is_new() -> None:
    # 1 ms a token: 1,000 tokens take a second on an idle engine, 100 a tenth of it.
    router = pair(slo={"ttft_s": 0.5})
    serve(router, 1, 2, 3)
    serve(router, 1, 2, 3, 4)
    blocks = [1, 2, 3, 4]
    for block in range(5, 11):
        blocks.append(block)
        serve(router, *blocks)
    flight, turn = send(router, *blocks, 11)
    assert (flight.new_tokens, flight.hopeless, turn.direct) == (100, False, True)
    flight, turn = send(router, *range(20, 31))
    assert (flight.new_tokens, flight.hopeless, turn.direct) == (1100, True, False)


def test_without_prefill_workers_it_goes_to_the_decode_worker_that_has_most_of_it() -> None:
    router = pair(policy=WithoutPrefill.RUN_ON_DECODE)
    first = serve(router, 1, 2, 3)
    for other in range(2):
        serve(router, 9 + other, 8, 7)
    router.apply_members(members("p", version=2), 0.0)
    turn = serve(router, 1, 2, 3, 4)
    assert (turn.decode.worker, turn.decode.cached_tokens) == (first.decode.worker, 300)
    assert (turn.direct, turn.instead_of, turn.reason) == (True, None, RouteReason.NO_PREFILL)


def test_metrics_and_explanations_tell_what_it_was_expected_to_have() -> None:
    router = pair()
    first = serve(router, 1, 2, 3)
    flight = router.open_explained(prompt(1, 2, 3, 4), 0.0)
    router.place(flight, 0.0)
    assert isinstance(flight, ExplainedFlight)
    view = {view.pool_id: view for view in flight.pools}[D]
    assert view.cached_tokens == 300
    assert view.ttft_s == pytest.approx(0.1)
    end(flight, cached_tokens=290)
    kept = router.pools[D].kept
    assert kept is not None
    assert (kept.prompt_tokens, kept.expected_tokens) == (400, 300)
    assert (kept.told_tokens, kept.asked_tokens) == (290, 400)
    assert kept.index.held() == {router.pools[D].workers[first.decode.worker.id]: 400}
