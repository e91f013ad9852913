"""Members and plan from NATS, traffic samples to it. While it is away the last ones hold."""

import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from weir import codec
from weir.api.v1 import planner_pb2, pool_pb2
from weir.domain.ids import RouterId
from weir.domain.planning import PoolMembers, RoutingPlan
from weir.domain.telemetry import TrafficSample
from weir.runtime import names

if TYPE_CHECKING:
    from weir.runtime.bus import Bus

__all__ = ["NatsTraffic", "bus_class", "watch_members", "watch_plan"]

_log = logging.getLogger("weir.router.nats")


def bus_class(url: str) -> "type[Bus]":
    """Imported where it is used, and without aiohttp unless the URL is a WebSocket's.

    That is all that the NATS client has aiohttp for, which takes 7 MiB.
    """
    websocket = any(each.strip().startswith(("ws:", "wss:")) for each in url.split(","))
    hidden = not websocket and "aiohttp" not in sys.modules
    if hidden:
        sys.modules["aiohttp"] = None  # type: ignore[assignment]
    try:
        from weir.runtime.bus import Bus
    finally:
        if hidden:
            del sys.modules["aiohttp"]
    return Bus


class NatsTraffic:
    """Publishes samples; a `TrafficSink`."""

    def __init__(self, bus: "Bus", fleet: str, router_id: RouterId) -> None:
        self._bus = bus
        self._subject = names.traffic_subject(fleet, router_id)

    def publish(self, sample: TrafficSample) -> None:
        self._bus.publish(self._subject, codec.encode_traffic(sample).SerializeToString())


async def watch_members(bus: "Bus", fleet: str, apply: Callable[[PoolMembers], bool]) -> None:
    """Apply every pool's membership, now and as it changes.

    A deleted key says nothing about the workers, so what was known of them holds.
    """

    def on_value(key: str, value: bytes | None) -> None:
        if value is None:
            _log.warning("members deleted, keeping the last known pool=%s", key)
            return
        try:
            members = codec.decode_members(pool_pb2.PoolMembers.FromString(value))
        except (DecodeError, ValueError) as error:
            _log.warning("members not understood pool=%s error=%s", key, error)
            return
        if apply(members):
            ready = sum(not worker.draining for worker in members.workers)
            draining = len(members.workers) - ready
            _log.info(
                "members pool=%s version=%d ready=%d draining=%d",
                members.pool_id,
                members.version,
                ready,
                draining,
            )

    await bus.kv_watch(names.members_bucket(fleet), on_value)


async def watch_plan(
    bus: "Bus", fleet: str, apply: Callable[[RoutingPlan], bool], misread: Callable[[], None]
) -> None:
    """Apply the routing plan, now and as it changes. `misread`: one was not understood."""

    def on_value(key: str, value: bytes | None) -> None:
        if key != names.PLAN_KEY or value is None:
            return
        try:
            plan = codec.decode_plan(planner_pb2.RoutingPlan.FromString(value))
        except (DecodeError, ValueError) as error:
            _log.warning("routing plan not understood, the last one holds error=%s", error)
            misread()
            return
        if apply(plan):
            _log.debug("routing plan term=%d version=%d", plan.term, plan.version)

    await bus.kv_watch(names.plan_bucket(fleet), on_value)
