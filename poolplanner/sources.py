"""Opens where a pool planner sees its traffic and its engines, as the Fleet document wants."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import aiohttp

from poolplanner.adapters import dynamo_events, nats, prometheus
from poolplanner.adapters.router_traffic import RouterTraffic
from poolplanner.adapters.scrape import EngineScraper
from poolplanner.core.observe import Telemetry
from poolplanner.core.passes import Passes
from poolplanner.core.replicas import Replica
from poolplanner.metrics import Metrics
from poolplanner.troubles import Troubles
from weir.domain.errors import FleetError
from weir.domain.fleet import PoolSpec
from weir.fleet import LoadedFleet
from weir.fleet.settings import GrpcTelemetry, PrometheusTelemetry
from weir.runtime.bus import Bus
from weir.runtime.clock import Clock

__all__ = ["Sources"]

_log = logging.getLogger("weir.poolplanner")
_AGAIN_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """One pool's. `replicas`: those that there are now, whose engines can be asked."""

    spec: PoolSpec
    loaded: LoadedFleet
    telemetry: Telemetry
    bus: Bus
    clock: Clock
    metrics: Metrics
    replicas: Callable[[], Sequence[Replica]]

    async def open(self, stack: AsyncExitStack) -> None:
        """Feed the telemetry until `stack` is closed.

        Raises `FleetError` if the document does not say which Dynamo namespace the pool has,
        `CredentialsError`.
        """
        settings = self.loaded.planner.telemetry
        fleet_name = self.loaded.fleet.name
        if settings.source == "nats":
            await nats.subscribe_traffic(
                self.bus, fleet_name, self.telemetry, self.clock, self.metrics
            )
        elif isinstance(settings, GrpcTelemetry):
            routers = RouterTraffic(settings.routers, self.telemetry, self.clock, self._troubles())
            stack.push_async_callback(routers.close)
            _spawn(stack, routers.run)
        elif isinstance(settings, PrometheusTelemetry):
            await self._follow_prometheus(stack, settings)
        if settings.engines == "nats":
            await nats.subscribe_engines(
                self.bus, fleet_name, self.telemetry, self.clock, self.metrics
            )
        elif settings.engines == "dynamo":
            self._follow_dynamo(stack)
        else:
            await self._scrape(stack)

    async def _follow_prometheus(
        self, stack: AsyncExitStack, settings: PrometheusTelemetry
    ) -> None:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        following = partial(
            prometheus.follow,
            prometheus.Prometheus(
                session, settings, self._namespace(), self.spec, self.loaded.fleet
            ),
            self.telemetry,
            self.clock,
            self._troubles(),
        )
        _spawn(stack, following)

    async def _scrape(self, stack: AsyncExitStack) -> None:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        scraper = EngineScraper(
            session, self.spec.id, self.replicas, self.telemetry, self.clock, self._troubles()
        )
        _spawn(stack, scraper.run)

    def _follow_dynamo(self, stack: AsyncExitStack) -> None:
        following = partial(
            dynamo_events.follow_passes,
            self.bus,
            dynamo_events.subject(self._namespace(), self.spec.role),
            Passes(pool_id=self.spec.id, speed=self.clock.speed),
            self.telemetry,
            self.clock,
            self.metrics,
        )
        _spawn(stack, following)

    def _namespace(self) -> str:
        named = self.loaded.planner.telemetry.namespace
        if named is not None:
            return named
        if self.spec.dynamo is not None:
            return self.spec.dynamo.caller_namespace
        problem = (
            f"pool {self.spec.id!r} has no Dynamo namespace: set spec.planner.telemetry.namespace,"
            " or the pool's dynamo.deployment"
        )
        raise FleetError(str(self.loaded.path), [problem])

    def _troubles(self) -> Troubles:
        return Troubles(self.metrics)


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
