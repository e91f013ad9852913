"""One request's accounting, and what the planners are told of it."""

from dataclasses import replace
from math import inf

import pytest

from router.core.flight import Flight
from router.core.request import Outcome, RetryReason, Route
from router.service import RouterService
from tests.unit.router.builders import members, pool, request, request_class, service
from weir.codec import decode_traffic, encode_traffic
from weir.domain.errors import RequestError
from weir.domain.fleet import Role
from weir.domain.telemetry import ClassTraffic, PoolTraffic

DISAGG = (pool("p", Role.PREFILL), pool("d", Role.DECODE))
READY = (members("p", "p1"), members("d", "d1", "d2"))


def _fly(router: RouterService, at_s: float = 0.0, **changes: object) -> tuple[Flight, Route]:
    profile = request(**changes)
    flight = router.open(profile, at_s)
    route = router.decide(profile, at_s)
    assert isinstance(route, Route)
    flight.sent(route, at_s)
    return flight, route


def _sampled(router: RouterService) -> tuple[ClassTraffic, dict[str, PoolTraffic]]:
    sample = router.sample(1.0, 1.0)
    return sample.classes[0], {p.pool_id: p for p in sample.pools}


def _loads(router: RouterService) -> dict[str, tuple[int, int, int]]:
    workers = [w for p in router.pools for w in p.workers.values()]
    return {w.endpoint.id: (w.in_flight, w.queued_tokens, w.kv_tokens) for w in workers}


IDLE = {"p1": (0, 0, 0), "d1": (0, 0, 0), "d2": (0, 0, 0)}


def test_two_legs_are_charged_and_released_step_by_step() -> None:
    router = service(DISAGG, *READY)
    flight, route = _fly(router, isl=100, max_tokens=50)
    decode = route.decode.worker.id
    assert _loads(router) == IDLE | {"p1": (1, 100, 0), decode: (1, 0, 125)}
    flight.prefill_done(0.1)
    assert _loads(router) == IDLE | {decode: (1, 100, 125)}
    flight.first_token(0.2)
    assert _loads(router) == IDLE | {decode: (1, 0, 125)}
    flight.finish(Outcome.COMPLETED, 0.5, prompt_tokens=100, output_tokens=31)
    assert _loads(router) == IDLE


def test_a_completed_request_is_seen_once_with_its_latencies() -> None:
    router = service(DISAGG, *READY)
    flight, _ = _fly(router, at_s=1.0, isl=100, max_tokens=50)
    flight.prefill_done(1.1)
    flight.first_token(1.3)
    flight.first_token(9.9)
    flight.finish(Outcome.COMPLETED, 1.9, prompt_tokens=100, output_tokens=31)
    flight.finish(Outcome.FAILED, 2.0)
    traffic, pools = _sampled(router)
    assert (traffic.arrivals, traffic.completed, traffic.failed) == (1, 1, 0)
    assert (traffic.isl_tokens, traffic.osl_tokens, traffic.queued) == (100, 31, 0)
    assert traffic.ttft_s.quantile(0.5) == pytest.approx(0.3, rel=0.04)
    assert traffic.itl_s.quantile(0.5) == pytest.approx(0.02, rel=0.04)
    prefill, decode = pools["p"], pools["d"]
    assert (prefill.arrivals, prefill.completed, prefill.isl_tokens) == (1, 1, 100)
    assert prefill.first_token_s.quantile(0.5) == pytest.approx(0.1, rel=0.04)
    assert (decode.arrivals, decode.completed, decode.osl_tokens) == (1, 1, 31)
    assert decode.first_token_s.quantile(0.5) == pytest.approx(0.2, rel=0.04)
    assert _sampled(router)[0].arrivals == 0


def test_the_window_shows_what_is_queued_and_in_flight_at_its_end() -> None:
    router = service(DISAGG, *READY)
    waiting = router.open(request(70), 0.0)
    flight, _ = _fly(router, isl=100)
    traffic, pools = _sampled(router)
    assert (traffic.arrivals, traffic.queued) == (2, 1)
    assert (pools["p"].in_flight, pools["p"].queued_tokens) == (1, 100)
    assert (pools["d"].in_flight, pools["d"].queued_tokens) == (0, 0)
    flight.prefill_done(0.1)
    waiting.finish(Outcome.CANCELLED, 0.2)
    traffic, pools = _sampled(router)
    assert (traffic.queued, traffic.cancelled) == (0, 1)
    assert (pools["p"].in_flight, pools["p"].queued_tokens) == (0, 0)
    assert (pools["d"].in_flight, pools["d"].queued_tokens) == (1, 100)


