"""One line of requests that wait for the same pools, and whose turn it is in it."""

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter

from router.core.flight import Flight
from router.core.request import Leg, Route, Wait, WaitReason
from weir.domain.fleet import Stage
from weir.domain.ids import WorkerId

__all__ = ["Line", "Order", "Place", "by_order"]

Order = tuple[int, float, int]
_LATE_TURN = 4
"""One turn in this many is for those who are late."""


@dataclass(slots=True, kw_only=True, eq=False)
class Place:
    """A flight's place in a line."""

    flight: Flight
    exclude: frozenset[WorkerId]
    prefilled: Leg | None
    line: "Line"
    order: Order
    latest_s: float
    """Sent after that, its first token is late."""
    late: bool = field(default=False, init=False)
    left: bool = field(default=False, init=False)
    """It got its route or gave up."""
    route: Route | None = field(default=None, init=False)
    resume: Callable[[Route], None] | None = field(default=None, init=False)
    """Called, in the step in which the flight is sent, by who holds the place."""


by_order: Callable[[Place], Order] = attrgetter("order")


class Line:
    """`hopeful` and `late` are in order; `isl_tokens` are those of all prompts.

    `judged` was the first when somebody last looked and could not go, for want of what `stage`
    and `reason` tell: all wait for that.
    """

    __slots__ = ("hopeful", "isl_tokens", "judged", "late", "reason", "stage", "turn")

    def __init__(self) -> None:
        self.hopeful: list[Place] = []
        self.late: list[Place] = []
        self.turn = 0
        self.isl_tokens = 0
        self.judged: Place | None = None
        self.stage = Stage.PREFILL
        self.reason = WaitReason.NO_ROOM

    def __bool__(self) -> bool:
        return bool(self.hopeful or self.late)

    def any(self) -> Place:
        """Raises `IndexError` if there is nobody."""
        return (self.hopeful or self.late)[0]

    def join(self, place: Place) -> None:
        insort(self.hopeful, place, key=by_order)
        self.isl_tokens += place.flight.sized.isl_tokens

    def leave(self, place: Place) -> None:
        (self.late if place.late else self.hopeful).remove(place)
        self.isl_tokens -= place.flight.sized.isl_tokens

    def renew(self) -> None:
        """The orders and times of those who wait have changed."""
        places = [*self.hopeful, *self.late]
        for place in places:
            place.late = False
        self.hopeful, self.late, self.judged = sorted(places, key=by_order), [], None

    def next(self, now_s: float) -> Place | None:
        """Whose turn it is. Those whose time has passed step aside when it comes to them."""
        hopeful, late = self.hopeful, self.late
        while hopeful and hopeful[0].latest_s < now_s:
            place = hopeful.pop(0)
            place.late = True
            insort(late, place, key=by_order)
        if late and (not hopeful or self.turn % _LATE_TURN == _LATE_TURN - 1):
            return late[0]
        return hopeful[0] if hopeful else None

    def wait(self, place: Place, decision: Wait) -> None:
        """The first cannot go."""
        self.judged = place
        self.stage, self.reason = decision.stage, decision.reason
