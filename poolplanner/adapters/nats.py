"""Telemetry in, members out, over NATS."""

from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from poolplanner.core.observe import Telemetry
from poolplanner.ports import TrafficSink
from poolplanner.troubles import ErrorCounter
from weir import codec
from weir.api.v1 import pool_pb2, telemetry_pb2
from weir.domain.ids import PoolId
from weir.domain.planning import PoolMembers
from weir.runtime import names
from weir.runtime.bus import Bus
from weir.runtime.clock import Clock

__all__ = ["MembersBucket", "NoMembers", "subscribe_engines", "subscribe_traffic"]

_M = TypeVar("_M", bound=Message)
_T = TypeVar("_T")
_PUT_TIMEOUT_S = 1.0


async def subscribe_traffic(
    bus: Bus, fleet: str, sink: TrafficSink, clock: Clock, metrics: ErrorCounter
) -> None:
    """Feed `sink` from all routers, for ever."""
    receive = _receiver(
        telemetry_pb2.TrafficSample, codec.decode_traffic, sink.on_traffic, clock, metrics
    )
    await bus.subscribe(names.traffic_subject(fleet), receive)


async def subscribe_engines(
    bus: Bus, fleet: str, telemetry: Telemetry, clock: Clock, metrics: ErrorCounter
) -> None:
    """Feed `telemetry` from this pool's engines, for ever."""
    receive = _receiver(
        telemetry_pb2.ForwardPassSample,
        codec.decode_forward_pass,
        telemetry.on_forward_pass,
        clock,
        metrics,
    )
    await bus.subscribe(names.fpm_subject(fleet, telemetry.pool_id), receive)


def _receiver(
    kind: type[_M],
    decode: Callable[[_M], _T],
    take: Callable[[_T, float], object],
    clock: Clock,
    metrics: ErrorCounter,
) -> Callable[[bytes], None]:
    def receive(payload: bytes) -> None:
        try:
            sample = decode(kind.FromString(payload))
        except (DecodeError, ValueError):
            metrics.error("telemetry")
            return
        take(sample, clock.now_s())

    return receive


class MembersBucket:
    """The pool's key in the fleet's members bucket."""

    def __init__(self, bus: Bus, fleet: str, pool_id: PoolId) -> None:
        self._bus = bus
        self._bucket = names.members_bucket(fleet)
        self._pool_id = pool_id

    async def newest_version(self) -> int:
        found = await self._bus.kv_get(self._bucket, self._pool_id, timeout_s=_PUT_TIMEOUT_S)
        if found is None:
            return 0
        try:
            return pool_pb2.PoolMembers.FromString(found[0]).version
        except DecodeError:
            return 0

    async def put(self, members: PoolMembers) -> None:
        value = codec.encode_members(members).SerializeToString()
        await self._bus.kv_put(self._bucket, self._pool_id, value, timeout_s=_PUT_TIMEOUT_S)


class NoMembers:
    """Nobody looks up members: whoever routes to the pool finds its replicas by itself."""

    async def newest_version(self) -> int:
        return 0

    async def put(self, members: PoolMembers) -> None:
        return
