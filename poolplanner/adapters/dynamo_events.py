"""Forward-pass metrics (version 1) from Dynamo's event plane, where that is NATS."""

import asyncio
import math
from collections.abc import Mapping
from typing import Any

import msgpack

from poolplanner.core.observe import Telemetry
from poolplanner.core.passes import ForwardPass, Passes
from poolplanner.metrics import Metrics
from weir.domain.fleet import Role
from weir.runtime.bus import Bus
from weir.runtime.clock import Clock

__all__ = ["decode", "envelope_payload", "follow_passes", "subject"]

_VERSION = 1
_TOPIC = "forward-pass-metrics"
_EVERY_S = 0.25
_MOST = 2**53
_COMPONENTS = {Role.PREFILL: "prefill", Role.DECODE: "backend", Role.AGG: "backend"}


def subject(namespace: str, role: Role) -> str:
    """Where engines of this role publish what they have done."""
    return f"namespace.{namespace}.component.{_COMPONENTS[role]}.{_TOPIC}"


def envelope_payload(data: bytes) -> bytes:
    """What an event holds. Raises `ValueError`."""
    payload = _unpacked(data).get("payload")
    if isinstance(payload, list):  # as bytes are written where they are a list of numbers
        try:
            return bytes(payload)
        except TypeError:
            raise ValueError("payload holds something else than bytes") from None
    if not isinstance(payload, bytes):
        raise ValueError("no payload")
    return payload


def decode(data: bytes) -> ForwardPass:
    """Raises `ValueError` for what is not version 1 or holds what cannot be."""
    message = _unpacked(data)
    version = message.get("version")
    if version != _VERSION:
        raise ValueError(f"version {version!r}, known is {_VERSION}")
    worker_id = message.get("worker_id")
    if not isinstance(worker_id, str) or not worker_id:
        raise ValueError(f"worker_id {worker_id!r} names nobody")
    scheduled, queued = _part(message, "scheduled_requests"), _part(message, "queued_requests")
    return ForwardPass(
        worker_id=worker_id,
        rank=_count(message, "dp_rank"),
        number=_count(message, "counter_id"),
        wall_s=_number(message, "wall_time"),
        prefills=_count(scheduled, "num_prefill_requests"),
        prefill_tokens=_count(scheduled, "sum_prefill_tokens"),
        prefill_kv_tokens=_count(scheduled, "sum_prefill_kv_tokens"),
        decodes=_count(scheduled, "num_decode_requests"),
        decode_kv_tokens=_count(scheduled, "sum_decode_kv_tokens"),
        waiting=_count(queued, "num_prefill_requests") + _count(queued, "num_decode_requests"),
        waiting_tokens=_count(queued, "sum_prefill_tokens"),
    )


async def follow_passes(
    bus: Bus,
    where: str,
    passes: Passes,
    telemetry: Telemetry,
    clock: Clock,
    metrics: Metrics,
) -> None:
    """Feed `telemetry` from the subject `where`, one sample a second and worker, for ever."""

    def receive(data: bytes) -> None:
        try:
            one = decode(envelope_payload(data))
        except ValueError:
            metrics.error("telemetry")
            return
        passes.take(one, clock.wall_s())

    await bus.subscribe(where, receive)
    while True:
        await asyncio.sleep(_EVERY_S)
        for sample in passes.due(clock.wall_s()):
            telemetry.on_forward_pass(sample, clock.now_s())


def _unpacked(data: bytes) -> Mapping[str, Any]:
    try:
        value = msgpack.unpackb(data)
    except Exception as error:  # it has no common base, and a key may be of any type
        raise ValueError(f"no msgpack: {error!r}") from None
    if not isinstance(value, dict):
        raise ValueError(f"a {type(value).__name__} where a map is expected")
    return value


def _part(message: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = message.get(name, {})
    if not isinstance(part, dict):
        raise ValueError(f"{name} is no map")
    return part


def _number(message: Mapping[str, Any], name: str) -> float:
    value = message.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is no number")
    if not (math.isfinite(value) and 0 <= value <= _MOST):
        raise ValueError(f"{name} is {value}")
    return float(value)


def _count(message: Mapping[str, Any], name: str) -> int:
    return int(_number(message, name))
