"""Wires one pool planner process and runs it until it is told to stop."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from poolplanner.adapters.fixed import FixedActuator
from poolplanner.adapters.global_planner import GlobalPlannerClient
from poolplanner.adapters.local_actuator import LocalActuator
from poolplanner.adapters.nats import MembersBucket, NoMembers
from poolplanner.config import PoolPlannerConfig
from poolplanner.core.observe import Telemetry
from poolplanner.granting import Granting
from poolplanner.metrics import Metrics
from poolplanner.parts import pace_of, reporter_of, schedule_of
from poolplanner.ports import Actuator, GrantSource
from poolplanner.service import Origin, PoolPlanner
from poolplanner.sources import Sources, Watched
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
from weir.runtime.registries import merged
from weir.runtime.signal import Signal

__all__ = ["run"]

_log = logging.getLogger("weir.poolplanner")
_LAST_ROUND_S = 1.0


async def run(
    config: PoolPlannerConfig,
    loaded: LoadedFleet,
    clock: Clock,
    stop: Stop,
    *,
    granting: Granting | None = None,
) -> None:
    """Plan the pools until `stop` is requested. Replicas are left running.

    `granting`: who grants instead of the GlobalPlanners that `config` names.

    Raises `FleetError` if the fleet has no such pool, a pool needs an actuator that is not
    given or a namespace that is not named, `CredentialsError` if a token or certificate cannot
    be used, `OSError` if the control address cannot be bound.
    """
    specs = _specs(config, loaded)
    async with AsyncExitStack() as stack:
        granting = granting or _remote(config, stack)
        bus = await _bus(config, stack)
        process = _Process(config, loaded, clock, stop, stack, bus, granting)
        pools = [process.pool(spec) for spec in specs]
        sources = Sources(
            pools=[pool.watched for pool in pools],
            loaded=loaded,
            bus=bus,
            clock=clock,
            heard=granting.heard,
        )
        await sources.open(stack)
        await _serve(config, pools, granting, stack)
        await _until_stopped([pool.planner for pool in pools], stop)
    _log.info("pool planner of %s has ended; replicas run on", _named(specs))


@dataclass(frozen=True, slots=True)
class _Pool:
    """One pool's planner and what feeds it."""

    spec: PoolSpec
    planner: PoolPlanner
    telemetry: Telemetry
    metrics: Metrics

    @property
    def watched(self) -> Watched:
        return Watched(
            spec=self.spec,
            telemetry=self.telemetry,
            metrics=self.metrics,
            replicas=lambda: self.planner.replicas,
        )


@dataclass(frozen=True, slots=True)
class _Process:
    """What the pools of one process share."""

    config: PoolPlannerConfig
    loaded: LoadedFleet
    clock: Clock
    stop: Stop
    stack: AsyncExitStack
    bus: Bus | None
    granting: Granting

    def pool(self, spec: PoolSpec) -> _Pool:
        config, loaded = self.config, self.loaded
        metrics, wake = Metrics(spec.id), Signal(self.stop)
        reporter = reporter_of(spec, loaded, speed=self.clock.speed)
        started_ms = time.time_ns() // 1_000_000
        planner = PoolPlanner(
            reporter=reporter,
            pace=pace_of(spec, settle_s=config.settle_s, unsettled_s=config.unsettled_s),
            actuator=self._actuator(spec),
            planner=self.granting.source_of(spec.id, wake.set),
            members=(
                MembersBucket(self.bus, loaded.fleet.name, spec.id) if self.bus else NoMembers()
            ),
            clock=self.clock,
            metrics=metrics,
            schedule=schedule_of(loaded.planner, unsettled_s=config.unsettled_s),
            origin=Origin(sequence=started_ms, version=started_ms),
            acts=config.actuator is not None and not config.advisory,
            wake=wake,
            stands_by=self.granting.stands_by,
        )
        return _Pool(spec, planner, reporter.telemetry, metrics)

    def _actuator(self, spec: PoolSpec) -> Actuator:
        """Of a pool with `scaling: none` that has none, somebody else runs `min_replicas`."""
        config = self.config
        if config.actuator is None:
            return FixedActuator(spec.id, spec.min_replicas)
        channel = rpc.channel(config.actuator)
        self.stack.push_async_callback(channel.close)
        return LocalActuator(channel, config.actuator, spec.id, timeout_s=config.rpc_timeout_s)


def _specs(config: PoolPlannerConfig, loaded: LoadedFleet) -> list[PoolSpec]:
    pools = {pool.name: pool for pool in loaded.document.spec.pools}
    problems = []
    for name in config.pools:
        if name not in pools:
            problems.append(f"there is no pool {name!r}; pools are {', '.join(pools)}")
        elif config.actuator is None and not isinstance(pools[name].scaling, NoScaling):
            problems.append(f"pool {name!r} is scaled on this machine: give --actuator HOST:PORT")
    if problems:
        raise FleetError(str(loaded.path), problems)
    return [loaded.fleet.pool(PoolId(name)) for name in dict.fromkeys(config.pools)]


def _remote(config: PoolPlannerConfig, stack: AsyncExitStack) -> Granting:
    """GlobalPlanners elsewhere, which hear of traffic by themselves."""
    credentials = ClientCredentials(
        token_file=config.token_file, ca=config.ca, cert=config.cert, key=config.key
    )

    def source_of(pool_id: PoolId, pushed: Callable[[], None]) -> GrantSource:
        client = GlobalPlannerClient(
            config.global_planner, credentials, timeout_s=config.rpc_timeout_s, pushed=pushed
        )
        stack.push_async_callback(client.close)
        return client

    return Granting(source_of=source_of)


async def _bus(config: PoolPlannerConfig, stack: AsyncExitStack) -> Bus | None:
    if config.nats is None:
        return None
    bus = await Bus.connect(config.nats, name=f"pool-planner {','.join(config.pools)}")
    stack.push_async_callback(bus.close)
    return bus


async def _serve(
    config: PoolPlannerConfig, pools: Sequence[_Pool], granting: Granting, stack: AsyncExitStack
) -> None:
    def not_ready() -> str | None:
        whys = [(pool.spec.id, pool.planner.not_ready()) for pool in pools]
        if len(whys) == 1:
            return whys[0][1]
        return "; ".join(f"{pool_id}: {why}" for pool_id, why in whys if why) or None

    registry = merged([*(pool.metrics.registry for pool in pools), *granting.registries])
    host, port = split_address(config.control)
    control = ControlServer(host, port, not_ready, registry)
    stack.push_async_callback(control.close)
    names = _named([pool.spec for pool in pools])
    _log.info("pool planner of %s: control http://%s:%d", names, host, await control.start())


def _named(specs: Sequence[PoolSpec]) -> str:
    return ", ".join(spec.id for spec in specs)


async def _until_stopped(planners: Sequence[PoolPlanner], stop: Stop) -> None:
    """The rounds under way when the stop comes have a moment to end."""
    work = {asyncio.create_task(planner.run(stop)) for planner in planners}
    await stop.wait()
    await asyncio.wait(work, timeout=_LAST_ROUND_S)
    for task in work:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)
