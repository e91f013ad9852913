"""The GlobalPlanner's gRPC server with everything that it serves."""

import asyncio
from dataclasses import dataclass

from globalplanner.access.entrance import Entrance
from globalplanner.access.refusals import Refusals
from globalplanner.adapters.callers import Callers
from globalplanner.adapters.offers import Explainer, Operations, Planner, Store, WhatIf
from globalplanner.adapters.operators import OperatorCalls
from globalplanner.adapters.pools import PoolCalls
from globalplanner.adapters.reading import ReadCalls
from globalplanner.adapters.rpc import SERVICE_NAME, Servicer
from globalplanner.adapters.streams import Streams
from globalplanner.metrics import Metrics
from weir.api.v1 import planner_pb2_grpc
from weir.runtime import rpc
from weir.runtime.lifecycle import Stop

__all__ = ["Edge", "Offers", "open_edge"]

_LAST_CALLS_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """What this process can be asked for besides planning; None: not implemented."""

    explainer: Explainer | None = None
    what_if: WhatIf | None = None
    operations: Operations | None = None


class Edge:
    """`run` beside the planner, and `close` at the end."""

    def __init__(self, server: rpc.RpcServer, servicer: Servicer, entrance: Entrance) -> None:
        self._server = server
        self._servicer = servicer
        self._entrance = entrance

    @property
    def port(self) -> int:
        return self._server.port

    async def announce(self, leading: bool) -> None:
        """To the gRPC health service."""
        await self._server.set_serving([SERVICE_NAME], leading)

    async def run(self, stop: Stop) -> None:
        """Until `stop`; then every stream ends with a status."""
        await asyncio.gather(self._entrance.run(stop), self._servicer.run(stop))

    async def close(self) -> None:
        await self._server.close(_LAST_CALLS_S)


async def open_edge(
    listen: str,
    entrance: Entrance,
    planner: Planner,
    store: Store,
    metrics: Metrics,
    offers: Offers,
) -> Edge:
    """Serve from now on. Raises `OSError` naming the address if it cannot be bound."""
    callers, refusals = Callers(entrance.door), Refusals()
    pools = PoolCalls(planner, callers, refusals, metrics)
    servicer = Servicer(
        pools,
        Streams(planner, callers, pools),
        ReadCalls(
            planner,
            callers,
            refusals,
            store,
            explainer=offers.explainer,
            what_if=offers.what_if,
        ),
        OperatorCalls(callers, offers.operations),
    )
    server = await rpc.serve(
        listen,
        lambda grpc_server: planner_pb2_grpc.add_GlobalPlannerServicer_to_server(  # type: ignore[no-untyped-call]
            servicer, grpc_server
        ),
        tls=entrance.tls,
    )
    edge = Edge(server, servicer, entrance)
    await edge.announce(False)
    return edge
