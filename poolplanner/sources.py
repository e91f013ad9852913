"""Opens where a process sees its pools' traffic and engines, as the Fleet document wants.

What all routers tell is heard once for all pools. A Prometheus is asked for each pool by itself,
and what it tells of several may be the same requests: only one of them counts as offered load.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial

import aiohttp

from poolplanner.adapters import dynamo_events, nats, prometheus
from poolplanner.adapters.router_traffic import RouterTraffic
from poolplanner.adapters.scrape import EngineScraper
from poolplanner.core.observe import Telemetry
from poolplanner.core.passes import Passes
from poolplanner.core.replicas import Replica
from poolplanner.core.split import Split
from poolplanner.granting import unheard
from poolplanner.metrics import Metrics
from poolplanner.ports import TrafficSink
from poolplanner.troubles import Troubles
from weir.domain.errors import FleetError
from weir.domain.fleet import PoolSpec, Stage
from weir.domain.ids import PoolId, RouterId
from weir.domain.telemetry import TrafficSample
from weir.fleet import LoadedFleet
from weir.fleet.settings import GrpcTelemetry, PrometheusTelemetry
from weir.runtime.bus import Bus
from weir.runtime.clock import Clock

__all__ = ["Sources", "Watched"]

_log = logging.getLogger("weir.poolplanner")
_AGAIN_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One pool. `replicas`: those that there are now, whose engines can be asked."""

    spec: PoolSpec
    telemetry: Telemetry
    metrics: Metrics
    replicas: Callable[[], Sequence[Replica]]


@dataclass(frozen=True, slots=True)
class _Everyone:
    """All pools, and whoever else is to hear what is offered."""

    pools: Sequence[Watched]
    heard: Callable[[TrafficSample], None]

    def on_traffic(self, sample: TrafficSample, now_s: float) -> None:
        for pool in self.pools:
            pool.telemetry.on_traffic(sample, now_s)
        self.heard(sample)

    def error(self, reason: str) -> None:
        for pool in self.pools:
            pool.metrics.error(reason)


@dataclass(frozen=True, slots=True)
class _Teller:
    """One pool whose traffic is all there is to hear of what is offered."""

    pool: Watched
    heard: Callable[[TrafficSample], None]
    split: Split = field(default_factory=Split)

    def on_traffic(self, sample: TrafficSample, now_s: float) -> None:
        self.pool.telemetry.on_traffic(sample, now_s)
        offered = self.split.of(sample)
        if offered is not None:
            name = RouterId(f"{self.pool.spec.id} {sample.router_id}")
            self.heard(replace(offered, router_id=name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Of the pools of one process. `heard` is told of what is offered to them, once."""

    pools: Sequence[Watched]
    loaded: LoadedFleet
    bus: Bus | None
    clock: Clock
    heard: Callable[[TrafficSample], None] = unheard

    async def open(self, stack: AsyncExitStack) -> None:
        """Feed the telemetry until `stack` is closed.

        Raises `FleetError` if the document does not say which Dynamo namespace a pool has, or
        wants NATS and there is none; `CredentialsError`.
        """
        settings = self.loaded.planner.telemetry
        if isinstance(settings, PrometheusTelemetry):
            for pool in self.pools:
                await self._follow_prometheus(stack, settings, pool)
        else:
            await self._follow_routers(stack)
        for pool in self.pools:
            await self._follow_engines(stack, pool)

    async def _follow_routers(self, stack: AsyncExitStack) -> None:
        settings, everyone = self.loaded.planner.telemetry, _Everyone(self.pools, self.heard)
        if isinstance(settings, GrpcTelemetry):
            routers = RouterTraffic(settings.routers, everyone, self.clock, Troubles(everyone))
            stack.push_async_callback(routers.close)
            _spawn(stack, routers.run)
            return
        bus, name = self._bus("source"), self.loaded.fleet.name
        await nats.subscribe_traffic(bus, name, everyone, self.clock, everyone)

    async def _follow_engines(self, stack: AsyncExitStack, pool: Watched) -> None:
        settings, fleet_name = self.loaded.planner.telemetry, self.loaded.fleet.name
        if settings.engines == "nats":
            await nats.subscribe_engines(
                self._bus("engines"), fleet_name, pool.telemetry, self.clock, pool.metrics
            )
        elif settings.engines == "dynamo":
            self._follow_dynamo(stack, pool)
        else:
            await self._scrape(stack, pool)

    async def _follow_prometheus(
        self, stack: AsyncExitStack, settings: PrometheusTelemetry, pool: Watched
    ) -> None:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        sink: TrafficSink = pool.telemetry
        if pool.spec.id in self._tellers(settings):
            sink = _Teller(pool, self.heard)
        following = partial(
            prometheus.follow,
            prometheus.Prometheus(
                session, settings, self._namespace(pool), pool.spec, self.loaded.fleet
            ),
            sink,
            self.clock,
            Troubles(pool.metrics),
        )
        _spawn(stack, following)

    def _tellers(self, settings: PrometheusTelemetry) -> frozenset[PoolId]:
        """Pools whose requests are no other's: those at which the requests of a model enter.

        A frontend counts all requests of a model, whichever pool of it is asked about.
        """
        found: dict[object, PoolId] = {}
        enters = {p.spec.model for p in self.pools if Stage.PREFILL in p.spec.role.stages}
        for pool in self.pools:
            spec = pool.spec
            if spec.model in enters and Stage.PREFILL not in spec.role.stages:
                continue
            same = (self._namespace(pool), spec.model)
            found.setdefault(same if settings.metrics == "frontend" else spec.id, spec.id)
        return frozenset(found.values())

    async def _scrape(self, stack: AsyncExitStack, pool: Watched) -> None:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        scraper = EngineScraper(
            session,
            pool.spec.id,
            pool.replicas,
            pool.telemetry,
            self.clock,
            Troubles(pool.metrics),
        )
        _spawn(stack, scraper.run)

    def _follow_dynamo(self, stack: AsyncExitStack, pool: Watched) -> None:
        following = partial(
            dynamo_events.follow_passes,
            self._bus("engines"),
            dynamo_events.subject(self._namespace(pool), pool.spec.role),
            Passes(
                pool_id=pool.spec.id,
                speed=self.clock.speed,
                kv_total_tokens=pool.spec.profile.kv_tokens,
            ),
            pool.telemetry,
            self.clock,
            pool.metrics,
        )
        _spawn(stack, following)

    def _bus(self, what: str) -> Bus:
        if self.bus is not None:
            return self.bus
        value = getattr(self.loaded.planner.telemetry, what)
        problem = f"spec.planner.telemetry.{what} is {value}, which needs --nats URL"
        raise FleetError(str(self.loaded.path), [problem])

    def _namespace(self, pool: Watched) -> str:
        named = self.loaded.planner.telemetry.namespace
        if named is not None:
            return named
        if pool.spec.dynamo is not None:
            return pool.spec.dynamo.caller_namespace
        problem = (
            f"pool {pool.spec.id!r} has no Dynamo namespace: set spec.planner.telemetry.namespace,"
            " or the pool's dynamo.deployment"
        )
        raise FleetError(str(self.loaded.path), [problem])


def _spawn(stack: AsyncExitStack, work: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run until `stack` is closed; begun again after a failure, which is a defect."""

    async def keep() -> None:
        while True:
            try:
                await work()
            except Exception:
                _log.exception("a source of telemetry has failed; beginning again")
            await asyncio.sleep(_AGAIN_S)

    task = asyncio.create_task(keep())

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(end)
