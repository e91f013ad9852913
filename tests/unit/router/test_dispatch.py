"""The dispatcher without asyncio: who waits is resumed in the very step in which room appears."""

from router.core.dispatch import Dispatch, DispatchSettings
from router.core.flight import Flight
from router.core.queue.waiting import Place
from router.core.request import Outcome, RetryReason, Route, Shed, ShedReason, WaitReason
from tests.unit.router.builders import fleet, members, pool, request
from weir.domain.fleet import Role
from weir.domain.ids import RouterId

AGG = pool("a", Role.AGG)


class Driver:
    """Remembers what the dispatcher told it."""

    def __init__(self, **settings: int) -> None:
        self.woken: list[float] = []
        self.resumed: list[Route] = []
        self.dispatch = Dispatch(
            fleet((AGG,)), RouterId("r"), DispatchSettings(**settings), self.woken.append
        )

    def ready(self, *workers: str, version: int = 1, at_s: float = 0.0) -> None:
        self.dispatch.apply_members(members("a", *workers, version=version), at_s)

    def place(self, at_s: float = 0.0, isl: int = 1000) -> tuple[Flight, Route | Place | Shed]:
        flight = self.dispatch.open(request(isl), at_s)
        placed = self.dispatch.place(flight, at_s)
        if isinstance(placed, Place):
            placed.resume = self.resumed.append
        return flight, placed


def test_a_request_with_room_is_sent_at_once() -> None:
    driver = Driver()
    driver.ready("w")
    flight, placed = driver.place()
    assert isinstance(placed, Route)
    assert flight.route is placed
    assert driver.resumed == []


def test_who_waits_is_sent_and_resumed_when_members_come() -> None:
    driver = Driver()
    flight, place = driver.place()
    assert isinstance(place, Place)
    driver.ready("w", at_s=5.0)
    assert driver.resumed == [flight.route] == [place.route]
    assert not driver.dispatch.waiting


def test_room_resumes_as_many_as_it_holds() -> None:
    driver = Driver()
    driver.ready("w")
    first = [driver.place()[0] for _ in range(3)]
    waiting = [driver.place()[1] for _ in range(2)]
    assert all(isinstance(place, Place) for place in waiting)
    first[0].first_token(1.0)
    assert len(driver.resumed) == 1
    first[1].finish(Outcome.CANCELLED, 1.1)
    assert len(driver.resumed) == 2


def test_what_is_done_in_resume_may_make_room_itself() -> None:
    driver = Driver()
    _, first = driver.place()
    second_flight, second = driver.place()
    assert isinstance(first, Place)
    assert isinstance(second, Place)
    first.resume = lambda _: first.flight.finish(Outcome.CANCELLED, 1.0)
    driver.ready("w", at_s=1.0)
    assert driver.resumed == [second_flight.route]


def test_who_gives_up_is_shed_and_forgotten() -> None:
    driver = Driver()
    flight, place = driver.place()
    assert isinstance(place, Place)
    shed = driver.dispatch.give_up(place)
    flight.finish(Outcome.SHED, 60.0)
    assert (shed.reason, shed.waited_for) == (ShedReason.NO_ENDPOINTS, WaitReason.NO_WORKER)
    assert shed.retry_after_s == AGG.start_up_s
    driver.ready("w", at_s=61.0)
    assert driver.resumed == []


def test_a_full_queue_sheds() -> None:
    driver = Driver(queue_requests=1)
    driver.place()
    _, shed = driver.place()
    assert isinstance(shed, Shed)
    assert shed.reason is ShedReason.QUEUE_FULL


def test_the_driver_is_woken_when_an_ejected_worker_may_be_tried() -> None:
    driver = Driver()
    driver.ready("w")
    flight, route = driver.place()
    assert isinstance(route, Route)
    flight.retry(route.decode, RetryReason.CONNECT, 1.0)
    assert driver.woken == []
    again = driver.dispatch.place(flight, 1.0)
    assert isinstance(again, Place)
    again.resume = driver.resumed.append
    driver.place(1.1)
    assert driver.woken == [1.5]
    driver.dispatch.admit(1.5)
    assert len(driver.resumed) == 1


def test_a_driver_that_wakes_too_early_is_woken_again() -> None:
    driver = Driver()
    driver.ready("w")
    flight, route = driver.place()
    assert isinstance(route, Route)
    flight.retry(route.decode, RetryReason.CONNECT, 1.0)
    driver.dispatch.place(flight, 1.0)
    driver.dispatch.admit(1.499)
    assert driver.woken == [1.5, 1.5]