def test_a_failed_prefill_is_released_and_sent_again() -> None:
    router = service(DISAGG, *READY)
    flight, route = _fly(router)
    assert route.prefill is not None
    flight.retry(route.prefill, RetryReason.CONNECT, 0.1)
    assert _loads(router) == IDLE
    assert router.traffic.retries[RetryReason.CONNECT] == 1
    again = router.decide(flight.profile, 0.7, frozenset({route.prefill.worker.id}))
    assert isinstance(again, Route)
    flight.sent(again, 0.7)
    flight.finish(Outcome.FAILED, 0.8, failed_leg=again.prefill)
    assert _loads(router) == IDLE
    traffic, pools = _sampled(router)
    assert (traffic.failed, pools["p"].failed, pools["p"].arrivals) == (1, 2, 2)


def test_a_failed_decode_leg_keeps_the_prefill_that_is_done() -> None:
    router = service(DISAGG, *READY)
    flight, route = _fly(router)
    flight.prefill_done(0.1)
    flight.retry(route.decode, RetryReason.CLOSED, 0.2)
    again = router.decide(
        flight.profile, 0.2, frozenset({route.decode.worker.id}), prefilled=route.prefill
    )
    assert isinstance(again, Route)
    flight.sent(again, 0.2)
    assert _loads(router) == IDLE | {again.decode.worker.id: (1, 100, 125)}
    flight.finish(Outcome.CANCELLED, 0.3)
    assert _loads(router) == IDLE


def test_a_failure_without_a_culprit_counts_for_the_pool_it_was_in() -> None:
    router = service(DISAGG, *READY)
    flight, _ = _fly(router)
    flight.prefill_done(0.1)
    flight.finish(Outcome.FAILED, 0.2)
    assert (router.traffic.pools["p"].failed, router.traffic.pools["d"].failed) == (0, 1)
    assert all(worker.failures == 0 for p in router.pools for worker in p.workers.values())


def test_without_streaming_only_the_kv_holds_room_and_no_latency_is_claimed() -> None:
    router = service((pool("a", Role.AGG),), members("a", "w"))
    flight, _ = _fly(router, isl=100, max_tokens=50, streaming=False)
    assert _loads(router) == {"w": (1, 0, 125)}
    flight.first_token(5.0)
    flight.finish(Outcome.COMPLETED, 5.0, prompt_tokens=100, output_tokens=50)
    traffic, pools = _sampled(router)
    assert (traffic.completed, traffic.osl_tokens) == (1, 50)
    assert (traffic.ttft_s.total, traffic.itl_s.total) == (0, 0)
    assert pools["a"].first_token_s.total == 0


def test_lengths_are_learned_from_what_the_engine_reports() -> None:
    router = service((pool("a", Role.AGG),), members("a", "w"))
    for _ in range(50):
        flight, _ = _fly(router, isl=100, prompt_bytes=200, max_tokens=None)
        flight.first_token(0.1)
        flight.finish(Outcome.COMPLETED, 0.2, prompt_tokens=100, output_tokens=10)
    assert router.estimate_isl("tiny-alias", "", 200) > 80
    assert router.estimate_isl("tiny", "", 200, exact_tokens=7) == 7
    route = router.decide(request(isl=100, max_tokens=None), 0.0)
    assert isinstance(route, Route)
    assert route.osl_tokens < 30


def test_an_unknown_output_length_counts_as_expected() -> None:
    router = service((pool("a", Role.AGG),), members("a", "w"))
    flight, _ = _fly(router, max_tokens=50)
    flight.finish(Outcome.COMPLETED, 1.0)
    assert _sampled(router)[0].osl_tokens == 50


def test_a_refused_request_never_takes_off() -> None:
    router = service((pool("a", Role.AGG),), members("a", "w"))
    with pytest.raises(RequestError):
        router.open(request(model="other"), 0.0)
    assert _sampled(router)[0].arrivals == 0


def test_every_class_and_pool_is_in_every_sample() -> None:
    classes = (request_class("a"), request_class("b"))
    sample = service(DISAGG, *READY, classes=classes).sample(1.5, 1.5)
    assert [c.name for c in sample.classes] == ["a", "b"]
    assert [p.pool_id for p in sample.pools] == ["p", "d"]
    assert (sample.window_s, sample.sequence, sample.router_id) == (1.5, 1, "r")


