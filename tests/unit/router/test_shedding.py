"""Bounds of the queue, who leaves it and why, and how long others may stay.

A prompt of 1,000 takes 1 s on a worker, which takes two or three of them at a time.
"""

from dataclasses import replace

import pytest

from router.core.dispatch import Dispatch, DispatchSettings
from router.core.flight import Flight
from router.core.queue.waiting import Place
from router.core.request import Outcome, Route, Shed, ShedReason, WaitReason
from tests.unit.router.builders import fleet, members, pool, request, request_class
from weir.domain.fleet import RequestClass, Role
from weir.domain.ids import ClassName, RouterId

AGG = pool("a", Role.AGG)
SHORT = request_class("short", isl=(0, 500))
LONG = request_class("long")
BATCH = request_class("batch", isl=(2000, 3000), ttft_s=1000.0, priority=-1)


class Queue:
    """Requests by name; `ended` are those that were sent or shed, in that order."""

    def __init__(self, *classes: RequestClass, workers: int = 0, **settings: float) -> None:
        self.woken_s: list[float] = []
        self.dispatch = Dispatch(
            fleet((AGG,), classes),
            RouterId("r"),
            DispatchSettings(**settings),  # type: ignore[arg-type]
            self.woken_s.append,
        )
        self.version = 0
        self.ended: list[tuple[str, str]] = []
        self.flights: dict[str, Flight] = {}
        self.places: dict[str, Place] = {}
        if workers:
            self.staff(workers)

    def staff(self, workers: int, at_s: float = 0.0) -> None:
        self.version += 1
        names = [f"w{number}" for number in range(workers)]
        self.dispatch.apply_members(members("a", *names, version=self.version), at_s)

    def arrive(self, name: str, isl: int = 1000, at_s: float = 0.0, **changes: object) -> object:
        flight = self.flights[name] = self.dispatch.open(request(isl, **changes), at_s)
        placed = self.dispatch.place(flight, at_s)

        def end(found: Route | Shed) -> None:
            sent = isinstance(found, Route)
            self.ended.append((name, "sent" if sent else found.reason.value))
            if not sent:
                flight.finish(Outcome.SHED, at_s)

        if isinstance(placed, Place):
            placed.resume = end
            self.places[name] = placed
        else:
            end(placed)
        return placed

    def fill(self, at_s: float = 0.0) -> None:
        """Give the workers all that they take."""
        count = 0
        while not isinstance(self.arrive(f"full-{count}", at_s=at_s), Place):
            count += 1
        self.dispatch.leave(self.places[f"full-{count}"])
        self.flights[f"full-{count}"].finish(Outcome.CANCELLED, at_s)
        self.ended.clear()

    def sheds(self, name: str) -> dict[ShedReason, int]:
        found = self.dispatch.traffic.classes[ClassName(name)].sheds
        return {reason: count for reason, count in found.items() if count}


# --- bounds --------------------------------------------------------------------------------


def test_one_class_alone_may_fill_the_queue() -> None:
    queue = Queue(LONG, queue_requests=4)
    for number in range(5):
        queue.arrive(f"{number}")
    assert queue.ended == [("4", "queue_full")]


def test_of_several_classes_one_may_fill_half_of_it() -> None:
    queue = Queue(SHORT, LONG, queue_requests=4)
    for number in range(3):
        queue.arrive(f"long-{number}")
    for number in range(3):
        queue.arrive(f"short-{number}", isl=10)
    assert queue.ended == [("long-2", "class_full"), ("short-2", "class_full")]


@pytest.mark.parametrize(("most", "waiting"), [(1, 1), (3, 3), (9, 4)])
def test_a_class_has_bounds_of_its_own_within_those_of_all(most: int, waiting: int) -> None:
    queue = Queue(SHORT, _bounded(LONG, requests=most), queue_requests=4)
    for number in range(6):
        queue.arrive(f"{number}")
    assert len(queue.dispatch.waiting) == waiting


def test_bytes_of_a_class_are_bounded_but_one_may_be_as_long_as_it_is() -> None:
    queue = Queue(SHORT, _bounded(LONG, bytes=5000))  # 4,000 bytes a prompt
    queue.arrive("huge", isl=3000)
    queue.arrive("another")
    assert queue.ended == [("another", "class_full")]
    queue.dispatch.leave(queue.places["huge"])
    queue.arrive("third")
    assert len(queue.ended) == 1


def _bounded(item: RequestClass, **most: int) -> RequestClass:
    return replace(item, **{f"queue_{name}": value for name, value in most.items()})


# --- displacement --------------------------------------------------------------------------


