"""One simulated replica: an engine in virtual time and the calls that are on it.

An engine says when something will change (`due_s`); that is an event. When a call that comes or
goes changes the due time, the event of before finds another time and does nothing.
"""

from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass
from enum import Enum, auto
from math import inf

from weir.domain.ids import PoolId, WorkerId
from weir.domain.profile import EngineProfile
from weir.engine.request import Refusal, Request
from weir.engine.run import EngineRun
from weir.simulator.call import Call
from weir.simulator.events import EventHeap

__all__ = ["Listener", "Phase", "Replica"]


class Phase(Enum):
    """All but GONE hold their GPUs."""

    STARTING = auto()
    READY = auto()
    TERMINATING = auto()
    GONE = auto()


@dataclass(slots=True)
class Listener:
    """Who is told what becomes of calls on a replica."""

    first: Callable[[Call, "Replica"], None] | None = None
    """The first token of this leg; None if nobody wants to know."""
    finished: Callable[[Call, "Replica"], None] = lambda call, replica: None
    lost: Callable[[Call, "Replica"], None] = lambda call, replica: None
    """The replica has died under it."""
    emptied: Callable[["Replica"], None] = lambda replica: None
    """A leaving replica has no calls any more."""


class Replica:
    __slots__ = (
        "_calls",
        "_due_s",
        "_events",
        "_listener",
        "cap",
        "drained_by_s",
        "gpus",
        "id",
        "load",
        "phase",
        "pool_id",
        "profile",
        "ready_at_s",
        "run",
        "started_at_s",
    )

    def __init__(
        self,
        id: WorkerId,
        pool_id: PoolId,
        profile: EngineProfile,
        gpus: int,
        events: EventHeap,
        listener: Listener,
    ) -> None:
        self.id = id
        self.pool_id = pool_id
        self.profile = profile
        self.gpus = gpus
        self.phase = Phase.STARTING
        self.started_at_s = events.now_s
        self.ready_at_s: float | None = None
        self.drained_by_s = inf
        """Told to leave, it has so long for the calls that are on it."""
        self.load = 0.0
        """Free for the gateway's use, as is `cap`: the most load it wants to give."""
        self.cap = inf
        self.run = EngineRun(profile)
        self._events = events
        self._listener = listener
        self._calls: dict[Hashable, Call] = {}
        self._due_s = inf

    @property
    def alive(self) -> bool:
        return self.phase is not Phase.GONE

    @property
    def in_flight(self) -> int:
        return len(self._calls)

    @property
    def calls(self) -> Collection[Call]:
        """Those on it; a prefill leg stays until its KV has been fetched."""
        return self._calls.values()

    def submit(self, call: Call, request: Request) -> Refusal | None:
        """Put a call on the engine; `request.id` is the call's."""
        refusal = self.run.submit(request, self._events.now_s)
        if refusal is None:
            self._calls[call.id] = call
            self._follow()
        return refusal

    def abort(self, call: Call) -> None:
        """The client has gone. Doing it twice changes nothing."""
        if self._calls.pop(call.id, None) is not None:
            self.run.abort(call.id, self._events.now_s)
            self._follow()
            if not self._calls and self.phase is Phase.TERMINATING:
                self._listener.emptied(self)

    def release(self, call: Call) -> None:
        """The KV that a finished prefill leg left here has been fetched."""
        if self._calls.pop(call.id, None) is not None:
            self.run.release(call.id, self._events.now_s)
            self._follow()
            if not self._calls and self.phase is Phase.TERMINATING:
                self._listener.emptied(self)

    def die(self) -> None:
        """End at once; whoever was on it is lost."""
        lost, self._calls = self._calls, {}
        self.phase = Phase.GONE
        self._due_s = inf
        for call in lost.values():
            self._listener.lost(call, self)

    def _follow(self) -> None:
        due_s = self.run.due_s
        if due_s != self._due_s:
            self._due_s = due_s
            if due_s < inf:
                self._events.at(due_s, self._advance, due_s)

    def _advance(self, due_s: float) -> None:
        if due_s != self._due_s:
            return
        outcome = self.run.advance()
        calls, listener = self._calls, self._listener
        # The engine has begun its next iteration already; listeners may submit to it.
        self._due_s = next_s = self.run.due_s
        if next_s < inf:
            self._events.at(next_s, self._advance, next_s)
        if listener.first is not None:
            for sequence in outcome.first:
                listener.first(calls[sequence.id], self)
        for sequence in outcome.finished:
            call = calls[sequence.id] if sequence.request.hold else calls.pop(sequence.id)
            call.cached_tokens = sequence.cached_tokens
            listener.finished(call, self)
        if not calls and self.phase is Phase.TERMINATING:
            listener.emptied(self)
