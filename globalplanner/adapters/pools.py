"""Reports of pools: who may hand them in, what is refused, and what is answered."""

import grpc

from globalplanner.adapters.callers import Callers, Context, refuse
from globalplanner.adapters.offers import Planner
from globalplanner.core.report import check_document, check_report, known_classes_only
from globalplanner.metrics import Metrics
from globalplanner.refusals import Refusals
from weir import codec
from weir.api.v1 import planner_pb2
from weir.domain.errors import UnavailableError, UnknownPoolError
from weir.domain.fleet import Fleet
from weir.domain.ids import ClassName, PoolId
from weir.domain.planning import Grant, PoolReport
from weir.runtime.clock import Clock

__all__ = ["PoolCalls", "read_report"]

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
        try:
            fleet, term = self._planner.fleet, self._planner.term
            report, strange = read_report(request, fleet, term=term)
        except UnknownPoolError:
            self._metrics.refused("unknown_pool")
            raise
        except ValueError as error:
            self._metrics.refused("invalid")
            raise self._refused(request.pool_id, error) from None
        try:
            self._planner.report(report)
        except ValueError as error:
            raise self._refused(report.pool_id, error) from None
        self._refusals.taken(report.pool_id, strange)
        self._metrics.strange_classes(len(strange))
        return report

    def grant_of(self, report: PoolReport) -> Grant | None:
        """What may be sent now to the pool. Raises `UnavailableError` if nobody leads here."""
        if (why := self._planner.not_ready()) is not None:
            raise UnavailableError(f"this GlobalPlanner {why}")
        return self._planner.grant_of(report.pool_id)

    def answer(self, report: PoolReport) -> planner_pb2.ReportResponse:
        """As of now. Raises `UnavailableError` if nobody leads here."""
        grant = self.grant_of(report)
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
            raise
        if not caller.may_report(request.pool_id):
            self._metrics.refused("forbidden")
            text = f"{caller.name} may not report for pool {request.pool_id!r}"
            await refuse(context, grpc.StatusCode.PERMISSION_DENIED, text)

    def _refused(self, pool_id: str, error: ValueError) -> ValueError:
        """Note it at the pool; the error says of which pool the report was."""
        if any(pool.id == pool_id for pool in self._planner.fleet.pools):
            self._refusals.refused(PoolId(pool_id), str(error), Clock.wall_s())
        return ValueError(f"{error} (report of pool {pool_id!r})")


def read_report(
    message: planner_pb2.ReportRequest, fleet: Fleet, *, term: int = 0
) -> tuple[PoolReport, frozenset[ClassName]]:
    """A report that can be true as far as one can know, and which classes it left out.

    Raises `ValueError` naming the field that is wrong, `UnknownPoolError`.
    """
    report = codec.decode_report(message)
    check_report(report, term=term)
    spec = next((pool for pool in fleet.pools if pool.id == report.pool_id), None)
    if spec is None:
        raise UnknownPoolError(report.pool_id)
    check_document(report, spec)
    return known_classes_only(report, {each.name for each in fleet.classes})