def test_prompts_too_long_for_an_idle_engine_are_counted_apart() -> None:
    # 1 ms a token: 500 tokens take half of the target, 1,500 more than all of it.
    router = service(DISAGG, *READY, classes=(request_class(ttft_s=1.0),))
    for isl in (500, 300, 1500):
        router.open(request(isl), 0.0)
    traffic, _ = _sampled(router)
    assert (traffic.arrivals, traffic.isl_tokens) == (3, 2300)
    assert (traffic.hopeless_arrivals, traffic.hopeless_isl_tokens) == (1, 1500)
    assert traffic.isl_tokens_sq == 500**2 + 300**2


def test_outputs_are_squared_one_by_one() -> None:
    router = service(DISAGG, *READY)
    for tokens in (30, 50):
        flight, _ = _fly(router, isl=100, max_tokens=50)
        flight.first_token(0.1)
        flight.finish(Outcome.COMPLETED, 0.5, output_tokens=tokens)
    assert _sampled(router)[0].osl_tokens_sq == 30**2 + 50**2


def test_what_is_told_of_lengths_survives_the_wire_and_old_routers_tell_nothing() -> None:
    router = service(DISAGG, *READY)
    _fly(router, isl=100, max_tokens=50)
    sample = router.sample(1.0, 1.0)
    assert decode_traffic(encode_traffic(sample)) == sample
    old = replace(sample, classes=(ClassTraffic(name=sample.classes[0].name),))
    assert decode_traffic(encode_traffic(old)).classes[0].isl_tokens_sq is None


def test_time_spent_decoding_is_told_while_it_lasts_and_again_when_it_has_ended() -> None:
    router = service(DISAGG, *READY)
    flight, _ = _fly(router, isl=100, max_tokens=50)
    other, _ = _fly(router, isl=100, max_tokens=50)
    flight.first_token(1.0)
    other.first_token(2.0)
    window = router.sample(4.0, 4.0).classes[0]
    assert (window.decoding_ms, window.completed_decoding_ms) == (3000 + 2000, 0)
    flight.finish(Outcome.COMPLETED, 6.5, output_tokens=10)
    other.finish(Outcome.CANCELLED, 7.0)
    window = router.sample(4.0, 8.0).classes[0]
    assert (window.decoding_ms, window.completed_decoding_ms) == (2500 + 3000, 5500)
    assert router.sample(4.0, 12.0).classes[0].decoding_ms == 0


def test_what_is_not_streamed_decodes_from_when_it_was_sent_not_while_it_is_retried() -> None:
    router = service((pool("a", Role.AGG),), members("a", "a1", "a2"))
    flight, route = _fly(router, isl=100, max_tokens=50, streaming=False)
    flight.retry(route.decode, RetryReason.CONNECT, 1.0)
    again = router.decide(flight.profile, 3.0)
    assert isinstance(again, Route)
    flight.sent(again, 3.0)
    flight.first_token(5.0)
    flight.finish(Outcome.COMPLETED, 5.0, output_tokens=10)
    window = router.sample(6.0, 6.0).classes[0]
    assert (window.decoding_ms, window.completed_decoding_ms) == (1000 + 2000, 2000)


def test_a_running_output_is_looked_at_when_it_is_about_to_be_in_the_next_bucket() -> None:
    router = service(DISAGG, *READY)
    flight, _ = _fly(router, isl=100, max_tokens=1000)
    assert flight.look_at_s == inf
    flight.first_token(0.0)
    assert flight.look_at_s == 1.0
    # Of 100 tokens in a second; its bucket ends at 2 ** 6.75 = 107.6.
    flight.look(1.0)
    assert flight.look_at_s == pytest.approx(1.076, abs=0.001)


def test_an_output_that_is_whole_has_nothing_more_to_tell() -> None:
    router = service(DISAGG, *READY)
    flight, _ = _fly(router, isl=100, max_tokens=50)
    flight.first_token(0.0)
    flight.look(1.0)
    assert flight.look_at_s == inf


def test_requests_that_come_soon_after_each_other_look_at_a_few_outputs_each() -> None:
    workers = members("d", *(f"d{i}" for i in range(8)))
    router = service(DISAGG, READY[0], workers)
    flights = [_fly(router, isl=10, max_tokens=1000)[0] for _ in range(40)]
    for flight in flights:
        flight.first_token(0.0)
    looked_at = []
    for now_s in (0.99, 1.01, 1.02, 3.0):
        router.open(request(), now_s)
        looked_at.append(sum(flight.look_at_s > 1.0 for flight in flights))
    # 256 in a second: of 0.02 s 5 and one, of 0.01 s 2 and one, then all that are left.
    assert looked_at == [0, 6, 9, 40]
