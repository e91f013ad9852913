"""Wires one router: service, frontend, NATS, gRPC and control endpoint; drains on SIGTERM."""

import asyncio
import functools
import gc
import logging
import ssl
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from router.adapters.answer import Answer, decider
from router.adapters.load import SharedLoad
from router.adapters.nats import NatsTraffic, bus_class, watch_members, watch_plan
from router.adapters.recent import RecentTraffic
from router.adapters.tokenizers import TokenCounter
from router.background import Background
from router.config import Address, RouterConfig, tokenizer_sources
from router.core.hints import HintRules
from router.frontend.app import Frontend
from router.frontend.counting import Counting
from router.frontend.ports import FrontendSettings
from router.metrics import FrontendMeter, RouterCollector, registry, render
from router.service import RouterService, ServiceSettings
from weir.fleet.dynamo_grid_source import GridWatch
from weir.runtime.control import ControlServer
from weir.runtime.lifecycle import Stop

if TYPE_CHECKING:  # imported where it is used: 15 MiB
    from weir.runtime.bus import Bus

__all__ = ["Wiring", "drain", "run", "serve_grpc", "settle_memory"]

_log = logging.getLogger("weir.router")
_HEALTH_POLL_S = 0.5
_LOOK_S = 1.0
_PARTING_S = 3.0
"""In which a client that keeps its connection sends its next request, or not before long."""


async def run(config: RouterConfig, stop: Stop) -> None:
    """Serve until `stop`, then drain. Raises `OSError` if an address cannot be had."""
    async with AsyncExitStack() as closing:
        frontend = await Wiring(config, stop, closing).start()
        settle_memory()
        await stop.wait()
        await drain(config, frontend)


async def drain(config: RouterConfig, frontend: Frontend, *, replaced: bool = False) -> None:
    """Let running requests end, as long as the configuration gives them.

    `replaced`: somebody else takes what is new, so no client need notice.
    """
    _log.info("draining connections=%d", frontend.connections)
    notice_s, parting_s = (0.0, _PARTING_S) if replaced else (config.drain_notice_s, 0.0)
    drained = await frontend.drain(config.drain_timeout_s, notice_s=notice_s, parting_s=parting_s)
    _log.info("drained" if drained else "drain timed out, requests were broken off")


def settle_memory() -> None:
    """What has been made up to now stays; the collector need not look at it."""
    gc.collect()
    gc.freeze()


