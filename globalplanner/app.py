"""Wires one GlobalPlanner process and runs it until it is told to stop."""

import asyncio
import logging
from contextlib import AsyncExitStack

from globalplanner.adapters.nats import NatsPlans, NatsTerms, subscribe
from globalplanner.adapters.rpc import SERVICE_NAME, Servicer
from globalplanner.config import GlobalPlannerConfig
from globalplanner.core.snapshot import Rules
from globalplanner.leadership import Leadership
from globalplanner.metrics import Metrics
from globalplanner.publisher import Publisher
from globalplanner.service import GlobalPlanner, Patience
from weir.api.v1 import planner_pb2_grpc
from weir.fleet import LoadedFleet, PlannerSettings
from weir.runtime import rpc
from weir.runtime.address import split_address
from weir.runtime.bus import Bus
from weir.runtime.clock import Clock
from weir.runtime.control import ControlServer
from weir.runtime.lifecycle import Stop

__all__ = ["run"]

_log = logging.getLogger("weir.globalplanner")
_LAST_CALLS_S = 0.5
_STALE_WALL_S = 3.0
"""At high speeds a few missed samples are many model seconds."""


async def run(config: GlobalPlannerConfig, loaded: LoadedFleet, clock: Clock, stop: Stop) -> None:
    """Plan the fleet until `stop` is requested. Pools keep what they have.

    Raises `InfeasibleFloorsError` if the floors do not fit, `OSError` if an address cannot be
    bound.
    """
    fleet = loaded.fleet
    metrics = Metrics(pool.id for pool in fleet.pools)
    async with AsyncExitStack() as stack:
        bus = await Bus.connect(config.nats, name="global-planner", wait_s=0.5)
        stack.push_async_callback(bus.close)

        async def announce(leading: bool) -> None:
            await server.set_serving([SERVICE_NAME], leading)

        leadership = Leadership(
            NatsTerms(bus, fleet.name),
            clock,
            confirm_s=config.confirm_s,
            unconfirmed_s=config.unconfirmed_s,
            announce=announce,
        )
        planner = GlobalPlanner(
            fleet,
            _rules(loaded.planner),
            _patience(loaded.planner, clock),
            clock,
            metrics,
            may_grow=leadership.sure,
        )
        await subscribe(bus, fleet.name, planner.on_traffic, metrics)
        server = await rpc.serve(
            config.listen,
            lambda grpc_server: planner_pb2_grpc.add_GlobalPlannerServicer_to_server(  # type: ignore[no-untyped-call]
                Servicer(planner), grpc_server
            ),
        )
        stack.push_async_callback(server.close, _LAST_CALLS_S)
        await announce(False)
        host, port = split_address(config.control)
        control = ControlServer(host, port, planner.not_ready, metrics.registry)
        stack.push_async_callback(control.close)
        control_port = await control.start()
        _log.info("listening rpc_port=%d control=http://%s:%d", server.port, host, control_port)
        publisher = Publisher(NatsPlans(bus, fleet.name), clock, refresh_s=config.refresh_s)
        await asyncio.gather(
            leadership.run(planner, stop), planner.run(stop), publisher.run(planner, stop)
        )
    _log.info("the GlobalPlanner has ended; pools keep what they have")


def _rules(settings: PlannerSettings) -> Rules:
    return Rules(
        utilization=settings.utilization,
        backlog_horizon_s=settings.backlog_horizon_s,
        scale_down_dwell_s=settings.scale_down_dwell_s,
    )


def _patience(settings: PlannerSettings, clock: Clock) -> Patience:
    return Patience(
        interval_s=settings.interval_s,
        stale_s=max(settings.telemetry_stale_s, _STALE_WALL_S * clock.speed),
        grant_valid_s=settings.grant_valid_s,
        silent_s=settings.grant_valid_s,
    )
