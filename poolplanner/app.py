"""Wires one pool planner process and runs it until it is told to stop."""

import asyncio
import logging
import time
from contextlib import AsyncExitStack

from poolplanner.adapters.fixed import FixedActuator
from poolplanner.adapters.global_planner import GlobalPlannerClient
from poolplanner.adapters.local_actuator import LocalActuator
from poolplanner.adapters.nats import MembersBucket
from poolplanner.config import PoolPlannerConfig
from poolplanner.metrics import Metrics
from poolplanner.parts import pace_of, reporter_of, schedule_of
from poolplanner.ports import Actuator
from poolplanner.service import Origin, PoolPlanner
from poolplanner.sources import Sources
from weir.domain.errors import FleetError
from weir.domain.fleet import PoolSpec
from weir.domain.ids import PoolId
from weir.fleet import LoadedFleet
from weir.fleet.document import NoScaling
from weir.runtime import rpc
from weir.runtime.address import split_address
from weir.runtime.bus import Bus
from weir.runtime.clock import Clock
from weir.runtime.control import ControlServer
from weir.runtime.credentials import ClientCredentials
from weir.runtime.lifecycle import Stop
from weir.runtime.signal import Signal

__all__ = ["run"]

_log = logging.getLogger("weir.poolplanner")
_LAST_ROUND_S = 1.0


async def run(config: PoolPlannerConfig, loaded: LoadedFleet, clock: Clock, stop: Stop) -> None:
    """Plan the pool until `stop` is requested. Replicas are left running.

    Raises `FleetError` if the fleet has no such pool, the pool needs an actuator that is not
    given or a namespace that is not named, `CredentialsError` if a token or certificate cannot
    be used, `OSError` if the control address cannot be bound.
    """
    credentials = ClientCredentials(
        token_file=config.token_file, ca=config.ca, cert=config.cert, key=config.key
    )
    spec, acts = _pool(config, loaded)
    metrics = Metrics(spec.id)
    reporter = reporter_of(spec, loaded, speed=clock.speed)
    async with AsyncExitStack() as stack:
        bus = await Bus.connect(config.nats, name=f"pool-planner {spec.id}")
        stack.push_async_callback(bus.close)
        wake = Signal(stop)
        global_planner = GlobalPlannerClient(
            config.global_planner,
            credentials,
            timeout_s=config.rpc_timeout_s,
            pushed=wake.set,
        )
        stack.push_async_callback(global_planner.close)
        started_ms = time.time_ns() // 1_000_000
        planner = PoolPlanner(
            reporter=reporter,
            pace=pace_of(spec, settle_s=config.settle_s, unsettled_s=config.unsettled_s),
            actuator=_actuator(config, spec, stack),
            planner=global_planner,
            members=MembersBucket(bus, loaded.fleet.name, spec.id),
            clock=clock,
            metrics=metrics,
            schedule=schedule_of(loaded.planner, unsettled_s=config.unsettled_s),
            origin=Origin(sequence=started_ms, version=started_ms),
            acts=acts,
            wake=wake,
        )
        sources = Sources(
            spec=spec,
            loaded=loaded,
            telemetry=reporter.telemetry,
            bus=bus,
            clock=clock,
            metrics=metrics,
            replicas=lambda: planner.replicas,
        )
        await sources.open(stack)
        await _serve(config, spec, planner, metrics, stack)
        await _until_stopped(planner, stop)
    _log.info("pool planner of %s has ended; its replicas run on", spec.id)


def _pool(config: PoolPlannerConfig, loaded: LoadedFleet) -> tuple[PoolSpec, bool]:
    """The pool, and whether it is scaled here.

    One with `scaling: none` has min = max replicas: with an actuator it is brought there and
    kept, without one somebody else runs it.
    """
    pools = {pool.name: pool for pool in loaded.document.spec.pools}
    if config.pool not in pools:
        problem = f"there is no pool {config.pool!r}; pools are {', '.join(pools)}"
        raise FleetError(str(loaded.path), [problem])
    acts = config.actuator is not None
    if not acts and not isinstance(pools[config.pool].scaling, NoScaling):
        problem = f"pool {config.pool!r} is scaled on this machine: give --actuator HOST:PORT"
        raise FleetError(str(loaded.path), [problem])
    return loaded.fleet.pool(PoolId(config.pool)), acts


def _actuator(config: PoolPlannerConfig, spec: PoolSpec, stack: AsyncExitStack) -> Actuator:
    if config.actuator is None:
        return FixedActuator(spec.id, spec.min_replicas)
    channel = rpc.channel(config.actuator)
    stack.push_async_callback(channel.close)
    return LocalActuator(channel, config.actuator, spec.id, timeout_s=config.rpc_timeout_s)


async def _serve(
    config: PoolPlannerConfig,
    spec: PoolSpec,
    planner: PoolPlanner,
    metrics: Metrics,
    stack: AsyncExitStack,
) -> None:
    host, port = split_address(config.control)
    control = ControlServer(host, port, planner.not_ready, metrics.registry)
    stack.push_async_callback(control.close)
    _log.info("pool planner of %s: control http://%s:%d", spec.id, host, await control.start())


async def _until_stopped(planner: PoolPlanner, stop: Stop) -> None:
    """The round under way when the stop comes has a moment to end."""
    work = asyncio.create_task(planner.run(stop))
    await stop.wait()
    await asyncio.wait({work}, timeout=_LAST_ROUND_S)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