def test_who_goes_first_takes_the_place_of_the_newest_of_the_lowest_priority() -> None:
    queue = Queue(SHORT, BATCH, LONG, queue_requests=4)
    for name, isl in (("b0", 2500), ("s0", 10), ("b1", 2500), ("l0", 1000)):
        queue.arrive(name, isl)
    queue.arrive("s1", 10)
    assert queue.ended == [("b1", "displaced")]
    assert len(queue.dispatch.waiting) == 4
    queue.arrive("l1", 1000)
    assert queue.ended[1:] == [("b0", "displaced")]
    queue.arrive("l2", 1000)  # Nobody is left who would go after it.
    assert queue.ended[2:] == [("l2", "class_full")]
    assert queue.sheds("batch") == {ShedReason.DISPLACED: 2}


def test_nobody_of_the_same_priority_is_displaced_by_who_comes_later() -> None:
    queue = Queue(SHORT, LONG, queue_requests=4)
    for name, isl in (("l0", 1000), ("l1", 1000), ("s0", 10), ("s1", 10)):
        queue.arrive(name, isl)
    queue.arrive("l2", 1000)
    assert queue.ended == [("l2", "class_full")]


def test_who_is_in_time_takes_the_place_of_the_newest_late_one() -> None:
    queue = Queue(request_class(ttft_s=5.0), queue_requests=3, workers=1)
    queue.fill()
    for name, at_s in (("old", 0.0), ("older", 0.1), ("new", 9.0)):
        queue.arrive(name, at_s=at_s)
    queue.arrive("newer", at_s=9.1)
    assert queue.ended == [("older", "displaced")]


def test_as_many_are_displaced_as_hold_its_bytes() -> None:
    queue = Queue(BATCH, LONG, queue_bytes=20_000)
    for number in range(2):
        queue.arrive(f"b{number}", 2000)  # 8,000 bytes each, of 10,000 that the class may have
    assert queue.ended == [("b1", "class_full")]
    queue.arrive("urgent", 1999)
    assert len(queue.ended) == 1
    queue = Queue(_bounded(BATCH, bytes=20_000), LONG, queue_bytes=20_000)
    for number in range(2):
        queue.arrive(f"b{number}", 2000)
    queue.arrive("urgent", 1999)
    assert queue.ended == [("b1", "displaced")]


def test_whose_prompt_is_done_is_not_displaced() -> None:
    queue = Queue(BATCH, LONG, queue_requests=1, workers=1)
    flight = queue.dispatch.open(request(2500), 0.0)
    route = queue.dispatch.place(flight, 0.0)
    assert isinstance(route, Route)
    queue.staff(0)
    placed = queue.dispatch.place(flight, 0.1, prefilled=route.decode)
    assert isinstance(placed, Place)
    queue.arrive("urgent")
    assert queue.ended == [("urgent", "queue_full")]


# --- lateness ------------------------------------------------------------------------------


def _sheds(ttft_s: float = 5.0, **changes: int) -> RequestClass:
    return replace(request_class(ttft_s=ttft_s, **changes), sheds_late=True)


def test_who_is_late_waits_on_unless_its_class_sheds_them() -> None:
    queue = Queue(request_class(ttft_s=5.0), workers=1)
    queue.fill()
    queue.arrive("late")
    queue.dispatch.admit(30.0)
    assert queue.ended == []


def test_in_a_class_that_sheds_nobody_waits_who_is_late() -> None:
    queue = Queue(_sheds(), workers=1)
    queue.fill()
    queue.arrive("long", 2000)
    queue.arrive("short", 100)
    # The long one takes 2 s: from 3 s on it is late. The short one is from 4.9 s on.
    assert queue.woken_s[-1] == pytest.approx(3.001)
    queue.dispatch.admit(2.9)
    assert queue.ended == []
    queue.dispatch.admit(queue.woken_s[-1])
    assert queue.ended == [("long", "too_late")]
    assert queue.woken_s[-1] == pytest.approx(4.901)
    queue.dispatch.admit(queue.woken_s[-1])
    assert queue.ended[1:] == [("short", "too_late")]
    assert not queue.dispatch.waiting
    assert queue.sheds("all") == {ShedReason.TOO_LATE: 2}


def test_a_request_that_could_never_be_in_time_is_shed_at_once_if_it_cannot_go() -> None:
    queue = Queue(_sheds(ttft_s=0.5), workers=1)
    assert isinstance(queue.arrive("first"), Route)  # Nobody else is there.
    placed = queue.arrive("second")
    assert isinstance(placed, Shed)
    assert (placed.reason, placed.by_rule) == (ShedReason.TOO_LATE, True)


def test_while_there_is_no_worker_at_all_the_late_wait_for_one() -> None:
    queue = Queue(_sheds(ttft_s=5.0))
    for number in range(4):
        queue.arrive(f"{number}")
    queue.dispatch.admit(60.0)
    assert queue.ended == []
    queue.staff(1, 61.0)  # It takes who it can; those who are late and cannot go are shed.
    assert sorted(queue.ended) == [
        ("0", "sent"),
        *((f"{number}", "too_late") for number in range(1, 4)),
    ]


