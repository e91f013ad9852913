"""Wires the GlobalPlanner process and runs it until it is told to stop."""

import asyncio
import logging
from contextlib import AsyncExitStack

from globalplanner.adapters import nats
from globalplanner.adapters.rpc import SERVICE, Servicer
from globalplanner.config import GlobalPlannerConfig
from globalplanner.core.offered import OfferedLoad
from globalplanner.core.snapshot import Rules
from globalplanner.metrics import Metrics
from globalplanner.service import GlobalPlanner, Schedule
from weir.api.v1 import planner_pb2_grpc
from weir.fleet import LoadedFleet
from weir.runtime import rpc
from weir.runtime.bus import Bus
from weir.runtime.clock import Clock
from weir.runtime.control import ControlServer
from weir.runtime.lifecycle import Stop

__all__ = ["run"]

_log = logging.getLogger("weir.globalplanner")
_STALE_WALL_S = 3.0
"""Routers publish in model time, but the network delays in wall time."""
_HEALTH_POLL_S = 0.2
_LAST_ROUND_S = 1.0


async def run(config: GlobalPlannerConfig, loaded: LoadedFleet, clock: Clock, stop: Stop) -> None:
    """Arbitrate until `stop` is requested. What pools run is left running.

    Raises `InfeasibleFloorsError`, and `OSError` if an address cannot be bound.
    """
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        bus = await Bus.connect(config.nats, name="global-planner")
        stack.push_async_callback(bus.close)
        planner = _planner(config, loaded, clock, bus, metrics)
        await nats.subscribe(bus, loaded.fleet.name, planner.on_traffic)
        servicer = Servicer(planner, metrics)
        server = await rpc.serve(
            config.listen,
            lambda s: planner_pb2_grpc.add_GlobalPlannerServicer_to_server(servicer, s),  # type: ignore[no-untyped-call]
        )
        stack.push_async_callback(server.close)
        host, _, port = config.control.rpartition(":")
        control = ControlServer(host, int(port), planner.not_ready, metrics.registry)
        stack.push_async_callback(control.close)
        _log.info(
            "global planner: reports at %s, control http://%s:%d",
            config.listen, host, await control.start(),
        )  # fmt: skip
        await _until_stopped(planner, server, stop)
    _log.info("global planner has ended; pools hold what they have")


def _planner(
    config: GlobalPlannerConfig, loaded: LoadedFleet, clock: Clock, bus: Bus, metrics: Metrics
) -> GlobalPlanner:
    settings, fleet = loaded.planner, loaded.fleet
    stale_s = max(settings.telemetry_stale_s, _STALE_WALL_S * clock.speed)
    return GlobalPlanner(
        fleet,
        Rules(
            utilization=settings.utilization,
            backlog_horizon_s=settings.backlog_horizon_s,
            scale_down_dwell_s=settings.scale_down_dwell_s,
        ),
        Schedule(
            interval_s=settings.interval_s,
            valid_s=settings.grant_valid_s,
            silence_s=settings.grant_valid_s,
            retry_s=config.term_retry_s,
        ),
        offered=OfferedLoad((c.name for c in fleet.classes), stale_s=stale_s),
        terms=nats.TermBucket(bus, fleet.name),
        plans=nats.PlanBucket(bus, fleet.name),
        clock=clock,
        metrics=metrics,
    )


async def _until_stopped(planner: GlobalPlanner, server: rpc.RpcServer, stop: Stop) -> None:
    """Decide, and publish in the health service whether this process leads."""
    work = asyncio.create_task(planner.run(stop))
    await server.set_serving([SERVICE], False)
    serving = False
    while not await stop.sleep(_HEALTH_POLL_S):
        if work.done():
            work.result()
        if serving != (planner.ledger is not None):
            serving = not serving
            await server.set_serving([SERVICE], serving)
    await asyncio.wait({work}, timeout=_LAST_ROUND_S)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
