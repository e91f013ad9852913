"""The GlobalPlanner over gRPC: every method of the service, and how refusals become statuses."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from globalplanner.adapters.callers import Context, refuse_for
from globalplanner.adapters.operators import OperatorCalls
from globalplanner.adapters.pools import PoolCalls
from globalplanner.adapters.reading import ReadCalls
from globalplanner.adapters.streams import Streams
from weir.api.v1 import planner_pb2
from weir.runtime.lifecycle import Stop

__all__ = ["SERVICE_NAME", "Servicer"]

SERVICE_NAME = planner_pb2.DESCRIPTOR.services_by_name["GlobalPlanner"].full_name
"""As the health service knows it: serving while this process leads."""

_Call = Callable[[Any, Context], Awaitable[Any]]


class Servicer:
    """`run` beside the server, and let it return before the server is stopped."""

    def __init__(
        self, pools: PoolCalls, streams: Streams, reading: ReadCalls, operators: OperatorCalls
    ) -> None:
        self._streams = streams
        self.Report = _answered(pools.report)
        self.Status = _answered(lambda _, context: reading.status(context))
        self.Health = _answered(lambda _, context: reading.health(context))
        self.Explain = _answered(reading.explain)
        self.WhatIf = _answered(reading.what_if)
        self.SetBudget = _answered(operators.set_budget)
        self.SetSlo = _answered(operators.set_slo)
        self.Freeze = _answered(operators.freeze)
        self.Drain = _answered(operators.drain)
        self.Approve = _answered(operators.approve)
        self.ReportStream = _answered(lambda _, context: streams.report(context))
        self.WatchPlan = _answered(lambda _, context: streams.plan(context))

    async def run(self, stop: Stop) -> None:
        """Look after streams until `stop`; then each ends with a status."""
        await self._streams.run(stop)


def _answered(call: _Call) -> _Call:
    """`call`, whose errors become statuses."""

    async def answer(request: Any, context: Context) -> Any:
        try:
            return await call(request, context)
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            return await refuse_for(context, error)

    return answer
