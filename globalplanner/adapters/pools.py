"""Reports of pools: who may hand them in, what is refused, and what is answered."""

from collections.abc import Callable, Container, Sequence

import grpc

from globalplanner.access.refusals import Refusals
from globalplanner.adapters.callers import Callers, Context, refuse
from globalplanner.adapters.offers import Planner
from globalplanner.core.budget.ledger import Ledger
from globalplanner.core.report import check_document, check_report, known_classes_only
from globalplanner.metrics import Metrics
from weir import codec
from weir.api.v1 import planner_pb2
from weir.domain.errors import UnavailableError, UnknownPoolError
from weir.domain.fleet import PoolSpec
from weir.domain.ids import ClassName, PoolId
from weir.domain.planning import PoolReport
from weir.runtime.clock import Clock

__all__ = ["PoolCalls", "read_report"]

_Specs = Callable[[PoolId], Sequence[PoolSpec]]
_WRITE_WAIT_S = 0.5
"""How long a report's answer waits for the record to be written."""


class PoolCalls:
    """What a pool planner may call. Every refusal is counted, and shows at its pool."""

    def __init__(
        self, planner: Planner, callers: Callers, refusals: Refusals, metrics: Metrics
    ) -> None:
        self._planner = planner
        self._callers = callers
        self._refusals = refusals
        self._metrics = metrics

    async def report(
        self, request: planner_pb2.ReportRequest, context: Context
    ) -> planner_pb2.ReportResponse:
        """Answers with the grant that comes of this report, if it is written in time."""
        report = await self.taken(request, context)
        until_s = Clock.wall_s() + _WRITE_WAIT_S
        while self._planner.pending(report.pool_id) and (left_s := until_s - Clock.wall_s()) > 0.0:
            await self._planner.news(left_s)
        return self.answer(report)

    async def taken(self, request: planner_pb2.ReportRequest, context: Context) -> PoolReport:
        """The report, taken in. Refuses one that cannot be true, or is not the caller's."""
        await self._admit(request, context)
        ledger = self._leading()
        classes = {each.name for each in self._planner.fleet.classes}
        try:
            report, strange = read_report(request, self._specs(ledger), classes, term=ledger.term)
        except UnknownPoolError:
            self._metrics.refused("unknown_pool")
            raise
        except ValueError as error:
            self._metrics.refused("invalid")
            raise self._refused(ledger, request.pool_id, error) from None
        try:
            self._planner.report(report)
        except ValueError as error:
            raise self._refused(ledger, report.pool_id, error) from None
        self._refusals.taken(report.pool_id, strange)
        self._metrics.strange_classes(len(strange))
        return report

    def answer(self, report: PoolReport) -> planner_pb2.ReportResponse:
        """What may be sent to the pool now. Raises `UnavailableError` if nobody leads here."""
        self._leading()
        grant = self._planner.grant_of(report.pool_id)
        return planner_pb2.ReportResponse(
            grant=codec.encode_grant(grant) if grant is not None else None,
            newest_sequence=self._planner.newest_sequence(report.pool_id),
            pool_id=report.pool_id,
            targets={
                str(name): codec.encode_targets(targets)
                for name, targets in self._planner.targets.items()
            },
        )

    async def _admit(self, request: planner_pb2.ReportRequest, context: Context) -> None:
        """Ends the call unless who calls may speak for the pool."""
        try:
            caller = await self._callers.known(context)
        except grpc.aio.AbortError:
            self._metrics.refused("unauthenticated")
            why = f"nobody is known by what {context.peer()} shows"
            self._refusals.turned_away("", why, Clock.wall_s())
            raise
        if not caller.may_report(request.pool_id):
            self._metrics.refused("forbidden")
            text = f"{caller.name} may not report for pool {request.pool_id!r}"
            self._refusals.turned_away(caller.name, text, Clock.wall_s())
            await refuse(context, grpc.StatusCode.PERMISSION_DENIED, text)

    def _leading(self) -> Ledger:
        ledger = self._planner.ledger
        if ledger is None:
            self._metrics.refused("not_leading")
            raise UnavailableError(f"this GlobalPlanner {self._planner.not_ready()}")
        return ledger

    def _specs(self, ledger: Ledger) -> _Specs:
        """What a pool may be in its planner's document; raises `UnknownPoolError`.

        One that the document has lost may say what it likes until it is gone. One whose
        description cannot count yet may be as it was.
        """

        def specs(pool_id: PoolId) -> Sequence[PoolSpec]:
            account = ledger.accounts.get(pool_id)
            if account is None:
                raise UnknownPoolError(pool_id)
            if account.leaving:
                return ()
            if account.misfit:
                return (self._planner.fleet.pool(pool_id), account.spec)
            return (account.spec,)

        return specs

    def _refused(self, ledger: Ledger, pool_id: str, error: ValueError) -> ValueError:
        """Note it at the pool; the error says of which pool the report was."""
        if pool_id in ledger.accounts:
            self._refusals.refused(PoolId(pool_id), str(error), Clock.wall_s())
        return ValueError(f"{error} (report of pool {pool_id!r})")


def read_report(
    message: planner_pb2.ReportRequest,
    specs: _Specs,
    classes: Container[ClassName],
    *,
    term: int = 0,
) -> tuple[PoolReport, frozenset[ClassName]]:
    """A report that can be true as far as one can know, and which classes it left out.

    Raises `ValueError` naming the field that is wrong, and what `specs` raises.
    """
    report = codec.decode_report(message)
    check_report(report, term=term)
    check_document(report, specs(report.pool_id))
    return known_classes_only(report, classes)
