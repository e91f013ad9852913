"""Answers that tell how their request was routed: one header of JSON, the body untouched."""

import json
from collections.abc import Sequence
from math import isfinite
from typing import Any

from router.core.explain import ExplainedFlight, PoolView, Refused
from router.core.flight import Flight
from router.core.request import Leg, Shed
from router.frontend.delivery import Delivery, Lines
from router.frontend.envelope import Endpoint
from router.frontend.hints import EXPLAIN, Hints
from router.frontend.relay import Relay
from weir.domain.errors import RequestError
from weir.http1.messages import Header
from weir.http1.server import Responder

__all__ = ["ExplainedDelivery", "ExplainedError", "explanation"]

_MOST_BYTES = 3072
"""Many clients and proxies take heads of 4 or 8 KiB, and not more."""


def explanation(flight: ExplainedFlight, hints: Hints, shed: Shed | None = None) -> bytes:
    """One line of JSON in ASCII. Pools that would make it too long are counted as `more`."""
    told = _told(flight, hints, shed)
    return _with_pools(told, sorted(flight.pools, key=lambda view: _rank(view, flight)))


class ExplainedError(RequestError):
    """The same error, for an answer with the explanation in `headers`."""

    def __init__(self, error: RequestError, refused: Refused, hints: Hints) -> None:
        super().__init__(str(error), status=error.status, code=error.code, param=error.param)
        told = _asked(refused, hints) | {"why": error.code}
        self.headers: list[Header] = [(EXPLAIN, _with_pools(told, refused.pools))]


def _with_pools(told: dict[str, Any], views: Sequence[PoolView]) -> bytes:
    pools: list[dict[str, Any]] = []
    room = _MOST_BYTES - len(_line(told))
    told["pools"] = pools
    for index, view in enumerate(views):
        shown = _pool(view)
        room -= len(_line(shown)) + 1
        if room < 0:
            told["more"] = len(views) - index
            break
        pools.append(shown)
    return _line(told)


def _told(flight: ExplainedFlight, hints: Hints, shed: Shed | None) -> dict[str, Any]:
    route = flight.sent_on
    told = _asked(flight, hints) | {"waited_ms": _ms(flight.placed_s - flight.arrived_s)}
    if shed is not None:
        told |= {"why": shed.reason.value, "waited_for": shed.waited_for.value}
        told["retry_after_s"] = round(shed.retry_after_s, 1)
    elif route is not None:
        told |= {"why": route.reason.value, "routes": flight.routes}
        told |= {"prefill": _leg(route.prefill), "decode": _leg(route.decode)}
        if flight.profile.ties is not None:
            told["cached"] = (route.prefill or route.decode).cached_tokens
    return told


def _asked(request: ExplainedFlight | Refused, hints: Hints) -> dict[str, Any]:
    """What the request was taken for."""
    sized = request.sized
    return {
        "model": sized.model.name,
        "class": sized.request_class.name,
        "priority": request.priority,
        "isl": sized.isl_tokens,
        "isl_exact": request.profile.isl_exact,
        "osl": sized.osl_tokens,
        "ttft_target_ms": _ms(sized.ttft_s),
        "itl_target_ms": _ms(sized.itl_s),
        "hints": sorted(hints.sources.values()),
        "ignored": dict(hints.ignored),
    }


def _rank(view: PoolView, flight: ExplainedFlight) -> tuple[bool, float]:
    """Those that were taken first, then by share."""
    route = flight.sent_on
    taken = {leg.pool_id for leg in (route.prefill, route.decode) if leg} if route else set()
    return view.pool_id not in taken, -view.share


def _pool(view: PoolView) -> dict[str, Any]:
    shown = {
        "pool": view.pool_id,
        "verdict": view.verdict.value,
        "share": round(view.share, 3),
        "ttft_ms": _ms(view.ttft_s),
        "itl_ms": _ms(view.itl_s),
        "cached": view.cached_tokens or None,
        "cached_by": "engine" if view.cached_exact else None,
    }
    return {key: value for key, value in shown.items() if value is not None}


def _leg(leg: Leg | None) -> str | None:
    return None if leg is None else f"{leg.pool_id}/{leg.worker.id}"


def _ms(time_s: float | None) -> float | None:
    return None if time_s is None or not isfinite(time_s) else round(1e3 * time_s, 1)


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class ExplainedDelivery(Delivery):
    """A delivery whose answer, whatever it is, has the explanation."""

    def __init__(
        self,
        lines: Lines,
        responder: Responder,
        endpoint: Endpoint,
        flight: Flight,
        request_id: bytes,
        body: bytes,
        headers: list[Header],
        hints: Hints,
    ) -> None:
        super().__init__(lines, responder, endpoint, flight, request_id, body, headers)
        self._hints = hints
        self._refusal: Shed | None = None

    def _relay_in(self, *, raw: bool) -> Relay:
        relay = _ExplainedRelay(
            self._responder, self._flight, self._lines.now_s, self._request_id, raw=raw
        )
        relay.delivery = self
        return relay

    def _shed(self, shed: Shed) -> None:
        self._refusal = shed
        flight = self._flight
        if isinstance(flight, ExplainedFlight):
            flight.see_pools(self._lines.now_s())
        super()._shed(shed)

    def _send(self, status: int, headers: list[Header], body: bytes) -> None:
        headers = [header for header in headers if header[0] != EXPLAIN]
        super()._send(status, [*headers, *self.explained()], body)

    def explained(self) -> list[Header]:
        """The header, as of now."""
        flight = self._flight
        if not isinstance(flight, ExplainedFlight):
            return []
        return [(EXPLAIN, explanation(flight, self._hints, self._refusal))]


class _ExplainedRelay(Relay):
    delivery: ExplainedDelivery

    def on_response(self, status: int, headers: list[Header]) -> None:
        super().on_response(status, headers)
        self.headers.extend(self.delivery.explained())
