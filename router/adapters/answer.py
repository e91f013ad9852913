"""The answer to Router.Route, as messages."""

import math
from collections.abc import Awaitable, Callable
from typing import Any

from router.core.request import Leg, RequestProfile, Route, Wait
from weir.api.v1 import router_pb2
from weir.domain.errors import UnavailableError

__all__ = ["Answer", "decider"]

Decide = Callable[[RequestProfile, float], Route | Wait]
Answer = Callable[[router_pb2.RouteRequest], Awaitable[router_pb2.RouteResponse]]
"""Raises `RequestError` or `ValueError` for what is asked wrongly, else `UnavailableError`."""


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
