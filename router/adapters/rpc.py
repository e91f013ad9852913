"""Router.Route over gRPC: the decision, without sending anything; Router.Traffic: the samples.

Imported only where it is served: gRPC takes 8 MiB.
"""

from typing import Any, NoReturn

import grpc

from router.adapters.answer import Answer
from router.adapters.recent import RecentTraffic
from weir.api.v1 import router_pb2, router_pb2_grpc
from weir.domain.errors import RequestError, UnavailableError

__all__ = ["SERVICE_NAME", "RouteServicer", "register"]

SERVICE_NAME = "weir.api.v1.Router"


class RouteServicer(router_pb2_grpc.RouterServicer):
    def __init__(self, answer: Answer, recent: RecentTraffic) -> None:
        self._answer = answer
        self._recent = recent

    async def Traffic(
        self, request: router_pb2.TrafficRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> router_pb2.TrafficResponse:
        return router_pb2.TrafficResponse(samples=self._recent.after(request.after_sequence))

    async def Route(
        self, request: router_pb2.RouteRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> router_pb2.RouteResponse:
        try:
            return await self._answer(request)
        except (RequestError, ValueError) as error:
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except UnavailableError as error:
            await _abort(context, grpc.StatusCode.UNAVAILABLE, str(error))


def register(server: grpc.aio.Server, servicer: RouteServicer) -> None:
    router_pb2_grpc.add_RouterServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]


async def _abort(
    context: grpc.aio.ServicerContext[Any, Any], code: grpc.StatusCode, message: str
) -> NoReturn:
    await context.abort(code, message)
    raise AssertionError("abort raises")
