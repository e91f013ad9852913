"""Requests that wait at the router for room: order, bounds, and whose turn it is.

Within a model and class the higher priority goes first, then the earlier arrival; where that one
would be late by now, the shortest prompt, so that as many as can be are in time. Among classes the
higher priority goes first, then what is worth more for its work. Whoever can no longer get its
first token in time steps aside for all who still can, of whatever class: the late get what nobody
in time can use. Classes, and within them those who fit into other pools, do not hold each other up,
since they may wait for different pools. But where those who go first would be in time if less were
queued, nobody else may queue.
"""

from collections.abc import Callable, Iterator
from math import inf

from router.core.admit import Sized
from router.core.flight import Flight
from router.core.line import Line, Order, Place, by_worth
from router.core.pools import ModelPools
from router.core.request import Leg, Route, Wait, WaitReason
from router.core.traffic import Held
from router.core.worth import Worth
from weir.domain.fleet import Stage
from weir.domain.ids import ClassName, ModelName, PoolId, WorkerId

__all__ = ["Place", "Waiting"]

_Key = tuple[ModelName, ClassName, frozenset[PoolId], bool]
"""Model, class, the pools whose context is too short, and whether a decode pool may do alone."""


class Waiting:
    """`elsewhere_*`: what waits in other processes and counts against the same bounds."""

    def __init__(self, *, most_requests: int, most_bytes: int) -> None:
        self._most_requests = most_requests
        self._most_bytes = most_bytes
        self._lines: dict[_Key, Line] = {}
        self._requests = 0
        self.bytes = 0
        self.elsewhere_requests = 0
        self.elsewhere_bytes = 0
        self._arrivals = 0
        self._worth = Worth()

    def __len__(self) -> int:
        return self._requests

    def is_behind(self, flight: Flight) -> bool:
        """Whether others who may go where the flight may already wait."""
        return _key(flight) in self._lines

    def join(
        self, flight: Flight, exclude: frozenset[WorkerId], prefilled: Leg | None
    ) -> Place | None:
        """A place in the queue; None if it is full."""
        waiting_bytes = self.bytes + flight.profile.prompt_bytes
        requests = self._requests + self.elsewhere_requests
        if requests >= self._most_requests or (
            requests and waiting_bytes + self.elsewhere_bytes > self._most_bytes
        ):
            return None
        self._arrivals += 1
        key = _key(flight)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line()
        line.worth = self._worth.learn(flight)
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
        self.bytes = waiting_bytes
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
        self.bytes -= place.flight.profile.prompt_bytes

    def admit(
        self,
        decide: Callable[[Place, frozenset[PoolId]], Route | Wait],
        now_s: float,
        helps: Callable[[Place], bool] | None = None,
    ) -> Iterator[tuple[Place, Route]]:
        """Those who can go now, each taken from the queue before the next one is decided.

        `helps`: whether what has happened since the last look may have made room for who could
        not go then. All that happens must be asked about; None: it may for everybody.
        """
        barred: frozenset[PoolId] = frozenset()
        for late in (False, True):
            for head in self.heads(now_s, late=late):
                line = head.line
                if helps is None or not line.judged(head) or helps(head):
                    yield from self._sent(line, decide, barred, late=late)
                if not late and line.hopeful:
                    barred |= line.wanted

    def heads(self, now_s: float, *, late: bool) -> list[Place]:
        """The first of each line, in the order in which they go."""
        heads = []
        for line in self._lines.values():
            line.step_aside(now_s)
            head = line.first(late=late)
            if head is not None:
                heads.append(head)
        heads.sort(key=by_worth)
        return heads

    def _sent(
        self,
        line: Line,
        decide: Callable[[Place, frozenset[PoolId]], Route | Wait],
        barred: frozenset[PoolId],
        *,
        late: bool,
    ) -> Iterator[tuple[Place, Route]]:
        """From one line, as long as somebody can go."""
        while (place := line.first(late=late)) is not None:
            decision = decide(place, barred)
            if isinstance(decision, Wait):
                if _is_late(place, decision):
                    line.is_late(place)
                    continue
                line.wait(place, decision)
                if late or decision.reason is not WaitReason.NO_TIME:
                    return
                found = self._shortest(line, place, decide, barred)
                if found is None:
                    return
                place, decision = found
            self.leave(place)
            yield place, decision

    def _shortest(
        self,
        line: Line,
        head: Place,
        decide: Callable[[Place, frozenset[PoolId]], Route | Wait],
        barred: frozenset[PoolId],
    ) -> tuple[Place, Route] | None:
        """Instead of the head, who needs least: it may still be in time where the head is not."""
        while (place := line.shortest()) is not None and place is not head:
            decision = decide(place, barred)
            if isinstance(decision, Route):
                return place, decision
            line.wanted = decision.wanted
            if not _is_late(place, decision):
                break
            line.is_late(place)
        return None

    def wanted_before(self, flight: Flight) -> frozenset[PoolId]:
        """Pools that those who go before the flight want, had they less queued."""
        wanted: frozenset[PoolId] = frozenset()
        for line in self._lines.values():
            if line.hopeful and line.wanted and self._is_before(line, flight):
                wanted |= line.wanted
        return wanted

    def _is_before(self, line: Line, flight: Flight) -> bool:
        """Whether the first of the line goes before a flight that arrives now."""
        priority = _order(flight, 0)[0]
        first = line.hopeful[0].order[0]
        return first < priority or (first == priority and line.worth >= self._worth.of(flight))

    def renew(self, resize: Callable[[Flight], Sized]) -> None:
        """What classes are to meet has changed: `resize` tells what it is for each who waits."""
        for line in self._lines.values():
            for place in (*line.hopeful, *line.late):
                flight = place.flight
                flight.resize(resize(flight))
                place.order = _order(flight, place.order[-1])
                place.latest_s = inf if place.prefilled is not None else _latest_s(flight)
            line.worth = self._worth.of(line.any().flight)
            line.renew()

    def held(self) -> Iterator[tuple[ModelPools, ClassName, Stage, Held]]:
        """Prompt tokens that wait: of which model and class, for which stage."""
        for line in self._lines.values():
            flight = line.any().flight
            held = Held(tokens=line.isl_tokens, hopeless_tokens=line.late_tokens())
            yield flight.sized.model, flight.request_class.name, line.stage, held


def _is_late(place: Place, decision: Wait) -> bool:
    """Whether it would be late even if nothing were queued anywhere."""
    hopeless = decision.reason is WaitReason.NO_TIME and not decision.wanted
    return hopeless and not place.late


def _key(flight: Flight) -> _Key:
    sized = flight.sized
    model = sized.model
    direct = sized.isl_tokens < model.direct_below_tokens
    return model.name, sized.request_class.name, sized.too_short, direct


def _order(flight: Flight, arrivals: int) -> Order:
    # Who allows for more time goes as if it had come later: else it would keep its place
    # while others, whose time is over, step aside.
    return -flight.priority, flight.arrived_s + flight.patience_s, arrivals


def _latest_s(flight: Flight) -> float:
    """When it must be sent, at the latest, to be in time if nobody is before it."""
    sized = flight.sized
    if flight.hopeless:
        return -inf
    return flight.arrived_s + sized.ttft_s - sized.model.idle_first_s(sized.isl_tokens)