class Wiring:
    """Makes and starts the parts, and has each closed when the router ends."""

    def __init__(self, config: RouterConfig, stop: Stop, closing: AsyncExitStack) -> None:
        self._config = config
        self._stop = stop
        self._closing = closing
        self.background = Background(stop, closing)
        self._meter = FrontendMeter()
        self.service = RouterService(
            config.fleet, config.clock, config.router_id, _settings(config)
        )
        for members in config.workers:
            self.service.apply_members(members)

    async def start(self) -> Frontend:
        """All parts of a router in one process."""
        config = self._config
        bus = await self.hear(f"router-{config.router_id}")
        recent = self._publish_traffic(bus)
        counter = await self.token_counter()
        metrics = self.metrics(bus, counter, self.share_load(bus, alone=True))
        frontend = self.frontend(functools.partial(render, metrics), counter)
        control = ControlServer(config.control.host, config.control.port, self._ready, metrics)
        self._closing.push_async_callback(control.close)
        control_port = await control.start()
        grpc_port = await self._serve_grpc(recent)
        tls = self.tls()
        self.follow_grid()
        self.read_kv_events()
        port = await frontend.start(config.listen.host, config.listen.port, tls=tls)
        _log.info(
            "listening host=%s port=%d control_port=%d grpc_port=%s router_id=%s",
            config.listen.host,
            port,
            control_port,
            grpc_port,
            config.router_id,
        )
        return frontend

    async def hear(self, name: str) -> "Bus | None":
        """Members and plan from NATS, if it is there to be heard, as long as the router lives."""
        config, service = self._config, self.service
        if config.nats_url is None:
            return None
        bus = await bus_class(config.nats_url).connect(config.nats_url, name=name)
        self._closing.push_async_callback(bus.close)
        await watch_members(bus, config.fleet.name, service.apply_members)
        await watch_plan(bus, config.fleet.name, service.apply_plan, service.plan_misread)
        return bus

    async def token_counter(self) -> TokenCounter | None:
        """Raises `UsageError` if a tokenizer cannot be had."""
        sources = tokenizer_sources(self._config)
        if not sources:
            return None
        counter = TokenCounter(sources)
        self._closing.callback(counter.close)
        await counter.start()
        return counter

    def share_load(self, bus: "Bus | None", *, alone: bool) -> SharedLoad | None:
        """Tell other routers on `bus` what this process has, and count what theirs have.

        `alone`: it is the only process of its router.
        """
        if bus is None:
            return None
        service = self.service
        shared = SharedLoad(
            bus,
            self._config.fleet.name,
            self._config.router_id,
            uuid.uuid4().hex,
            alone=alone,
            load=service.load,
            told=service.told,
            admit=service.admit,
        )
        self.background.spawn(shared.run())
        return shared

    def metrics(
        self, bus: "Bus | None", counter: TokenCounter | None, shared: SharedLoad | None
    ) -> CollectorRegistry:
        return registry(RouterCollector(self.service, self._meter, bus, counter, shared))

    def frontend(
        self, render_metrics: Callable[[], bytes], counter: TokenCounter | None
    ) -> Frontend:
        """The public endpoint, which does not listen yet."""
        counting = None
        if counter is not None:
            counting = Counting(counter, self.service, self._config.settings.count_prompts)
        frontend = Frontend(
            self.service,
            now_s=self._config.clock.now_s,
            render_metrics=render_metrics,
            settings=_frontend_settings(self._config),
            meter=self._meter,
            counting=counting,
        )
        self._meter.open = frontend
        self._closing.push_async_callback(frontend.close)
        return frontend

    def tls(self) -> ssl.SSLContext | None:
        """Raises `CredentialsError`."""
        if self._config.tls is None:
            return None
        context = self._config.tls.context()
        self.background.spawn(context.watch())
        return context.ssl

    def read_kv_events(self) -> None:
        """Hear what engines hold, where pools say that they tell."""
        if self.service.reads_kv_events:
            from router.adapters.kv_events import KvEventReader  # an extra

            self.background.spawn(KvEventReader(self.service.pools).run())

    def follow_grid(self) -> None:
        """Go by what the grid's file holds, from within a second after it has changed."""
        source = self._config.grid_source
        if source is not None:
            self.background.spawn(self._watch_grid(GridWatch(source, self._config.fleet)))

    async def _watch_grid(self, watch: GridWatch) -> None:
        """For ever. What cannot be used changes nothing."""
        while True:
            await asyncio.sleep(_LOOK_S)
            grid = await asyncio.to_thread(watch.renewed)
            if grid is not None:
                self.service.regrid(grid)
            self._meter.grid_refused = watch.refused

    def _ready(self) -> str | None:
        return "draining" if self._stop.requested else self.service.ready()

    async def _serve_grpc(self, recent: RecentTraffic) -> int | None:
        config = self._config
        if config.grpc is None:
            return None
        answer = decider(self.service.decide, config.clock.now_s)
        return await serve_grpc(
            config.grpc, answer, recent, self._ready, self._closing, self.background
        )

    def _publish_traffic(self, bus: "Bus | None") -> RecentTraffic:
        """Publish samples on `bus`, if there is one, and keep the newest for who asks."""
        config = self._config
        sinks = []
        if bus is not None:
            sinks.append(NatsTraffic(bus, config.fleet.name, config.router_id))
        recent = RecentTraffic(sinks)
        self.background.spawn(self.service.publish_traffic(recent))
        return recent


async def serve_grpc(
    address: Address,
    answer: Answer,
    recent: RecentTraffic,
    ready: Callable[[], str | None],
    closing: AsyncExitStack,
    background: Background,
) -> int:
    """Serve Router.Route and Router.Traffic; their health follows readiness. Returns the port."""
    from router.adapters.rpc import SERVICE_NAME, RouteServicer, register
    from weir.runtime import rpc

    servicer = RouteServicer(answer, recent)
    server = await rpc.serve(str(address), functools.partial(register, servicer=servicer))
    closing.push_async_callback(server.close)

    async def publish_health() -> None:
        while True:
            await server.set_serving(["", SERVICE_NAME], ready() is None)
            await asyncio.sleep(_HEALTH_POLL_S)

    background.spawn(publish_health())
    return server.port


def _settings(config: RouterConfig) -> ServiceSettings:
    settings = config.settings
    return ServiceSettings(
        queue_timeout_s=settings.queue_timeout_s,
        no_endpoints_timeout_s=settings.no_endpoints_timeout_s,
        queue_requests=settings.queue_requests,
        queue_bytes=settings.queue_bytes,
        sample_interval_s=settings.sample_interval_s,
        bytes_per_token=settings.bytes_per_token,
        osl_prior_tokens=settings.osl_prior_tokens,
        slow_start_s=settings.slow_start_s,
        hints=HintRules(
            tighten_to=settings.hints.tighten_to, raise_priority=settings.hints.raise_priority
        ),
        grid=config.grid,
        legs=settings.disaggregation.rules,
    )


def _frontend_settings(config: RouterConfig) -> FrontendSettings:
    settings = config.settings
    return FrontendSettings(
        max_body_bytes=settings.max_body_bytes,
        connect_timeout_s=settings.connect_timeout_s,
        first_byte_timeout_s=settings.first_byte_timeout_s,
        idle_timeout_s=settings.idle_timeout_s,
        explain=settings.explain,
    )
