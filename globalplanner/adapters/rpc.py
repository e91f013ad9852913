"""The GlobalPlanner over gRPC."""

import grpc

from globalplanner.service import GlobalPlanner
from globalplanner.standing import PoolStanding, Standing
from weir import codec
from weir.api.v1 import planner_pb2, planner_pb2_grpc
from weir.domain.errors import UnavailableError, UnknownPoolError

__all__ = ["SERVICE_NAME", "Servicer"]

SERVICE_NAME = planner_pb2.DESCRIPTOR.services_by_name["GlobalPlanner"].full_name
"""As the health service knows it: serving while this process leads."""

_Context = grpc.aio.ServicerContext[planner_pb2.ReportRequest, planner_pb2.ReportResponse]


class Servicer(planner_pb2_grpc.GlobalPlannerServicer):
    def __init__(self, planner: GlobalPlanner) -> None:
        self._planner = planner

    async def Report(
        self, request: planner_pb2.ReportRequest, context: _Context
    ) -> planner_pb2.ReportResponse:
        try:
            report = codec.decode_report(request)
            grant = self._planner.report(report)
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except UnknownPoolError as error:
            await context.abort(grpc.StatusCode.NOT_FOUND, str(error))
        except UnavailableError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        return planner_pb2.ReportResponse(
            grant=codec.encode_grant(grant) if grant is not None else None,
            newest_sequence=self._planner.newest_sequence(report.pool_id),
        )

    async def Status(
        self, request: planner_pb2.StatusRequest, context: object
    ) -> planner_pb2.StatusResponse:
        return _status(self._planner.standing())


def _status(standing: Standing) -> planner_pb2.StatusResponse:
    return planner_pb2.StatusResponse(
        term=standing.term,
        leading=standing.term > 0,
        budget_gpus=standing.budget_gpus,
        charged_gpus=standing.charged_gpus,
        peak_charged_gpus=standing.peak_charged_gpus,
        budget_violations=standing.violations,
        pools=[_pool_status(pool) for pool in standing.pools],
        decisions=[
            planner_pb2.Decision(
                at_s=change.at_s,
                pool_id=change.pool_id,
                before_replicas=change.before,
                after_replicas=change.after,
                reason=change.reason,
            )
            for change in standing.changes
        ],
        plan=codec.encode_plan(standing.plan) if standing.plan else None,
        holding=standing.holding,
    )


def _pool_status(pool: PoolStanding) -> planner_pb2.PoolStatus:
    return planner_pb2.PoolStatus(
        pool_id=pool.pool_id,
        granted_replicas=pool.granted,
        charged_gpus=pool.charged_gpus,
        state=codec.encode_state(pool.state) if pool.state else None,
        report_age_s=pool.report_age_s,
        reason=pool.reason,
        wanted_replicas=pool.wanted,
    )
