"""What a request found. A prompt of 100 takes 0.1 s, an iteration 10 ms, a batch holds 1,000."""

from math import inf
from typing import Any

import pytest

from router.core.explain import ExplainedFlight, PoolView, Verdict
from router.core.request import Outcome, RetryReason, Route
from router.service import RouterService
from tests.unit.router.builders import members, pool, request, service
from weir.domain.fleet import Role

P1, D1 = pool("p1", Role.PREFILL), pool("d1", Role.DECODE)
AGG, SMALL = pool("a", Role.AGG), pool("s", Role.AGG, context_limit_tokens=120)


def _flight(router: RouterService, at_s: float = 0.0, **fields: Any) -> ExplainedFlight:
    return router.open_explained(request(**fields), at_s)


def _send(router: RouterService, flight: ExplainedFlight, now_s: float) -> None:
    route = router.decide(flight.profile, now_s)
    assert isinstance(route, Route)
    flight.sent(route, now_s)


def _views(flight: ExplainedFlight) -> dict[str, PoolView]:
    return {view.pool_id: view for view in flight.pools}


def test_predictions_are_those_before_the_request_itself_is_there() -> None:
    router = service((P1, D1), members("p1", "w"), members("d1", "w"))
    flight = _flight(router)
    _send(router, flight, 0.0)
    prefill, decode = _views(flight)["p1"], _views(flight)["d1"]
    assert (prefill.verdict, decode.verdict) == (Verdict.FITS, Verdict.FITS)
    assert prefill.ttft_s == pytest.approx(0.1, abs=1e-3)
    assert decode.itl_s == pytest.approx(0.01)
    assert (prefill.itl_s, decode.ttft_s) == (None, None)
    assert (prefill.share, decode.share) == (1.0, 1.0)


def test_who_has_waited_gets_its_first_token_so_much_later() -> None:
    router = service((AGG,), members("a", "w"))
    flight = _flight(router)
    _send(router, flight, 2.0)
    (view,) = flight.pools
    assert view.ttft_s == pytest.approx(2.1)
    assert flight.placed_s == 2.0


def test_a_pool_is_judged_by_the_first_thing_that_is_wrong_with_it() -> None:
    router = service((AGG, SMALL, pool("none", Role.AGG)), members("a", "w"), members("s", "w"))
    flight = _flight(router, isl=100)
    flight.see_pools(0.0)
    assert {name: view.verdict for name, view in _views(flight).items()} == {
        "a": Verdict.FITS,
        "s": Verdict.TOO_SHORT,
        "none": Verdict.NO_WORKER,
    }
    flight.see_pools(99.95)
    assert _views(flight)["a"].verdict is Verdict.LATE
    for _ in range(8):  # as many sequences as the engine can run
        _send(router, _flight(router, isl=100), 0.0)
    flight.see_pools(0.0)
    assert _views(flight)["a"].verdict is Verdict.FULL


def test_a_gap_above_the_target_is_slow() -> None:
    router = service((AGG,), members("a", "w"))
    flight = _flight(router)
    flight.sized.ttft_s, flight.sized.itl_s = inf, 0.005
    flight.see_pools(0.0)
    assert _views(flight)["a"].verdict is Verdict.SLOW


def test_after_a_retry_the_last_decision_is_told() -> None:
    router = service((AGG,), members("a", "w1", "w2"))
    flight = _flight(router)
    _send(router, flight, 0.0)
    assert flight.route is not None
    flight.retry(flight.route.decode, RetryReason.CLOSED, 1.0)
    _send(router, flight, 1.0)
    assert (flight.routes, flight.placed_s) == (2, 1.0)
    last = flight.route
    flight.finish(Outcome.COMPLETED, 2.0)
    assert flight.sent_on is last


def test_an_explained_flight_is_accounted_for_like_any_other() -> None:
    router = service((AGG,), members("a", "w"))
    flight = _flight(router)
    _send(router, flight, 0.0)
    flight.first_token(0.5)
    flight.finish(Outcome.COMPLETED, 1.0, output_tokens=5)
    (log,) = router.traffic.classes.values()
    assert (log.open, log.queued, log.outcomes[Outcome.COMPLETED]) == (0, 0, 1)
    (worker,) = router.pools["a"].workers.values()  # type: ignore[index]
    assert (worker.in_flight, worker.kv_tokens, worker.queued_tokens) == (0, 0, 0)


def test_learning_from_a_stream_that_runs_does_not_change_what_it_was_decided_on() -> None:
    router = service((pool("a", Role.AGG),), members("a", "w"))
    flight = router.open_explained(request(), 0.0)
    route = router.decide(flight.profile, 0.0)
    assert isinstance(route, Route)
    flight.sent(route, 0.0)
    found = flight.pools
    flight.first_token(1.0)
    flight.look(5.0)
    assert flight.pools is found
