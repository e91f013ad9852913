"""One line of requests that wait for the same pools, and whose turn it is in it."""

from bisect import insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import inf
from operator import attrgetter

from router.core.flight import Flight
from router.core.request import Leg, Route, Shed, Wait, WaitReason
from weir.domain.fleet import Stage
from weir.domain.ids import PoolId, WorkerId

__all__ = ["Line", "Order", "Place", "by_order", "by_turn", "by_worth"]

Order = tuple[int, float, int]
_MOST_GONE = 4
"""Where so many times more are remembered by length than are hopeful, they are sorted out."""


@dataclass(slots=True, kw_only=True, eq=False)
class Place:
    """A flight's place in a line."""

    flight: Flight
    exclude: frozenset[WorkerId]
    prefilled: Leg | None
    line: "Line"
    order: Order
    latest_s: float
    """Sent after that, its first token is late even if nobody is before it."""
    joined_s: float = 0.0
    lacking: Stage = field(default=Stage.PREFILL, init=False)
    """What it waits for, as far as somebody has looked."""
    late: bool = field(default=False, init=False)
    left: bool = field(default=False, init=False)
    """It got its route, gave up, or was shed."""
    route: Route | None = field(default=None, init=False)
    shed: Shed | None = field(default=None, init=False)
    resume: Callable[[Route | Shed], None] | None = field(default=None, init=False)
    """Set by who holds the place; called in the step in which the flight is sent or shed."""


by_order: Callable[[Place], Order] = attrgetter("order")
_ByLength = tuple[int, int, Place]


def _by_length(place: Place) -> _ByLength:
    return place.flight.sized.isl_tokens, -place.order[-1], place


def _by_latest(place: Place) -> tuple[float, int, Place]:
    return place.latest_s, place.order[-1], place


def _by_hope(place: Place) -> tuple[bool, Order]:
    """Among the late, those last that could never have been in time."""
    return place.flight.hopeless, place.order


def by_worth(place: Place) -> tuple[int, float, Order]:
    """Among the first of several lines: higher priority, then what is worth more for its work."""
    return place.order[0], -place.line.worth, place.order


def by_turn(place: Place) -> tuple[bool, bool, Order]:
    """Among all who wait: those last whose turn comes last, whatever their class is worth."""
    return place.late, place.late and place.flight.hopeless, place.order


class Line:
    """`hopeful` and `late` are in order; `isl_tokens` are those of all prompts.

    `judged` are those who were looked at last and could not go, for want of what `stage` and
    `reason` tell. `_by_length` has all who are hopeful, and some who are not any more; so has
    `_by_latest` in a line that sheds its late ones. `absent`: their pools have no worker; else
    they have had some since `served_s`.
    """

    __slots__ = (
        "_by_latest",
        "_by_length",
        "_judged",
        "_judged_late",
        "absent",
        "hopeful",
        "isl_tokens",
        "late",
        "reason",
        "served_s",
        "sheds",
        "stage",
        "wanted",
        "worth",
    )

    def __init__(self, *, sheds: bool = False) -> None:
        self.sheds = sheds
        self.absent = False
        self.served_s = -inf
        self.hopeful: list[Place] = []
        self.late: list[Place] = []
        self.isl_tokens = 0
        self._by_length: list[_ByLength] = []
        self._by_latest: list[tuple[float, int, Place]] = []
        self._judged: tuple[Place, Place | None] | None = None
        self._judged_late: Place | None = None
        self.wanted: frozenset[PoolId] = frozenset()
        self.worth = 0.0
        self.stage = Stage.PREFILL
        self.reason = WaitReason.NO_ROOM

    def __bool__(self) -> bool:
        return bool(self.hopeful or self.late)

    def any(self) -> Place:
        """Raises `IndexError` if there is nobody."""
        return (self.hopeful or self.late)[0]

    def late_tokens(self) -> int:
        """Of the prompts that are still to be prefilled and cannot be in time any more."""
        return sum(place.flight.sized.isl_tokens for place in self.late if place.prefilled is None)

    def join(self, place: Place) -> None:
        self.isl_tokens += place.flight.sized.isl_tokens
        if place.flight.hopeless and place.prefilled is None:
            self._set_aside(place)
            return
        insort(self.hopeful, place, key=by_order)
        if self.sheds:
            heappush(self._by_latest, _by_latest(place))
        if len(self._by_length) > _MOST_GONE * len(self.hopeful):
            self._by_length = [_by_length(each) for each in self.hopeful]
            heapify(self._by_length)
        else:
            heappush(self._by_length, _by_length(place))

    def leave(self, place: Place) -> None:
        (self.late if place.late else self.hopeful).remove(place)
        self.isl_tokens -= place.flight.sized.isl_tokens

    def renew(self) -> None:
        """The orders and times of those who wait have changed."""
        places = [*self.hopeful, *self.late]
        for place in places:
            place.late = False
        self.hopeful, self.late = sorted(places, key=by_order), []
        self._by_length = sorted(map(_by_length, places))
        if self.sheds:
            self._by_latest = sorted(map(_by_latest, places))
        self._judged = self._judged_late = None

    def step_aside(self, now_s: float) -> None:
        """Those whose time has passed go to the late ones when it comes to them.

        Where late ones are shed they do so at once.
        """
        while self.sheds and self.next_late_s() < now_s:
            self.is_late(heappop(self._by_latest)[2])
        while self.hopeful and self.hopeful[0].latest_s < now_s:
            self.is_late(self.hopeful[0])

    def is_late(self, place: Place) -> None:
        """It has no time left: it steps aside for all who have."""
        self.hopeful.remove(place)
        self._set_aside(place)

    def next_late_s(self) -> float:
        """When the next one will be late, in a line that sheds those."""
        places = self._by_latest
        while places and (places[0][2].left or places[0][2].late):
            heappop(places)
        return places[0][0] if places else inf

    def _set_aside(self, place: Place) -> None:
        place.late = True
        insort(self.late, place, key=_by_hope)

    def shortest(self) -> Place | None:
        """Of those who have time, the one with the shortest prompt, of equals whoever came last."""
        places = self._by_length
        while places and (places[0][2].left or places[0][2].late):
            heappop(places)
        return places[0][2] if places else None

    def first(self, *, late: bool) -> Place | None:
        """Of those who are late, or of those who are not."""
        places = self.late if late else self.hopeful
        return places[0] if places else None

    def from_the_last(self) -> Iterator[Place]:
        """Those whose turn comes last, first, without those whose prompt is done already."""
        for places in (self.late, self.hopeful):
            for place in reversed(places):
                if place.prefilled is None:
                    yield place

    def judged(self, place: Place) -> bool:
        """Whether nothing is new since this first one could not go."""
        if place.late:
            return place is self._judged_late
        judged = self._judged
        if judged is None or place is not judged[0]:
            return False
        return self.reason is not WaitReason.NO_TIME or self.shortest() is judged[1]

    def wait(self, place: Place, decision: Wait, now_s: float) -> None:
        """The first cannot go."""
        place.lacking = decision.stage
        if place.late:
            self._judged_late = place
        else:
            self._judged = place, self.shortest()
            self.wanted = decision.wanted
        if not (place.late and self.hopeful):
            self.stage, self.reason = decision.stage, decision.reason
            sized = place.flight.sized
            lacks = decision.reason is WaitReason.NO_WORKER
            absent = lacks and not sized.model.staffed(sized.too_short)
            if self.absent and not absent:
                self.served_s = now_s
            self.absent = absent
