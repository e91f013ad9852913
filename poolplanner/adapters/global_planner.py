"""Reports to the GlobalPlanner over gRPC."""

import grpc

from poolplanner.adapters.rpc import failure
from poolplanner.ports import Answer, StaleReportError
from weir import codec
from weir.api.v1 import planner_pb2_grpc
from weir.domain.errors import UnavailableError
from weir.domain.ids import ClassName
from weir.domain.planning import PoolReport

__all__ = ["GlobalPlannerClient"]


class GlobalPlannerClient:
    """Each call ends within `timeout_s` wall seconds."""

    def __init__(self, channel: grpc.aio.Channel, target: str, *, timeout_s: float) -> None:
        self._stub = planner_pb2_grpc.GlobalPlannerStub(channel)  # type: ignore[no-untyped-call]
        self._target = target
        self._timeout_s = timeout_s

    async def report(self, report: PoolReport) -> Answer:
        what = "report to the GlobalPlanner"
        try:
            answer = await self._stub.Report(codec.encode_report(report), timeout=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            raise failure(what, self._target, error) from None
        if answer.newest_sequence > report.sequence:
            raise StaleReportError(sequence=report.sequence, newest=answer.newest_sequence)
        try:
            return Answer(
                grant=codec.decode_grant(answer.grant) if answer.HasField("grant") else None,
                targets={
                    ClassName(name): codec.decode_targets(targets)
                    for name, targets in answer.targets.items()
                },
            )
        except ValueError as error:
            raise UnavailableError(f"{what} at {self._target}: bad answer: {error}") from None
