"""Wires one GlobalPlanner process and runs it until it is told to stop."""

import asyncio
import logging
from contextlib import AsyncExitStack
from pathlib import Path

from globalplanner.access.entrance import entrance_of
from globalplanner.adapters.decisions import DecisionStream
from globalplanner.adapters.dynamo import DynamoEndpoint, door_of
from globalplanner.adapters.jsonl import JsonlFile, place_of
from globalplanner.adapters.nats import NatsPlans, NatsRecords, subscribe
from globalplanner.config import GlobalPlannerConfig
from globalplanner.core.operators.proposals import Gate
from globalplanner.decisions.decision_log import DecisionLog
from globalplanner.decisions.explain import Explainer
from globalplanner.decisions.history import History
from globalplanner.edge import Offers, open_edge
from globalplanner.fits import Fits
from globalplanner.leadership import Leadership, Lease
from globalplanner.metrics import Metrics
from globalplanner.operations import Operations
from globalplanner.parts import mode_of, owner_name, planner_of
from globalplanner.publisher import Publisher
from globalplanner.reload import Reload
from globalplanner.scale_requests import ScaleRequests
from globalplanner.warm_up import predicted_for
from globalplanner.what_if import WhatIf
from weir.fleet import LoadedFleet
from weir.runtime.address import split_address
from weir.runtime.bus import Bus
from weir.runtime.clock import Clock
from weir.runtime.control import ControlServer
from weir.runtime.lifecycle import Stop
from weir.runtime.signal import Signal

__all__ = ["run"]

_log = logging.getLogger("weir.globalplanner")


async def run(config: GlobalPlannerConfig, loaded: LoadedFleet, clock: Clock, stop: Stop) -> None:
    """Plan the fleet until `stop` is requested. Pools keep what they have.

    Raises `InfeasibleFloorsError` if the floors do not fit, `OSError` if an address cannot be
    bound, `TraceError` if there is no trace to learn from, `CredentialsError` if it would let in
    who should not.
    """
    entrance = entrance_of(config)
    fleet = loaded.fleet
    metrics = Metrics(pool.id for pool in fleet.pools)
    async with AsyncExitStack() as stack:
        bus = await Bus.connect(config.nats, name="global-planner", wait_s=0.5)
        stack.push_async_callback(bus.close)

        changed = Signal(stop)

        async def announce(leading: bool) -> None:
            await edge.announce(leading)

        leadership = Leadership(
            NatsRecords(bus, fleet.name, metrics),
            clock,
            Lease(lease_s=config.lease_s),
            owner=owner_name(),
            changed=changed,
            announce=announce,
        )
        gate = Gate(mode_of(loaded.planner, advisory=config.advisory))
        predicted = await predicted_for(fleet, loaded, clock)
        planner = planner_of(
            fleet,
            loaded.planner,
            clock,
            metrics,
            leadership,
            changed,
            gate=gate,
            predicted=predicted,
        )
        await subscribe(bus, fleet.name, planner.on_traffic, metrics)
        history, stream = History(), DecisionStream(bus, fleet.name)
        files = [JsonlFile(place_of(Path(config.decisions)))] if config.decisions else []
        decisions = DecisionLog(
            history, [stream, *files], metrics, lambda: planner.rules, recall=stream.recall
        )
        planner.on_decision.append(decisions.note)
        questions = WhatIf(planner, clock.wall_s)
        stack.callback(questions.close)
        offers = Offers(
            explainer=Explainer(planner, history, wall_s=clock.wall_s, unix_s=clock.unix_s),
            operations=Operations(planner, gate, clock.unix_s),
            what_if=questions,
        )
        edge = await open_edge(config.listen, entrance, planner, leadership, metrics, offers)
        stack.push_async_callback(edge.close)
        host, port = split_address(config.control)
        requests = ScaleRequests(planner, clock, metrics)
        planner.wishes = requests.wishes
        dynamo = DynamoEndpoint(requests, door_of(config, entrance), leadership)
        control = ControlServer(
            host, port, planner.not_ready, metrics.registry, routes=dynamo.routes()
        )
        stack.push_async_callback(control.close)
        control_port = await control.start()
        _log.info("listening rpc_port=%d control=http://%s:%d", edge.port, host, control_port)
        reload = Reload(planner, gate, loaded, metrics, clock.unix_s, advisory=config.advisory)
        publisher = Publisher(NatsPlans(bus, fleet.name), clock, refresh_s=config.refresh_s)
        await asyncio.gather(
            leadership.run(planner, stop),
            planner.run(stop),
            publisher.run(planner, stop),
            edge.run(stop),
            decisions.run(stop),
            reload.run(stop),
            *([Fits(predicted, clock).run(stop)] if predicted is not None else []),
        )
    _log.info("the GlobalPlanner has ended; pools keep what they have")
