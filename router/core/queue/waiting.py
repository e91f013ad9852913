"""Requests that wait at the router for room: order, bounds, and whose turn it is.

Within a model and class the higher priority goes first, then the earlier arrival; where that one
would be late by now, the shortest prompt, so that as many as can be are in time. Among classes the
higher priority goes first, then what is worth more for its work. Whoever can no longer get its
first token in time steps aside for all who still can, of whatever class: the late get what nobody
in time can use. Classes, and within them those who fit into other pools, do not hold each other up,
since they may wait for different pools. But where those who go first would be in time if less were
queued, nobody else may queue.

Where the queue is full, who comes takes the place of those whose turn would come last, if they go
after it: late ones if it is in time, or such of a lower priority. In classes that shed their late
ones nobody stays who is late and cannot go at once, unless there is no worker at all.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import merge
from math import inf

from router.core.admit import Sized
from router.core.flight import Flight
from router.core.pools import ModelPools
from router.core.queue.bounds import Bounds
from router.core.queue.bounds import Held as Bound
from router.core.queue.line import Line, Order, Place, by_turn, by_worth
from router.core.queue.worth import Worth
from router.core.request import Leg, Route, ShedReason, Wait, WaitReason
from router.core.traffic import Held
from weir.domain.fleet import RequestClass, Stage
from weir.domain.ids import ClassName, ModelName, PoolId, WorkerId

__all__ = ["Place", "Waiting", "is_late"]

_Key = tuple[ModelName, ClassName, frozenset[PoolId], bool, bool]
"""Model, class, the pools whose context is too short, and whether a decode pool may do alone:
because the prompt is short, or because it has the beginning, which it may lose meanwhile."""


_NOTHING = Bound()
_LATE_S = 1e-3
"""After the last moment in which it would have been in time, a request is late."""


_MOST_DISPLACED = 16
"""For one that is so much longer than others no more have to leave."""


class Waiting:
    """Bounded; each class by itself as well."""

    def __init__(
        self, *, most_requests: int, most_bytes: int, classes: Iterable[RequestClass]
    ) -> None:
        classes = tuple(classes)
        self._bounds = Bounds(most_requests, most_bytes, classes)
        self._some_shed = any(c.sheds_late for c in classes)
        self._lines: dict[_Key, Line] = {}
        self._requests = 0
        self._arrivals = 0
        self._worth = Worth()

    def __len__(self) -> int:
        return self._requests

    def is_behind(self, flight: Flight) -> bool:
        """Whether others who may go where the flight may already wait."""
        return _key(flight) in self._lines

    def lacks(self, flight: Flight, without: Iterable[Place] = ()) -> ShedReason | None:
        """Why there is no place for it, or would be none if these had left."""
        gone = _NOTHING
        for place in without:
            if gone is _NOTHING:
                gone = Bound()
            gone.add(1, place.flight.profile.prompt_bytes)
        return self._bounds.lacks(flight.request_class.name, flight.profile.prompt_bytes, gone)

    def after(self, flight: Flight, lack: ShedReason, now_s: float) -> list[Place]:
        """Who has to leave for the flight to have a place; nobody if that would not do.

        Of its class, if that is full. Whose prompt is done already stays.
        """
        name = flight.request_class.name if lack is ShedReason.CLASS_FULL else None
        turn = _latest_s(flight) < now_s, flight.hopeless, -flight.priority
        found: list[Place] = []
        for place in self._from_the_last(name, now_s):
            late, hopeless, order = by_turn(place)
            if (late, hopeless, order[0]) <= turn:
                break
            found.append(place)
            if self.lacks(flight, found) is None:
                return found
            if len(found) == _MOST_DISPLACED:
                break
        return []

    def _from_the_last(self, name: ClassName | None, now_s: float) -> Iterator[Place]:
        """Those whose turn comes last, first; of one class, or of all."""
        ends = []
        for (_, of_class, *_), line in self._lines.items():
            if name is None or of_class == name:
                line.step_aside(now_s)
                ends.append(line.from_the_last())
        return merge(*ends, key=by_turn, reverse=True)

    @property
    def waits(self) -> Mapping[ClassName, Bound]:
        """What waits here, by class."""
        return self._bounds.own

    def told(self, elsewhere: Mapping[ClassName, tuple[int, int]]) -> None:
        """What waits in other processes counts against the same bounds."""
        self._bounds.told(elsewhere)

    def join(
        self,
        flight: Flight,
        exclude: frozenset[WorkerId],
        prefilled: Leg | None,
        now_s: float = 0.0,
    ) -> Place:
        """A place in the queue, for one that `lacks` nothing."""
        self._arrivals += 1
        key = _key(flight)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line(sheds=flight.request_class.sheds_late)
        line.worth = self._worth.learn(flight)
        place = Place(
            flight=flight,
            exclude=exclude,
            prefilled=prefilled,
            line=line,
            order=_order(flight, self._arrivals),
            latest_s=inf if prefilled is not None else _latest_s(flight),
            joined_s=now_s,
        )
        line.join(place)
        self._count(flight, 1)
        return place

    def _count(self, flight: Flight, more: int) -> None:
        self._requests += more
        name, held_bytes = flight.request_class.name, flight.profile.prompt_bytes
        self._bounds.add(name, more, more * held_bytes)

    def leave(self, place: Place) -> None:
        """Give the place up. Doing it twice changes nothing."""
        if place.left:
            return
        place.left = True
        place.line.leave(place)
        if not place.line:
            del self._lines[_key(place.flight)]
        self._count(place.flight, -1)

    def hopeless(self) -> list[Place]:
        """Who leaves now: those of classes that shed them who are late and could not go."""
        if not self._some_shed:
            return []
        found = [
            place
            for line in self._lines.values()
            if line.sheds and line.late and not line.absent
            for place in line.late
        ]
        for place in found:
            self.leave(place)
        return found

    def next_late_s(self) -> float:
        """When somebody may have to leave though nothing happens; infinity if nobody ever has."""
        if not self._some_shed:
            return inf
        soonest_s = (line.next_late_s() for line in self._lines.values() if line.sheds)
        return min(soonest_s, default=inf) + _LATE_S

    def left_s(self, place: Place, now_s: float, queue_s: float, no_endpoints_s: float) -> float:
        """How long it may still wait: so long for room, so long for the first worker.

        The time for room counts from when there is a worker to wait for.
        """
        line = place.line
        until_s = place.joined_s + no_endpoints_s
        if not line.absent:
            until_s = min(until_s, max(place.joined_s, line.served_s)) + queue_s
        return until_s - now_s

    def work_s(self, flight: Flight) -> float:
        """Of those who wait for the same model and go before others of its priority."""
        priority = -flight.priority
        return sum(
            len(places) * self._worth.work_s(first.flight)
            for line in self._lines.values()
            for places in (line.hopeful, line.late)
            if (first := next(iter(places), None)) is not None
            and first.order[0] <= priority
            and first.flight.sized.model.name == flight.sized.model.name
        )

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
                    yield from self._sent(line, decide, barred, now_s, late=late)
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
        now_s: float,
        *,
        late: bool,
    ) -> Iterator[tuple[Place, Route]]:
        """From one line, as long as somebody can go."""
        while (place := line.first(late=late)) is not None:
            decision = decide(place, barred)
            if isinstance(decision, Wait):
                if is_late(place, decision):
                    line.is_late(place)
                    continue
                line.wait(place, decision, now_s)
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
            if not is_late(place, decision):
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


def is_late(place: Place, decision: Wait) -> bool:
    """Whether it would be late even if nothing were queued anywhere."""
    hopeless = decision.reason is WaitReason.NO_TIME and not decision.wanted
    return hopeless and not place.late


def _key(flight: Flight) -> _Key:
    sized = flight.sized
    model = sized.model
    direct = sized.isl_tokens < model.direct_below_tokens
    kept = flight.new_tokens < sized.isl_tokens
    return model.name, sized.request_class.name, sized.too_short, direct, kept


def _order(flight: Flight, arrivals: int) -> Order:
    # Who allows for more time goes as if it had come later: else it would keep its place
    # while others, whose time is over, step aside.
    return -flight.priority, flight.arrived_s + flight.patience_s, arrivals


def _latest_s(flight: Flight) -> float:
    """When it must be sent, at the latest, to be in time if nobody is before it."""
    sized = flight.sized
    if flight.hopeless:
        return -inf
    return flight.arrived_s + sized.ttft_s - sized.model.idle_first_s(flight.new_tokens)
