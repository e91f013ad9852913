"""More than can be served in time: what goes first, and what must not be in its way.

A prompt takes 1 ms a token, 1,000 to a batch, and a fifth of that in the pool `fast`.
"""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from router.core.dispatch import Dispatch, DispatchSettings
from router.core.flight import Flight
from router.core.queue.waiting import Place
from router.core.request import Outcome, Route
from tests.unit.router.builders import PROFILE, fleet, members, pool, request, request_class
from weir.domain.fleet import PoolSpec, RequestClass, Role
from weir.domain.ids import RouterId

CHAT = request_class("chat", isl=(0, 501), ttft_s=2.7, priority=1)
BATCH = request_class("batch", ttft_s=60.0)
SLOW = pool("slow", Role.PREFILL)
FAST = pool("fast", Role.PREFILL, profile=replace(PROFILE, speed=5.0))
DECODE = pool("d", Role.DECODE)


class Router:
    def __init__(self, *pools: PoolSpec, classes: Sequence[RequestClass] = (CHAT, BATCH)) -> None:
        self.sent: list[str] = []
        self.dispatch = Dispatch(
            fleet(pools, classes), RouterId("r"), DispatchSettings(), lambda _: None
        )
        for spec in pools:
            self.dispatch.apply_members(members(spec.id, f"{spec.id}-w"), 0.0)

    def arrive(self, name: str, isl: int, at_s: float) -> Flight:
        """`sent` gets its name when it goes, and the prefill pool."""
        flight = self.dispatch.open(request(isl, max_tokens=10), at_s)
        placed = self.dispatch.place(flight, at_s)

        def go(route: Route) -> None:
            assert route.prefill is not None
            self.sent.append(f"{name} {route.prefill.pool_id}")

        if isinstance(placed, Route):
            go(placed)
        else:
            assert isinstance(placed, Place)
            placed.resume = go
        return flight


def test_a_request_waits_for_the_pool_in_which_it_is_in_time() -> None:
    # Alone 0.1 s on `fast`, 0.5 s on `slow`. The first has begun alone, two share the next batch,
    # and the batch after that ends at 0.5 s; in time would be 0.47 s.
    router = Router(FAST, SLOW, DECODE, classes=(request_class(ttft_s=0.45),))
    flights = [router.arrive(f"{number}", 500, 0.0) for number in range(3)]
    router.arrive("3", 500, 0.03)
    assert router.sent == [f"{number} fast" for number in range(3)]
    flights[0].prefill_done(0.1)
    flights[1].prefill_done(0.3)
    assert router.sent[3:] == []
    flights[2].prefill_done(0.3)
    assert router.sent[3:] == ["3 fast"]


def test_a_lower_priority_yields_and_who_would_be_late_waits_for_less_to_be_queued() -> None:
    router = Router(SLOW, DECODE)
    router.arrive("chat 1", 100, 0.0)
    batch = router.arrive("batch 1", 900, 0.0)
    router.arrive("chat 2", 500, 0.0)
    router.arrive("chat 3", 400, 0.0)
    # Behind the first, 2,300 tokens are done with the third batch at 3.1 s; in time is 2.67 s.
    router.arrive("chat 4", 500, 0.05)
    router.arrive("batch 2", 900, 0.05)
    assert router.sent == ["chat 1 slow", "batch 1 slow", "chat 2 slow", "chat 3 slow"]
    batch.finish(Outcome.CANCELLED, 0.5)
    assert router.sent[4:] == ["chat 4 slow"]


def test_who_yields_goes_once_the_last_of_a_higher_priority_has_ended() -> None:
    router = Router(SLOW, DECODE)
    chat = router.arrive("chat", 100, 0.0)
    router.arrive("batch 1", 1000, 0.0)
    router.arrive("batch 2", 1000, 0.0)
    chat.prefill_done(0.1)
    chat.first_token(0.1)
    assert router.sent == ["chat slow", "batch 1 slow"]  # a whole batch is left to chats
    chat.finish(Outcome.COMPLETED, 0.5, 100, 10)
    assert router.sent[2:] == ["batch 2 slow"]


