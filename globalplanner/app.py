"""Wires one GlobalPlanner process and runs it until it is told to stop."""

import asyncio
import logging
import os
import secrets
import socket
from contextlib import AsyncExitStack

from globalplanner.adapters.nats import NatsPlans, NatsRecords, subscribe
from globalplanner.adapters.rpc import SERVICE_NAME, Servicer
from globalplanner.config import GlobalPlannerConfig
from globalplanner.leadership import Leadership, Lease
from globalplanner.metrics import Metrics
from globalplanner.parts import patience_of, rules_of
from globalplanner.publisher import Publisher
from globalplanner.service import GlobalPlanner
from weir.api.v1 import planner_pb2_grpc
from weir.fleet import LoadedFleet
from weir.runtime import rpc
from weir.runtime.address import split_address
from weir.runtime.bus import Bus
from weir.runtime.clock import Clock
from weir.runtime.control import ControlServer
from weir.runtime.lifecycle import Stop
from weir.runtime.signal import Signal

__all__ = ["run"]

_log = logging.getLogger("weir.globalplanner")
_LAST_CALLS_S = 0.5


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

        changed = Signal(stop)

        async def announce(leading: bool) -> None:
            await server.set_serving([SERVICE_NAME], leading)

        leadership = Leadership(
            NatsRecords(bus, fleet.name, metrics),
            clock,
            Lease(lease_s=config.lease_s),
            owner=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}",
            changed=changed,
            announce=announce,
        )
        planner = GlobalPlanner(
            fleet,
            rules_of(loaded.planner),
            patience_of(loaded.planner, speed=clock.speed),
            clock,
            metrics,
            may_grow=leadership.sure,
            unwritten=changed.set,
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
