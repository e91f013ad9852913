"""Waiting for room: who goes when, how long, and what is said meanwhile."""

import asyncio

import pytest

from router.core.flight import Flight
from router.core.request import Outcome, RetryReason, Route, Shed, ShedReason, WaitReason
from router.service import RouterService
from tests.unit.router.builders import members, pool, request, request_class, service
from weir.domain.fleet import Role
from weir.domain.telemetry import TrafficSample

AGG = pool("a", Role.AGG)


def _open(router: RouterService, isl: int = 1000, **changes: object) -> Flight:
    return router.open(request(isl, **changes), router.clock.now_s())


async def _queue(router: RouterService, *flights: Flight) -> list[asyncio.Task[Route | Shed]]:
    tasks = [asyncio.create_task(router.place(flight)) for flight in flights]
    await asyncio.sleep(0)
    return tasks


async def test_a_request_with_room_goes_without_suspending() -> None:
    router = service((AGG,), members("a", "w"))
    route = router.place(_open(router))
    with pytest.raises(StopIteration) as returned:
        route.send(None)
    assert isinstance(returned.value.value, Route)


async def test_a_request_waits_until_a_worker_is_ready() -> None:
    router = service((AGG,))
    (task,) = await _queue(router, _open(router))
    assert not task.done()
    router.apply_members(members("a", "w"))
    route = await task
    assert isinstance(route, Route)
    assert len(router.waiting) == 0


async def test_room_is_given_to_the_one_who_waits_longest() -> None:
    router = service((AGG,), members("a", "w"))
    first = [_open(router) for _ in range(2)]
    for flight in first:
        assert isinstance(await router.place(flight), Route)
    tasks = await _queue(router, _open(router), _open(router, 10))
    assert not any(task.done() for task in tasks)
    first[0].first_token(1.0)
    await asyncio.sleep(0)
    assert [task.done() for task in tasks] == [True, False]
    first[1].first_token(1.1)
    await asyncio.sleep(0)
    assert [task.done() for task in tasks] == [True, True]


async def test_a_prompt_that_waits_for_a_longer_context_holds_up_no_shorter_one() -> None:
    pools = (pool("short", Role.AGG, context_limit_tokens=1000), pool("long", Role.AGG))
    router = service(pools, members("short", "w"))
    (long,) = await _queue(router, _open(router, 2000))
    assert not long.done()
    route = await asyncio.wait_for(router.place(_open(router, 100)), 1.0)
    assert isinstance(route, Route)
    router.apply_members(members("long", "v"))
    assert isinstance(await long, Route)


async def test_a_newcomer_does_not_overtake_those_who_wait() -> None:
    # 9,075 of 10,625 KV tokens are taken: the small one would fit, were it not behind.
    router = service((AGG,), members("a", "w"))
    for _ in range(3):
        flight = _open(router, 3000)
        await router.place(flight)
        flight.first_token(0.0)
    big, small = await _queue(router, _open(router, 2000), _open(router, 10))
    assert isinstance(router.decide(request(10), 0.0), Route)
    assert (big.done(), small.done()) == (False, False)
    flight.finish(Outcome.COMPLETED, 1.0)
    assert isinstance(await big, Route)
    assert isinstance(await small, Route)


async def test_a_request_may_yield_but_not_claim_precedence() -> None:
    router = service((AGG,), members("a", "w"))
    first = [_open(router) for _ in range(2)]
    for flight in first:
        await router.place(flight)
    low, high = await _queue(router, _open(router, priority=5), _open(router, priority=-5))
    first[0].first_token(1.0)
    await asyncio.sleep(0)
    assert (low.done(), high.done()) == (False, True)
    low.cancel()


async def test_nobody_overtakes_by_claiming_to_be_urgent() -> None:
    router = service((AGG,), members("a", "w"))
    first = [_open(router) for _ in range(2)]
    for flight in first:
        await router.place(flight)
    usual, urgent = await _queue(router, _open(router), _open(router, priority=-5))
    first[0].first_token(1.0)
    await asyncio.sleep(0)
    assert (usual.done(), urgent.done()) == (True, False)
    urgent.cancel()


async def test_classes_do_not_hold_each_other_up() -> None:
    small, large = pool("s", Role.AGG, context_limit_tokens=500), pool("l", Role.AGG)
    classes = (request_class("small", isl=(0, 400)), request_class("large"))
    router = service((small, large), members("s", "w"), classes=classes)
    (waiting,) = await _queue(router, _open(router, 1000))
    assert not waiting.done()
    assert isinstance(await router.place(_open(router, 100)), Route)
    waiting.cancel()


async def test_a_full_queue_sheds_at_once() -> None:
    router = service((AGG,), queue_requests=1)
    (waiting,) = await _queue(router, _open(router))
    shed = await router.place(_open(router))
    assert isinstance(shed, Shed)
    assert (shed.reason, shed.waited_for) == (ShedReason.QUEUE_FULL, WaitReason.NO_ROOM)
    waiting.cancel()


