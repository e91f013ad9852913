"""Router.Route over gRPC: the decision, without sending anything; Router.Traffic: the samples."""

import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn

import grpc

from router.core.request import Leg, RequestProfile, Route, Wait
from router.ports import TrafficSink
from weir import codec
from weir.api.v1 import router_pb2, router_pb2_grpc, telemetry_pb2
from weir.domain.errors import RequestError, UnavailableError
from weir.domain.telemetry import TrafficSample

__all__ = ["SERVICE_NAME", "Answer", "RecentTraffic", "RouteServicer", "decider", "register"]

SERVICE_NAME = "weir.api.v1.Router"

Decide = Callable[[RequestProfile, float], Route | Wait]
Answer = Callable[[router_pb2.RouteRequest], Awaitable[router_pb2.RouteResponse]]
"""Raises `RequestError` or `ValueError` for what is asked wrongly, else `UnavailableError`."""
_KEPT_SAMPLES = 10


class RecentTraffic:
    """Keeps the newest samples for those who ask; a `TrafficSink` that tells `others` too."""

    def __init__(self, others: Sequence[TrafficSink]) -> None:
        self._others = others
        self._samples: deque[telemetry_pb2.TrafficSample] = deque(maxlen=_KEPT_SAMPLES)

    def publish(self, sample: TrafficSample) -> None:
        self._samples.append(codec.encode_traffic(sample))
        for other in self._others:
            other.publish(sample)

    def after(self, sequence: int) -> list[telemetry_pb2.TrafficSample]:
        """Those with a higher one; all if none is as high, for then they are of another process."""
        if not any(sample.sequence >= sequence for sample in self._samples):
            return list(self._samples)
        return [sample for sample in self._samples if sample.sequence > sequence]


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


def decider(decide: Decide, now_s: Callable[[], float]) -> Answer:
    """Answers by the decisions of this process."""

    async def answer(request: router_pb2.RouteRequest) -> router_pb2.RouteResponse:
        decision = decide(_profile(request), now_s())
        if isinstance(decision, Wait):
            lacking = f"{decision.reason.value} in the {decision.stage.value} stage"
            raise UnavailableError(f"the request would wait: {lacking}")
        return router_pb2.RouteResponse(
            class_name=decision.request_class.name,
            isl_tokens=decision.isl_tokens,
            osl_tokens=decision.osl_tokens,
            prefill=None if decision.prefill is None else _leg(decision.prefill),
            decode=_leg(decision.decode),
            reason=decision.reason.value,
        )

    return answer


def register(server: grpc.aio.Server, servicer: RouteServicer) -> None:
    router_pb2_grpc.add_RouterServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]


def _profile(request: router_pb2.RouteRequest) -> RequestProfile:
    """Raises `ValueError` naming the field that is out of range."""

    def optional(name: str) -> Any:
        return getattr(request, name) if request.HasField(name) else None

    def seconds(name: str) -> float | None:
        value_ms = optional(name)
        if value_ms is None:
            return None
        if not (math.isfinite(value_ms) and value_ms > 0.0):
            raise ValueError(f"{name} must be a finite number above 0, not {value_ms}")
        return float(value_ms) / 1e3

    if request.isl_tokens < 1:
        raise ValueError(f"isl_tokens must be at least 1, not {request.isl_tokens}")
    max_tokens = optional("max_tokens")
    if max_tokens is not None and max_tokens < 1:
        raise ValueError(f"max_tokens must be at least 1, not {max_tokens}")
    return RequestProfile(
        model=request.model,
        isl_tokens=request.isl_tokens,
        isl_exact=True,
        max_tokens=max_tokens,
        streaming=True,
        tenant=request.tenant,
        ttft_s=seconds("ttft_ms"),
        itl_s=seconds("itl_ms"),
        priority=optional("priority"),
    )


def _leg(leg: Leg) -> router_pb2.RouteLeg:
    host = f"[{leg.worker.host}]" if ":" in leg.worker.host else leg.worker.host
    return router_pb2.RouteLeg(
        pool_id=leg.pool_id, worker_id=leg.worker.id, url=f"http://{host}:{leg.worker.port}"
    )


async def _abort(
    context: grpc.aio.ServicerContext[Any, Any], code: grpc.StatusCode, message: str
) -> NoReturn:
    await context.abort(code, message)
    raise AssertionError("abort raises")
