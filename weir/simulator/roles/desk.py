"""Where one life of a GlobalPlanner takes reports in and tells pools of their grants.

As its gRPC servicer does: a single report waits a moment for the write that its grant needs, one
that comes by a stream is answered at once, and later grants are pushed as soon as they may be sent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from globalplanner.core.report import check_document
from globalplanner.service import GlobalPlanner
from poolplanner.ports import RefusedError
from weir.domain.errors import UnavailableError, UnknownPoolError, WeirError
from weir.domain.fleet import PoolSpec
from weir.domain.ids import PoolId
from weir.domain.planning import PoolReport
from weir.simulator.process import Process
from weir.simulator.roles.plane import Plane
from weir.simulator.roles.report_stream import ReportStream, Told
from weir.simulator.tasks import Reply

__all__ = ["Desk"]

_WRITE_WAIT_S = 0.5

_Number = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A single report that has no answer yet."""

    report: PoolReport
    until_s: float
    reply: Reply[Told]


class Desk:
    """`taken` is called after each report."""

    def __init__(
        self,
        plane: Plane,
        process: Process,
        planner: GlobalPlanner,
        taken: Callable[[], None],
    ) -> None:
        self._plane = plane
        self._process = process
        self._planner = planner
        self._taken = taken
        self._life = process.life
        self._waiting: list[_Waiting] = []
        self._streams: dict[PoolId, tuple[ReportStream, PoolReport]] = {}
        self._sent: dict[PoolId, _Number | None] = {}
        """By stream: the grant that it was told last."""
        self._looks = False
        planner.on_news.append(self._look_soon)

    def single(self, report: PoolReport) -> Told | Reply[Told]:
        """Raises what the report is refused with, or `UnavailableError`."""
        self._take(report)
        if not self._planner.pending(report.pool_id):
            return self._answer(report)
        events = self._plane.world.events
        waiting = _Waiting(report, events.now_s + _WRITE_WAIT_S, Reply())
        self._waiting.append(waiting)
        events.after(_WRITE_WAIT_S, self._look)
        return waiting.reply

    def by_stream(self, report: PoolReport, stream: ReportStream) -> None:
        """The stream ends if the report is refused: a single one will find out why."""
        try:
            self._take(report)
            self._streams[report.pool_id] = stream, report
            self._tell(report.pool_id)
        except WeirError:
            self._streams.pop(report.pool_id, None)
            self._end(stream)

    def _take(self, report: PoolReport) -> None:
        planner = self._planner
        try:
            check_document(report, self._specs(report.pool_id))
            planner.report(report)
        except (ValueError, UnknownPoolError) as error:
            raise RefusedError(str(error)) from None
        self._taken()

    def _specs(self, pool_id: PoolId) -> Sequence[PoolSpec]:
        """What the pool may be in its planner's document, as the servicer has it."""
        planner = self._planner
        account = planner.ledger.accounts.get(pool_id) if planner.ledger is not None else None
        if account is None or account.leaving:
            return ()
        return (planner.fleet.pool(pool_id), account.spec) if account.misfit else (account.spec,)

    def _look_soon(self) -> None:
        if not self._looks and (self._waiting or self._streams):
            self._looks = True
            self._plane.world.events.after(0.0, self._look)

    def _look(self, _: object = None) -> None:
        """Who waits, and who may be told something new?"""
        self._looks = False
        if not self._process.alive or self._process.life != self._life:
            return
        if self._waiting:
            self._answer_waiting()
        if self._planner.not_ready() is not None:
            for stream, _report in self._streams.values():
                self._end(stream)
            self._streams.clear()
        for pool_id in self._streams:
            if self._number(pool_id) not in (None, self._sent[pool_id]):
                self._tell(pool_id)

    def _answer_waiting(self) -> None:
        now_s = self._plane.world.now_s
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if self._planner.pending(each.report.pool_id) and now_s < each.until_s:
                self._waiting.append(each)
                continue
            try:
                each.reply.answer(self._answer(each.report))
            except UnavailableError as error:
                each.reply.fail(error)

    def _tell(self, pool_id: PoolId) -> None:
        stream, report = self._streams[pool_id]
        self._sent[pool_id] = self._number(pool_id)
        told = self._answer(report)
        network = self._plane.network
        network.send_value(self._process, stream.client, "report", stream.take, told)

    def _end(self, stream: ReportStream) -> None:
        self._plane.network.send(self._process, stream.client, "report", stream.end)

    def _number(self, pool_id: PoolId) -> _Number | None:
        grant = self._planner.grant_of(pool_id)
        return grant.number if grant is not None else None

    def _answer(self, report: PoolReport) -> Told:
        """As of now. Raises `UnavailableError` if nobody leads here."""
        planner = self._planner
        if (why := planner.not_ready()) is not None:
            raise UnavailableError(f"this GlobalPlanner {why}")
        grant = planner.grant_of(report.pool_id)
        if grant is not None:
            self._plane.world.invariants.grants.sent(planner, grant)
        newest = planner.newest_sequence(report.pool_id)
        return Told(grant=grant, newest_sequence=newest, targets=planner.targets)