async def test_the_queue_is_bounded_by_the_bytes_it_holds() -> None:
    router = service((AGG,), queue_bytes=5000)
    (waiting,) = await _queue(router, _open(router, 1000))
    assert isinstance(await router.place(_open(router, 1000)), Shed)
    waiting.cancel()


async def test_who_waits_too_long_is_shed_and_told_when_to_come_back() -> None:
    router = service((AGG,), no_endpoints_timeout_s=0.01)
    shed = await router.place(_open(router))
    assert isinstance(shed, Shed)
    assert (shed.reason, shed.waited_for) == (ShedReason.NO_ENDPOINTS, WaitReason.NO_WORKER)
    assert shed.retry_after_s == 7.0
    assert len(router.waiting) == 0


async def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    router = service((AGG,))
    flight = _open(router)
    (task,) = await _queue(router, flight)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    flight.finish(Outcome.CANCELLED, 1.0)
    assert len(router.waiting) == 0
    assert router.sample(1.0, 1.0).classes[0].queued == 0


async def test_a_wait_cancelled_in_the_instant_it_is_over_releases_its_route() -> None:
    router = service((AGG,))
    flight = _open(router)
    (task,) = await _queue(router, flight)
    router.apply_members(members("a", "w"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    flight.finish(Outcome.CANCELLED, 1.0)
    assert [w.in_flight for p in router.pools for w in p.workers.values()] == [0]


async def test_the_only_worker_is_tried_again_when_its_breaker_allows() -> None:
    router = service((AGG,), members("a", "w"))
    flight = _open(router)
    route = await router.place(flight)
    assert isinstance(route, Route)
    now_s = router.clock.now_s()
    flight.retry(route.decode, RetryReason.CONNECT, now_s)
    again = await router.place(flight, frozenset({route.decode.worker.id}))
    assert isinstance(again, Route)
    assert router.clock.now_s() - now_s >= 0.5


async def test_waiting_prompts_count_for_the_pools_they_wait_for() -> None:
    router = service(
        (pool("p", Role.PREFILL), pool("q", Role.PREFILL), pool("d", Role.DECODE)),
        members("d", "w"),
    )
    tasks = await _queue(router, _open(router, 600), _open(router, 400))
    sample = router.sample(1.0, 1.0)
    assert sample.classes[0].queued == 2
    assert {p.pool_id: p.queued_tokens for p in sample.pools} == {"p": 500, "q": 500, "d": 0}
    for task in tasks:
        task.cancel()


async def test_all_in_a_line_count_for_the_stage_that_the_first_one_waits_for() -> None:
    router = service((pool("p", Role.PREFILL), pool("d", Role.DECODE)), members("p", "w"))
    tasks = await _queue(router, *(_open(router, 300) for _ in range(4)))
    assert {p.pool_id: p.queued_tokens for p in router.sample(1.0, 1.0).pools} == {
        "p": 0,
        "d": 1200,
    }
    for task in tasks:
        task.cancel()


def test_ready_needs_a_prefill_and_a_decode_worker_or_an_aggregated_one() -> None:
    disagg = (pool("p", Role.PREFILL), pool("d", Role.DECODE))
    assert service(disagg).ready() == "tiny: no prefill and no decode worker is ready"
    assert service(disagg, members("p", "w")).ready() == "tiny: no decode worker is ready"
    assert service(disagg, members("p", "w"), members("d", "w")).ready() is None
    assert service((AGG,)).ready() is not None
    assert service((AGG,), members("a", "w")).ready() is None


def test_it_is_ready_for_requests_that_wait_until_a_pool_starts_from_nothing() -> None:
    pools = (pool("p", Role.PREFILL, min_replicas=0), pool("d", Role.DECODE, min_replicas=0))
    nobody_has_said = service(pools, members("p"))
    assert nobody_has_said.ready() == "tiny: no decode worker is ready"
    assert service(pools, members("p"), members("d")).ready() is None
    assert service((AGG,), members("a")).ready() is not None


def test_models_are_listed_by_name_and_alias() -> None:
    assert list(service((AGG,)).models()) == ["tiny", "tiny-alias"]


async def test_samples_are_published_also_when_nothing_happens() -> None:
    samples: list[TrafficSample] = []
    enough = asyncio.Event()

    class Sink:
        def publish(self, sample: TrafficSample) -> None:
            samples.append(sample)
            if len(samples) == 3:
                enough.set()

    router = service((AGG,), sample_interval_s=0.01)
    publishing = asyncio.create_task(router.publish_traffic(Sink()))
    async with asyncio.timeout(30.0):
        await enough.wait()
    publishing.cancel()
    assert [s.sequence for s in samples[:3]] == [1, 2, 3]
    assert all(s.classes[0].arrivals == 0 and s.window_s > 0.0 for s in samples)
    assert sum(s.window_s for s in samples) >= 0.029