def test_what_is_shed_is_demand_all_the_same() -> None:
    queue = Queue(_sheds(ttft_s=0.5), workers=1)
    queue.arrive("first")
    queue.arrive("second")
    (of_class,) = queue.dispatch.sample(1.0, 1.0).classes
    assert (of_class.arrivals, of_class.isl_tokens, of_class.shed) == (2, 2000, 1)
    assert of_class.queued == 0


# --- time ----------------------------------------------------------------------------------


def _waits_until(queue: Queue, name: str, now_s: float = 0.0) -> float:
    """As a driver would find out."""
    place = queue.places[name]
    while left_s := queue.dispatch.wait_s(place, now_s):
        now_s += left_s
    return now_s


def test_with_workers_a_request_waits_for_room() -> None:
    queue = Queue(workers=1, queue_timeout_s=10.0)
    queue.fill()
    queue.arrive("x", at_s=3.0)
    assert _waits_until(queue, "x", 3.0) == pytest.approx(13.0)
    assert queue.dispatch.give_up(queue.places["x"]).reason is ShedReason.QUEUE_TIMEOUT


def test_without_any_it_waits_for_two_start_ups_more() -> None:
    queue = Queue(queue_timeout_s=10.0)  # A start-up takes 7 s.
    queue.arrive("x", at_s=3.0)
    assert _waits_until(queue, "x", 3.0) == pytest.approx(27.0)
    shed = queue.dispatch.give_up(queue.places["x"])
    assert (shed.reason, shed.waited_for) == (ShedReason.NO_ENDPOINTS, WaitReason.NO_WORKER)
    assert (shed.by_rule, shed.retry_after_s) == (False, 7.0)


def test_the_time_for_room_counts_from_when_the_first_worker_is_there() -> None:
    queue = Queue(queue_timeout_s=10.0, no_endpoints_timeout_s=100.0)
    for number in range(9):
        queue.arrive(f"{number}")
    assert queue.dispatch.wait_s(queue.places["8"], 0.0) == 10.0  # To be asked again.
    queue.staff(1, 40.0)
    assert "8" not in dict(queue.ended)
    assert _waits_until(queue, "8", 40.0) == pytest.approx(50.0)
    assert queue.dispatch.give_up(queue.places["8"]).reason is ShedReason.QUEUE_TIMEOUT


def test_when_all_workers_go_it_waits_for_the_next() -> None:
    queue = Queue(workers=1, queue_timeout_s=10.0, no_endpoints_timeout_s=100.0)
    queue.fill()
    queue.arrive("x")
    queue.staff(0, 5.0)
    assert _waits_until(queue, "x", 5.0) == pytest.approx(100.0)


def test_workers_that_come_and_go_do_not_keep_it_for_ever() -> None:
    queue = Queue(queue_timeout_s=10.0, no_endpoints_timeout_s=30.0)
    for number in range(9):
        queue.arrive(f"{number}")
    for at_s in range(2, 40, 4):
        queue.staff(1, at_s)
        queue.staff(0, at_s + 2)
    queue.staff(1, 42.0)
    assert queue.dispatch.wait_s(queue.places["8"], 42.0) == 0.0


def test_a_worker_that_is_ejected_is_a_worker() -> None:
    queue = Queue(workers=1, queue_timeout_s=10.0)
    (pool_,) = queue.dispatch.pools
    pool_.fail(next(iter(pool_.workers)), 0.0)
    queue.arrive("x")
    assert queue.places["x"].line.reason is WaitReason.NO_WORKER
    assert _waits_until(queue, "x") == pytest.approx(10.0)


# --- when to come back ---------------------------------------------------------------------


def _retry_after_s(waiting: int, workers: int) -> float:
    queue = Queue(workers=workers, queue_requests=waiting)
    queue.fill()
    for number in range(waiting):
        queue.arrive(f"{number}")
    shed = queue.arrive("one more")
    assert isinstance(shed, Shed)
    return shed.retry_after_s


def test_who_is_shed_is_told_when_what_waits_will_be_worked_off() -> None:
    # 1 s of prefill each, and 50 tokens at 400 a second.
    assert _retry_after_s(16, 1) == pytest.approx(16 * 1.125)
    assert _retry_after_s(16, 2) == pytest.approx(8 * 1.125)
    assert _retry_after_s(200, 2) == 60.0  # Until then all have gone.
    assert _retry_after_s(1, 4) == 1.0


def test_only_those_before_it_count() -> None:
    queue = Queue(_bounded(BATCH, requests=2), LONG, workers=1, queue_requests=20)
    queue.fill()
    for number in range(2):
        queue.arrive(f"b{number}", 2500)
    for number in range(8):
        queue.arrive(f"l{number}")
    shed = queue.arrive("b", 2500)
    assert isinstance(shed, Shed)
    assert shed.retry_after_s == pytest.approx(8 * 1.125 + 2 * 2.625)
    for number in range(8, 10):
        queue.arrive(f"l{number}")
    shed = queue.arrive("l")
    assert isinstance(shed, Shed)
    assert shed.retry_after_s == pytest.approx(10 * 1.125)
