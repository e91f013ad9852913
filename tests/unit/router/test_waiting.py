"""Whose turn it is among those who wait. A prompt of 100 behind two batches takes 2.1 s."""

import pytest

from router.core.request import Leg, Route, RouteReason
from router.core.waiting import Place, Waiting
from tests.unit.router.builders import pool, request, request_class, service
from weir.domain.fleet import Role
from weir.domain.ids import PoolId, WorkerId
from weir.domain.planning import WorkerEndpoint

LEG = Leg(pool_id=PoolId("a"), worker=WorkerEndpoint(id=WorkerId("w"), host="h", port=1))
SLO = request_class(ttft_s=5.0)


class Queue:
    """Requests that arrived at given times, and the order in which they go."""

    def __init__(self) -> None:
        self.router = service((pool("a", Role.AGG),), classes=(SLO,))
        self.waiting = Waiting(most_requests=100, most_bytes=1_000_000)
        self.names: dict[int, str] = {}

    def join(self, name: str, at_s: float, prefilled: Leg | None = None) -> None:
        flight = self.router.open(request(100), at_s)
        assert self.waiting.join(flight, frozenset(), prefilled) is not None
        self.names[id(flight)] = name

    def order(self, now_s: float) -> list[str]:
        """All of them, if there is room for everybody."""
        admitted = self.waiting.admit(self._route, now_s)
        return [self.names[id(place.flight)] for place, _ in admitted]

    def _route(self, place: Place) -> Route:
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
    # The first token of `a` is in time if it is sent until 0 + 5 - 2.1 s.
    queue.join("a", 0.0)
    queue.join("b", 1.0)
    assert queue.order(2.8) == ["a", "b"]
    queue.join("a", 0.0)
    queue.join("b", 1.0)
    assert queue.order(3.0) == ["b", "a"]


def test_when_all_are_late_the_earlier_goes_first(queue: Queue) -> None:
    for name, at_s in (("b", 1.0), ("a", 0.0), ("c", 2.0)):
        queue.join(name, at_s)
    assert queue.order(60.0) == ["a", "b", "c"]


def test_one_turn_in_four_is_for_the_late(queue: Queue) -> None:
    for name, at_s in (("x", 0.0), ("y", 0.5), *((str(i), 10.0 + i / 100) for i in range(7))):
        queue.join(name, at_s)
    assert queue.order(11.0) == ["0", "1", "2", "x", "3", "4", "5", "y", "6"]


def test_who_has_its_prompt_done_is_never_made_to_step_aside(queue: Queue) -> None:
    queue.join("prefilled", 0.0, prefilled=LEG)
    queue.join("new", 9.0)
    assert queue.order(10.0) == ["prefilled", "new"]
