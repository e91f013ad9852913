"""Whose turn it is among those who wait. A prompt of 100 takes 0.1 s."""

from collections.abc import Sequence

import pytest

from router.core.hints import HintRules
from router.core.queue.waiting import Place, Waiting
from router.core.request import Leg, Route, RouteReason, Wait, WaitReason
from tests.unit.router.builders import pool, request, request_class, service
from weir.domain.fleet import RequestClass, Role, Stage
from weir.domain.ids import PoolId, WorkerId
from weir.domain.planning import WorkerEndpoint

LEG = Leg(pool_id=PoolId("a"), worker=WorkerEndpoint(id=WorkerId("w"), host="h", port=1))
SLO = request_class(ttft_s=5.0)
NONE: frozenset[PoolId] = frozenset()
WANTED = frozenset({PoolId("a")})


class Queue:
    """Requests that arrived at given times, and the order in which they go."""

    def __init__(self, classes: Sequence[RequestClass] = (SLO,), **settings: HintRules) -> None:
        self.router = service((pool("a", Role.AGG),), classes=classes, **settings)
        self.waiting = Waiting(most_requests=100, most_bytes=1_000_000, classes=classes)
        self.names: dict[int, str] = {}
        self.places: list[Place] = []
        self.too_late: dict[str, frozenset[PoolId]] = {}
        """Who would be late where there is room, and which pools they want."""
        self.barred: dict[str, frozenset[PoolId]] = {}

    def join(
        self,
        name: str,
        at_s: float,
        prefilled: Leg | None = None,
        isl: int = 100,
        **hints: float,
    ) -> None:
        flight = self.router.open(request(isl, **hints), at_s)
        place = self.waiting.join(flight, frozenset(), prefilled, at_s)
        self.places.append(place)
        self.names[id(flight)] = name

    def order(self, now_s: float) -> list[str]:
        """All of them, if there is room for everybody."""
        admitted = self.waiting.admit(self._decide, now_s)
        return [self.names[id(place.flight)] for place, _ in admitted]

    def _decide(self, place: Place, barred: frozenset[PoolId]) -> Route | Wait:
        name = self.names[id(place.flight)]
        self.barred[name] = barred
        if name in self.too_late:
            return Wait(
                request_class=SLO,
                isl_tokens=1,
                osl_tokens=1,
                reason=WaitReason.NO_TIME,
                stage=Stage.PREFILL,
                wanted=self.too_late[name],
            )
        return Route(
            request_class=SLO,
            isl_tokens=1,
            osl_tokens=1,
            prefill=None,
            decode=LEG,
            reason=RouteReason.SHARE,
        )


@pytest.fixture
def queue() -> Queue:
    return Queue()


def test_the_earlier_goes_first_while_all_are_in_time(queue: Queue) -> None:
    for name, at_s in (("b", 0.5), ("a", 0.0), ("c", 1.0)):
        queue.join(name, at_s)
    assert queue.order(1.5) == ["a", "b", "c"]
    assert not queue.waiting


def test_who_is_late_steps_aside_for_those_who_are_not(queue: Queue) -> None:
    # The first token of `a` may be in time if it is sent until 0 + 5 - 0.1 s.
    queue.join("a", 0.0)
    queue.join("b", 1.0)
    assert queue.order(4.8) == ["a", "b"]
    queue.join("a", 0.0)
    queue.join("b", 1.0)
    assert queue.order(5.0) == ["b", "a"]


def test_when_all_are_late_the_earlier_goes_first(queue: Queue) -> None:
    for name, at_s in (("b", 1.0), ("a", 0.0), ("c", 2.0)):
        queue.join(name, at_s)
    assert queue.order(60.0) == ["a", "b", "c"]


def test_who_has_its_prompt_done_is_never_made_to_step_aside(queue: Queue) -> None:
    queue.join("prefilled", 0.0, prefilled=LEG)
    queue.join("new", 9.0)
    assert queue.order(10.0) == ["prefilled", "new"]


def test_where_the_first_would_be_late_the_shortest_goes_that_is_in_time(queue: Queue) -> None:
    for name, isl in (("first", 100), ("long", 900), ("short", 50), ("shortest", 10)):
        queue.join(name, 0.0, isl=isl)
    queue.too_late = dict.fromkeys(("first", "long", "shortest"), WANTED)
    queue.too_late["shortest"] = NONE
    assert queue.order(3.0) == ["short"]
    # Nobody in time could be in time; the shortest is late however little is queued.
    assert [place.late for place in queue.places] == [False, False, False, True]