def test_the_late_are_served_when_nobody_in_time_needs_the_room() -> None:
    router = Router(SLOW, DECODE)
    flights = [router.arrive(f"chat {i}", 500, 0.0) for i in range(8)]
    assert router.sent == [f"chat {i} slow" for i in range(4)]
    for number in range(4):
        flights[number].prefill_done(2.5)
        flights[number].first_token(2.5)
        flights[number].finish(Outcome.COMPLETED, 2.6, 500, 10)
    # All are late: one at a time, so that whoever comes in time is next.
    assert len(router.sent) == 5
    router.arrive("chat in time", 500, 2.7)
    assert router.sent[5:] == ["chat in time slow"]


@pytest.mark.parametrize("isl", [1500, 3000])
def test_what_an_idle_fleet_cannot_serve_in_time_is_served_at_once(isl: int) -> None:
    router = Router(SLOW, DECODE, classes=(request_class(ttft_s=1.0),))
    router.arrive("long", isl, 0.0)
    assert router.sent == ["long slow"]


def test_of_what_waits_the_hopeless_part_is_told() -> None:
    # 3 s of prompts are at the engine; one of 2 s is late now, 2.6 s would never be in time.
    classes = (request_class("all", ttft_s=2.5),)
    router = Router(SLOW, DECODE, classes=classes)
    for number, isl in enumerate((1000, 1000, 1000, 2000, 2600)):
        router.arrive(f"{number}", isl, 0.0)
    router.dispatch.admit(1.0)
    (told,) = (p for p in router.dispatch.sample(1.0, 1.0).pools if p.pool_id == "slow")
    assert told.hopeless_queued_tokens == 2600
    assert told.queued_tokens == 7600


def test_what_cannot_be_in_time_leaves_an_idle_worker_to_those_that_can() -> None:
    router = Router(SLOW, DECODE, classes=(request_class(ttft_s=1.0),))
    router.dispatch.apply_members(members("slow", "w1", "w2", "w3", version=2), 0.0)
    router.arrive("short", 400, 0.0)
    router.arrive("hopeless", 1500, 0.1)
    assert router.sent == ["short slow", "hopeless slow"]
    # One of three workers is idle: it is for who can be in time.
    router.arrive("hopeless too", 1500, 0.2)
    assert router.sent[2:] == []
    router.arrive("short too", 400, 0.3)
    assert router.sent[2:] == ["short too slow"]


def test_while_nobody_else_asks_it_may_have_all_workers() -> None:
    router = Router(SLOW, DECODE, classes=(request_class(ttft_s=1.0),))
    router.dispatch.apply_members(members("slow", "w1", "w2", version=2), 0.0)
    for number in range(2):
        router.arrive(f"{number}", 1500, 0.0)
    assert router.sent == ["0 slow", "1 slow"]


def test_who_could_never_have_been_in_time_goes_after_the_late() -> None:
    router = Router(SLOW, DECODE, classes=(request_class(ttft_s=2.0),))
    first = router.arrive("first", 1000, 0.0)
    router.arrive("hopeless", 2500, 0.1)
    late = router.arrive("late", 1500, 0.2)
    assert router.sent == ["first slow"]
    first.prefill_done(5.0)
    assert router.sent[1:] == ["late slow"]
    late.prefill_done(7.0)
    assert router.sent[2:] == ["hopeless slow"]


def test_who_would_miss_its_itl_alone_is_hopeless_too() -> None:
    # An iteration that decodes takes 10 ms.
    router = Router(SLOW, DECODE, classes=(request_class(ttft_s=2.0, itl_s=0.008),))
    assert router.arrive("fast", 100, 0.0).hopeless
    router = Router(SLOW, DECODE, classes=(request_class(ttft_s=2.0, itl_s=0.012),))
    assert not router.arrive("slow", 100, 0.0).hopeless
