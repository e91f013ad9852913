"""What the fleet says about itself: ledger and decisions, traffic, legs per pool.

Only for eyes and for the summary: nothing here steers anything, and whatever does not answer
is left as last seen.
"""

import asyncio
import logging

import grpc

from weir import codec
from weir.api.v1 import planner_pb2, planner_pb2_grpc, telemetry_pb2
from weir.domain.fleet import Fleet
from weir.local.commands import Addresses
from weir.local.ports import HOST
from weir.local.probe import HttpProbe, counters_by_label
from weir.local.tally import ResettingCounters, TrafficWindow
from weir.runtime import names, rpc
from weir.runtime.bus import Bus
from weir.runtime.clock import Clock

__all__ = ["Monitor"]

_log = logging.getLogger("weir.local.monitor")
_INTERVAL_S = 1.0
_RPC_DEADLINE_S = 1.0
_POOL_REQUESTS = "weir_router_pool_requests_total"


class Monitor:
    """Create, `start`, and `close`; `read_all` may be called for fresh values in between."""

    def __init__(self, fleet: Fleet, addresses: Addresses, clock: Clock, probe: HttpProbe) -> None:
        self._fleet = fleet
        self._addresses = addresses
        self._clock = clock
        self._probe = probe
        self._channel = rpc.channel(f"{HOST}:{addresses.global_planner}")
        self._planner = planner_pb2_grpc.GlobalPlannerStub(self._channel)  # type: ignore[no-untyped-call]
        self._bus: Bus | None = None
        self._task: asyncio.Task[None] | None = None
        self._violations = ResettingCounters()
        self.traffic = TrafficWindow()
        self.pool_requests = ResettingCounters()
        self.status: planner_pb2.StatusResponse | None = None
        """The GlobalPlanner's last answer; None before the first and while it is away."""
        self.peak_charged_gpus = 0

    @property
    def budget_violations(self) -> int:
        """As counted by every GlobalPlanner of this run."""
        return round(self._violations.total("ledger") or 0.0)

    async def start(self) -> None:
        self._bus = await Bus.connect(self._addresses.nats_url, name="weir-up")
        await self._bus.subscribe(names.traffic_subject(self._fleet.name), self._on_traffic)
        self._task = asyncio.create_task(self._read_for_ever(), name="monitor")

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._bus:
            await self._bus.close()
        await self._channel.close()

    async def read_all(self) -> None:
        """Ask everyone once; returns after about two seconds at the latest."""
        await asyncio.gather(self._read_ledger(), self._read_router())

    async def _read_for_ever(self) -> None:
        while True:
            await self.read_all()
            await asyncio.sleep(_INTERVAL_S)

    async def _read_ledger(self) -> None:
        try:
            status: planner_pb2.StatusResponse = await self._planner.Status(
                planner_pb2.StatusRequest(), timeout=_RPC_DEADLINE_S
            )
        except grpc.aio.AioRpcError as error:
            _log.debug("GlobalPlanner.Status: %s", error.code())
            self.status = None
            return
        self.status = status
        self.peak_charged_gpus = max(self.peak_charged_gpus, status.peak_charged_gpus)
        self._violations.read({"ledger": status.budget_violations})

    async def _read_router(self) -> None:
        answer = await self._probe.get(self._addresses.control["router"], "/metrics")
        if answer is not None and answer[0] == 200:
            self.pool_requests.read(counters_by_label(answer[1], _POOL_REQUESTS, "pool"))

    def _on_traffic(self, payload: bytes) -> None:
        message = telemetry_pb2.TrafficSample.FromString(payload)
        self.traffic.add(codec.decode_traffic(message), self._clock.now_s())
