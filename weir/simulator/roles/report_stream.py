"""A pool planner's end of its stream to a GlobalPlanner, in virtual time.

It is worse than a real one, whose messages come in order or not at all: they are lost, late,
doubled and overtaken here like all others.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from weir.domain.ids import ClassName
from weir.domain.overrides import ClassTargets
from weir.domain.planning import Grant
from weir.simulator.events import EventHeap
from weir.simulator.process import Process
from weir.simulator.tasks import Reply

__all__ = ["ReportStream", "StreamBrokenError", "Told"]


class StreamBrokenError(Exception):
    """Nothing can be had from this stream any more, for now or for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One message of a GlobalPlanner: what it answers, or pushes."""

    grant: Grant | None
    newest_sequence: int
    targets: Mapping[ClassName, ClassTargets]


class ReportStream:
    """`pushed` is called when there is a grant that no report has been answered with."""

    def __init__(self, events: EventHeap, client: Process, pushed: Callable[[], None]) -> None:
        self.client = client
        self.broken = False
        self._events = events
        self._pushed = pushed
        self._waits_for = 0
        self._answer: Reply[Told | None] = Reply()
        self._told: tuple[int, int] | None = None

    async def report(
        self, sequence: int, send: Callable[["ReportStream"], None], timeout_s: float
    ) -> Told:
        """The first answer that knows this report, or a newer one. Raises `StreamBrokenError`."""
        self._waits_for = sequence
        answer: Reply[Told | None] = Reply()
        self._answer = answer
        self._events.after(timeout_s, answer.answer, None)
        send(self)
        told = await answer
        if told is None:
            self.broken = True
            raise StreamBrokenError
        return told

    def take(self, told: Told) -> None:
        """A message has come."""
        grant = told.grant.number if told.grant is not None else None
        if not self._answer.done and told.newest_sequence >= self._waits_for:
            self._answer.answer(told)
        elif grant != self._told and not self.broken:
            self._pushed()
        self._told = grant

    def end(self) -> None:
        """The GlobalPlanner has ended it."""
        self.broken = True
        self._answer.answer(None)
