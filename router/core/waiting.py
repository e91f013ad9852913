"""Requests that wait at the router for room: order, bounds, and whose turn it is.

Within a model and class the higher priority goes first, then the earlier arrival; nobody
overtakes. Classes, and within them those who fit into other pools, do not hold each other up,
since they may wait for different pools.
"""

from bisect import insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from router.core.flight import Flight
from router.core.request import Leg, Route, Wait, WaitReason
from weir.domain.fleet import Stage
from weir.domain.ids import ClassName, ModelName, PoolId, WorkerId

__all__ = ["Place", "Waiting"]

_Line = tuple[ModelName, ClassName, frozenset[PoolId]]
"""Model, class, and the pools whose context is too short."""


@dataclass(slots=True, kw_only=True, eq=False)
class Place:
    """A flight's place in the queue, and what it waits for as last seen."""

    flight: Flight
    exclude: frozenset[WorkerId]
    prefilled: Leg | None
    order: tuple[int, float, int]
    stage: Stage = Stage.PREFILL
    reason: WaitReason = WaitReason.NO_ROOM
    left: bool = False
    """It got its route or gave up."""


class Waiting:
    def __init__(self, *, most_requests: int, most_bytes: int) -> None:
        self._most_requests = most_requests
        self._most_bytes = most_bytes
        self._lines: dict[_Line, list[Place]] = {}
        self._requests = 0
        self._bytes = 0
        self._arrivals = 0

    def __len__(self) -> int:
        return self._requests

    def __iter__(self) -> Iterator[Place]:
        return (place for line in self._lines.values() for place in line)

    def is_behind(self, flight: Flight) -> bool:
        """Whether others who may go where the flight may already wait."""
        return _line(flight) in self._lines

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
        )
        insort(self._lines.setdefault(_line(flight), []), place, key=_order)
        self._requests += 1
        self._bytes = waiting_bytes
        return place

    def leave(self, place: Place) -> None:
        """Give the place up. Doing it twice changes nothing."""
        if place.left:
            return
        place.left = True
        line = self._lines[_line(place.flight)]
        line.remove(place)
        if not line:
            del self._lines[_line(place.flight)]
        self._requests -= 1
        self._bytes -= place.flight.profile.prompt_bytes

    def admit(self, decide: Callable[[Place], Route | Wait]) -> Iterator[tuple[Place, Route]]:
        """Those who can go now, each taken from the queue before the next one is decided."""
        open_lines = sorted(self._lines, key=lambda line: _order(self._lines[line][0]))
        for line in open_lines:
            while line in self._lines:
                place = self._lines[line][0]
                decision = decide(place)
                if isinstance(decision, Wait):
                    place.stage, place.reason = decision.stage, decision.reason
                    break
                self.leave(place)
                yield place, decision


def _line(flight: Flight) -> _Line:
    return flight.sized.model.name, flight.request_class.name, flight.sized.too_short


def _order(place: Place) -> tuple[int, float, int]:
    return place.order
