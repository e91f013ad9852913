"""Reports and status over gRPC."""

from typing import Any

import grpc

from globalplanner.core.account import Account
from globalplanner.core.ledger import Ledger
from globalplanner.metrics import Metrics
from globalplanner.service import GlobalPlanner
from weir import codec
from weir.api.v1 import planner_pb2, planner_pb2_grpc
from weir.domain.errors import UnavailableError, UnknownPoolError
from weir.runtime.clock import Clock

__all__ = ["SERVICE", "Servicer"]

SERVICE = "weir.api.v1.GlobalPlanner"
"""Name of the service in the gRPC health protocol."""


class Servicer(planner_pb2_grpc.GlobalPlannerServicer):
    def __init__(self, planner: GlobalPlanner, metrics: Metrics) -> None:
        self._planner = planner
        self._metrics = metrics

    async def Report(
        self, request: planner_pb2.ReportRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> planner_pb2.ReportResponse:
        try:
            grant = self._planner.report(codec.decode_report(request))
        except UnknownPoolError as error:
            self._metrics.refused("unknown_pool")
            await context.abort(grpc.StatusCode.NOT_FOUND, str(error))
        except ValueError as error:
            self._metrics.refused("invalid")
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except UnavailableError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        encoded = codec.encode_grant(grant) if grant is not None else None
        return planner_pb2.ReportResponse(grant=encoded)

    async def Status(
        self, request: planner_pb2.StatusRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> planner_pb2.StatusResponse:
        ledger = self._planner.ledger
        plan = self._planner.plan
        return planner_pb2.StatusResponse(
            term=ledger.term if ledger is not None else 0,
            leading=ledger is not None,
            budget_gpus=ledger.limits[0].gpus if ledger is not None else 0,
            charged_gpus=ledger.charged_gpus if ledger is not None else 0,
            peak_charged_gpus=self._planner.peak_charged_gpus,
            budget_violations=self._planner.violations,
            pools=_pools(ledger) if ledger is not None else [],
            decisions=[
                planner_pb2.Decision(
                    at_s=change.at_s,
                    pool_id=change.pool_id,
                    before_replicas=change.before,
                    after_replicas=change.after,
                    reason=change.reason,
                )
                for change in self._planner.changes
            ],
            plan=codec.encode_plan(plan) if plan is not None else None,
            holding=self._planner.holding,
        )


def _pools(ledger: Ledger) -> list[planner_pb2.PoolStatus]:
    return [_pool(ledger, account) for _, account in sorted(ledger.accounts.items())]


def _pool(ledger: Ledger, account: Account) -> planner_pb2.PoolStatus:
    report = account.report
    waits = ledger.waits_for(account.spec.id)
    return planner_pb2.PoolStatus(
        pool_id=account.spec.id,
        granted_replicas=account.granted,
        wanted_replicas=account.target,
        charged_gpus=account.charged * account.spec.gpus_per_replica,
        state=codec.encode_state(report.state) if report is not None else None,
        report_age_s=Clock.wall_s() - account.reported_at_s if report is not None else None,
        reason=f"{account.reason}; {waits}" if waits else account.reason,
    )
