"""Requests that wait at the router for room: order, bounds, and whose turn it is.

Within a model and class the higher priority goes first, then the earlier arrival. Whoever can
no longer get its first token in time steps aside for those who still can, but keeps one turn in
four: in an overload the requests that are on time stay on time, and the late ones still end.
Classes, and within them those who fit into other pools, do not hold each other up, since they
may wait for different pools.
"""

from collections.abc import Callable, Iterator
from math import inf

from router.core.admit import Sized
from router.core.flight import Flight
from router.core.line import Line, Order, Place, by_order
from router.core.pools import ModelPools
from router.core.request import Leg, Route, Wait
from weir.domain.fleet import Stage
from weir.domain.ids import ClassName, ModelName, PoolId, WorkerId

__all__ = ["Place", "Waiting"]

_Key = tuple[ModelName, ClassName, frozenset[PoolId]]
"""Model, class, and the pools whose context is too short."""
_LEAST_HOPE = 0.25


class Waiting:
    def __init__(self, *, most_requests: int, most_bytes: int) -> None:
        self._most_requests = most_requests
        self._most_bytes = most_bytes
        self._lines: dict[_Key, Line] = {}
        self._requests = 0
        self._bytes = 0
        self._arrivals = 0

    def __len__(self) -> int:
        return self._requests

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
        key = _key(flight)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line()
        place = Place(
            flight=flight,
            exclude=exclude,
            prefilled=prefilled,
            line=line,
            order=_order(flight, self._arrivals),
            latest_s=inf if prefilled is not None else _latest_s(flight),
        )
        line.join(place)
        self._requests += 1
        self._bytes = waiting_bytes
        return place

    def leave(self, place: Place) -> None:
        """Give the place up. Doing it twice changes nothing."""
        if place.left:
            return
        place.left = True
        place.line.leave(place)
        if not place.line:
            del self._lines[_key(place.flight)]
        self._requests -= 1
        self._bytes -= place.flight.profile.prompt_bytes

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
        heads = []
        for line in self._lines.values():
            head = line.next(now_s)
            if head is not None and (helps is None or head is not line.judged or helps(head)):
                heads.append(head)
        heads.sort(key=by_order)
        for head in heads:
            line = head.line
            while (place := line.next(now_s)) is not None:
                decision = decide(place)
                if isinstance(decision, Wait):
                    line.wait(place, decision)
                    break
                line.turn += 1
                self.leave(place)
                yield place, decision

    def renew(self, resize: Callable[[Flight], Sized]) -> None:
        """What classes are to meet has changed: `resize` tells what it is for each who waits."""
        for line in self._lines.values():
            for place in (*line.hopeful, *line.late):
                flight = place.flight
                flight.sized = resize(flight)
                place.order = _order(flight, place.order[-1])
                place.latest_s = inf if place.prefilled is not None else _latest_s(flight)
            line.renew()

    def held(self) -> Iterator[tuple[ModelPools, ClassName, Stage, int]]:
        """Prompt tokens that wait: of which model and class, for which stage."""
        for line in self._lines.values():
            flight = line.any().flight
            yield flight.sized.model, flight.request_class.name, line.stage, line.isl_tokens


def _key(flight: Flight) -> _Key:
    return flight.sized.model.name, flight.request_class.name, flight.sized.too_short


def _order(flight: Flight, arrivals: int) -> Order:
    # Anyone could claim to be urgent, so a request may only yield.
    priority = flight.request_class.priority - max(0, flight.profile.priority or 0)
    return -priority, flight.arrived_s, arrivals


def _latest_s(flight: Flight) -> float:
    """When it must be sent, at the latest, to be in time behind what is at the engine then.

    It hopes for a part of its time also where that queue alone would take all of it.
    """
    sized = flight.sized
    spare_s = sized.ttft_s - sized.model.busy_prefill_s(sized.isl_tokens)
    return flight.arrived_s + max(_LEAST_HOPE * sized.ttft_s, spare_s)
