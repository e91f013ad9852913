"""Requests that wait at the router for room: order, bounds, and whose turn it is.

Within a model and class the higher priority goes first, then the earlier arrival. Whoever can
no longer get its first token in time steps aside for those who still can, but keeps one turn in
four: in an overload the requests that are on time stay on time, and the late ones still end.
Classes, and within them those who fit into other pools, do not hold each other up, since they
may wait for different pools.
"""

from bisect import insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from math import inf

from router.core.flight import Flight
from router.core.request import Leg, Route, Wait, WaitReason
from weir.domain.fleet import Stage
from weir.domain.ids import ClassName, ModelName, PoolId, WorkerId

__all__ = ["Place", "Waiting"]

_Key = tuple[ModelName, ClassName, frozenset[PoolId]]
"""Model, class, and the pools whose context is too short."""
_Order = tuple[int, float, int]
_LATE_TURN = 4
"""One turn in this many is for those who are late."""
_LEAST_HOPE = 0.25


@dataclass(slots=True, kw_only=True, eq=False)
class Place:
    """A flight's place in the queue, and what it waits for as last seen."""

    flight: Flight
    exclude: frozenset[WorkerId]
    prefilled: Leg | None
    order: _Order
    latest_s: float
    """Sent after that, its first token is late."""
    stage: Stage = Stage.PREFILL
    reason: WaitReason = WaitReason.NO_ROOM
    left: bool = False
    """It got its route or gave up."""
    route: Route | None = None
    resume: Callable[[Route], None] | None = None
    """Called, in the step in which the flight is sent, by who holds the place."""


class _Line:
    """Those of one key; `hopeful` and `late` are in order.

    `judged`: who was first and could not go when somebody last looked.
    """

    __slots__ = ("hopeful", "judged", "late", "turn")

    def __init__(self) -> None:
        self.judged: Place | None = None
        self.hopeful: list[Place] = []
        self.late: list[Place] = []
        self.turn = 0

    def __iter__(self) -> Iterator[Place]:
        return chain(self.hopeful, self.late)

    def join(self, place: Place) -> None:
        insort(self.hopeful, place, key=_order)

    def leave(self, place: Place) -> None:
        line = self.hopeful if place in self.hopeful else self.late
        line.remove(place)

    def next(self, now_s: float) -> Place | None:
        """Whose turn it is. Those whose time has passed step aside when it comes to them."""
        while self.hopeful and self.hopeful[0].latest_s < now_s:
            insort(self.late, self.hopeful.pop(0), key=_order)
        if not self.hopeful:
            return self.late[0] if self.late else None
        if self.late and self.turn % _LATE_TURN == _LATE_TURN - 1:
            return self.late[0]
        return self.hopeful[0]


class Waiting:
    def __init__(self, *, most_requests: int, most_bytes: int) -> None:
        self._most_requests = most_requests
        self._most_bytes = most_bytes
        self._lines: dict[_Key, _Line] = {}
        self._requests = 0
        self._bytes = 0
        self._arrivals = 0

    def __len__(self) -> int:
        return self._requests

    def __iter__(self) -> Iterator[Place]:
        return (place for line in self._lines.values() for place in line)

    def is_behind(self, flight: Flight) -> bool:
        """Whether others who may go where the flight may already wait."""
        return _key(flight) in self._lines

    def join(
        self, flight: Flight, exclude: frozenset[WorkerId], prefilled: Leg | None
    ) -> Place | None:
        """A place in the queue; None if it is full."""
        waiting_bytes = self._bytes + flight.profile.prompt_bytes
        if self._requests >= self._most_requests or (
            self._requests and waiting_bytes > self._most_bytes
        ):
            return None
        self._arrivals += 1
        # Anyone could claim to be urgent, so a request may only yield.
        priority = flight.request_class.priority - max(0, flight.profile.priority or 0)
        place = Place(
            flight=flight,
            exclude=exclude,
            prefilled=prefilled,
            order=(-priority, flight.arrived_s, self._arrivals),
            latest_s=inf if prefilled is not None else _latest_s(flight),
        )
        self._lines.setdefault(_key(flight), _Line()).join(place)
        self._requests += 1
        self._bytes = waiting_bytes
        return place

    def leave(self, place: Place) -> None:
        """Give the place up. Doing it twice changes nothing."""
        if place.left:
            return
        place.left = True
        key = _key(place.flight)
        line = self._lines[key]
        line.leave(place)
        if not (line.hopeful or line.late):
            del self._lines[key]
        self._requests -= 1
        self._bytes -= place.flight.profile.prompt_bytes

    def judged(self, place: Place, decision: Wait) -> None:
        """It is the first in its line, and this is what it waits for."""
        place.stage, place.reason = decision.stage, decision.reason
        self._lines[_key(place.flight)].judged = place

    def admit(
        self,
        decide: Callable[[Place], Route | Wait],
        now_s: float,
        helps: Callable[[Place], bool] | None = None,
    ) -> Iterator[tuple[Place, Route]]:
        """Those who can go now, each taken from the queue before the next one is decided.

        `helps`: whether what has happened since the last look may have made room for who could
        not go then. All that happens must be asked about; None: it may for everybody.
        """
        heads = {}
        for key, line in self._lines.items():
            head = line.next(now_s)
            if head is not None and (helps is None or head is not line.judged or helps(head)):
                heads[key] = head
        for key in sorted(heads, key=lambda key: heads[key].order):
            line = self._lines[key]
            while (place := line.next(now_s)) is not None:
                decision = decide(place)
                if isinstance(decision, Wait):
                    self.judged(place, decision)
                    break
                line.turn += 1
                self.leave(place)
                yield place, decision


def _key(flight: Flight) -> _Key:
    return flight.sized.model.name, flight.request_class.name, flight.sized.too_short


def _order(place: Place) -> _Order:
    return place.order


def _latest_s(flight: Flight) -> float:
    """When it must be sent, at the latest, to be in time behind what is at the engine then.

    It hopes for a part of its time also where that queue alone would take all of it.
    """
    sized = flight.sized
    spare_s = sized.ttft_s - sized.model.busy_prefill_s(sized.isl_tokens)
    return flight.arrived_s + max(_LEAST_HOPE * sized.ttft_s, spare_s)