def test_who_would_be_late_on_an_idle_worker_holds_up_nobody(queue: Queue) -> None:
    for name, at_s in (("a", 0.0), ("b", 1.0)):
        queue.join(name, at_s)
    queue.too_late["a"] = NONE
    assert queue.order(3.0) == ["b"]


def test_of_equal_prompts_whoever_came_last_goes_instead_of_the_first(queue: Queue) -> None:
    for name, at_s in (("a", 0.0), ("b", 1.0), ("c", 2.0)):
        queue.join(name, at_s)
    queue.too_late["a"] = WANTED
    assert queue.order(3.0) == ["c", "b"]
    assert len(queue.waiting) == 1


def test_the_late_of_a_class_go_after_all_in_time_of_every_class() -> None:
    chat = request_class("chat", isl=(0, 500), ttft_s=5.0, priority=1)
    queue = Queue((chat, request_class("batch", ttft_s=60.0)))
    queue.join("chat late", 0.0)
    queue.join("batch", 1.0, isl=900)
    queue.join("chat", 9.0)
    assert queue.order(10.0) == ["chat", "batch", "chat late"]


def test_among_classes_of_a_priority_the_one_worth_more_for_its_work_goes_first() -> None:
    # Ten times the work for twice the weight.
    classes = (
        request_class("short", isl=(0, 500), ttft_s=60.0),
        request_class("long", ttft_s=60.0, weight=2.0),
    )
    queue = Queue(classes)
    queue.join("long", 0.0, isl=3000)
    queue.join("short", 1.0, isl=10)
    assert queue.order(2.0) == ["short", "long"]


def test_nobody_queues_where_those_who_go_first_would_be_in_time_with_less_queued() -> None:
    chat = request_class("chat", isl=(0, 500), ttft_s=5.0, priority=1)
    queue = Queue((chat, request_class("batch", ttft_s=60.0)))
    queue.join("batch", 0.0, isl=900)
    queue.join("chat", 1.0)
    queue.too_late["chat"] = frozenset({PoolId("a")})
    assert queue.order(2.0) == ["batch"]
    assert queue.barred == {"chat": NONE, "batch": {"a"}}
    newcomer = queue.router.open(request(900), 2.0)
    assert queue.waiting.wanted_before(newcomer) == {"a"}


def test_who_allows_for_more_time_goes_as_if_it_had_come_so_much_later(queue: Queue) -> None:
    queue.join("patient", 0.0, ttft_s=7.0)
    queue.join("before", 1.9)
    queue.join("after", 2.1)
    assert queue.order(3.0) == ["before", "patient", "after"]


def test_who_asks_for_less_time_goes_no_earlier_than_it_came(queue: Queue) -> None:
    queue.join("first", 0.0)
    queue.join("hasty", 0.5, ttft_s=1.0)
    assert queue.order(1.0) == ["first", "hasty"]


def test_who_may_ask_for_less_time_goes_as_if_it_had_come_so_much_earlier() -> None:
    queue = Queue(hints=HintRules(tighten_to=0.2))
    queue.join("first", 0.0)
    queue.join("hasty", 0.5, ttft_s=0.1)  # gets 1 s instead of 5 s
    assert queue.order(1.0) == ["hasty", "first"]


def test_a_request_may_yield_but_be_more_urgent_only_as_far_as_is_allowed() -> None:
    for most, order in ((0, ["usual", "urgent", "yields"]), (2, ["urgent", "usual", "yields"])):
        queue = Queue(hints=HintRules(raise_priority=most))
        queue.join("yields", 0.0, priority=1)
        queue.join("usual", 0.1)
        queue.join("urgent", 0.2, priority=-9)
        assert queue.places[-1].flight.priority == most
        assert queue.order(1.0) == order


def test_a_tier_stands_in_for_the_priority_as_far_as_it_may_be_raised() -> None:
    queue = Queue(hints=HintRules(raise_priority=1))
    queue.join("first", 0.0)
    queue.join("later", 0.1, priority=3)
    queue.join("tier", 0.2, priority=3, tier=1)
    queue.join("tiers", 0.3, tier=7)
    assert queue.order(0.5) == ["tier", "tiers", "first", "later"]
    denied = [queue.places[n].flight.denied() for n in (2, 3)]
    assert denied == [(), ("tier",)]


def test_without_leave_a_tier_changes_nothing(queue: Queue) -> None:
    queue.join("first", 0.0)
    queue.join("tier", 0.1, tier=2)
    assert queue.order(0.5) == ["first", "tier"]
