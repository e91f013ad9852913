"""How a simulated pool planner's reports reach a GlobalPlanner; a `GrantSource`.

By a stream while that works, by single calls when it does not, as `poolplanner.adapters` has it.
"""

from collections.abc import Callable
from typing import Protocol

from poolplanner.ports import Answer, StaleReportError
from weir.domain.errors import UnavailableError
from weir.domain.planning import Grant, PoolReport
from weir.simulator.process import Process
from weir.simulator.roles.desk import Desk
from weir.simulator.roles.plane import Plane
from weir.simulator.roles.report_stream import ReportStream, StreamBrokenError, Told

__all__ = ["Find", "ReportLink"]

_TIMEOUT_S = 2.0
_FIRST_RETRY_S = 1.0
_LONGEST_RETRY_S = 60.0


class Planner(Protocol):
    """A GlobalPlanner's process."""

    @property
    def process(self) -> Process: ...

    @property
    def desk(self) -> Desk | None: ...


Find = Callable[[], Planner | None]


class ReportLink:
    """Of one life of the planner. `find` names whom a report reaches now, None if nobody is there.

    `pushed` is called when there is a new grant, `answered` with every grant that answers a report
    and when that was sent, by the planner's own clock.
    """

    def __init__(
        self,
        plane: Plane,
        process: Process,
        find: Find,
        *,
        pushed: Callable[[], None],
        answered: Callable[[Grant, float], None],
        clock_s: Callable[[], float],
    ) -> None:
        self._plane = plane
        self._process = process
        self._find = find
        self._pushed = pushed
        self._answered = answered
        self._clock_s = clock_s
        self._stream: ReportStream | None = None
        self._target: Planner | None = None
        """Who is at the other end of the stream."""
        self._failures = 0
        self._retry_at_s = 0.0

    async def report(self, report: PoolReport) -> Answer:
        target = self._find()
        if target is None:
            raise UnavailableError("no GlobalPlanner is there")
        sent_at_s = self._clock_s()
        told = await self._told(target, report)
        if told.newest_sequence > report.sequence:
            raise StaleReportError(sequence=report.sequence, newest=told.newest_sequence)
        if told.grant is not None:
            self._answered(told.grant, sent_at_s)
        return Answer(grant=told.grant, targets=told.targets)

    async def _told(self, target: Planner, report: PoolReport) -> Told:
        broken = False
        if self._plane.world.now_s >= self._retry_at_s:
            try:
                return await self._by_stream(target, report)
            except StreamBrokenError:
                broken, self._stream = True, None

        def single() -> Told | object:
            return _desk(target).single(report)

        told = await self._plane.network.ask(
            self._process, target.process, "report", single, timeout_s=_TIMEOUT_S / 2.0
        )
        assert isinstance(told, Told)
        if broken:
            self._pause()
        return told

    async def _by_stream(self, target: Planner, report: PoolReport) -> Told:
        if self._stream is None or self._stream.broken or target is not self._target:
            self._target = target
            self._stream = ReportStream(self._plane.world.events, self._process, self._pushed)

        def send(stream: ReportStream) -> None:
            self._plane.network.send(
                self._process,
                target.process,
                "report",
                lambda: _desk(target).by_stream(report, stream),
            )

        told = await self._stream.report(report.sequence, send, _TIMEOUT_S / 2.0)
        self._failures = 0
        return told

    def _pause(self) -> None:
        """A single call worked where the stream did not; the first time it may just have ended."""
        pause_s = min(_LONGEST_RETRY_S, _FIRST_RETRY_S * 2.0 ** min(self._failures, 8))
        self._retry_at_s = self._plane.world.now_s + pause_s if self._failures else 0.0
        self._failures += 1


def _desk(target: Planner) -> Desk:
    desk = target.desk
    if desk is None:
        raise UnavailableError(f"{target.process.name} is not there")
    return desk
