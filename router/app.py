"""Wires one router: service, frontend, NATS, gRPC and control endpoint; drains on SIGTERM."""

import asyncio
import functools
import gc
import logging
import ssl
from collections.abc import Coroutine
from contextlib import AsyncExitStack

from router.adapters.nats import NatsTraffic, watch_members, watch_plan
from router.adapters.rpc import SERVICE_NAME, RecentTraffic, RouteServicer, register
from router.config import RouterConfig
from router.frontend.app import Frontend
from router.frontend.ports import FrontendSettings
from router.metrics import FrontendMeter, RouterCollector, registry, render
from router.service import RouterService, ServiceSettings
from weir.runtime import rpc
from weir.runtime.bus import Bus
from weir.runtime.control import ControlServer
from weir.runtime.lifecycle import Stop

__all__ = ["run"]

_log = logging.getLogger("weir.router")
_HEALTH_POLL_S = 0.5


async def run(config: RouterConfig, stop: Stop) -> None:
    """Serve until `stop`, then drain. Raises `OSError` if an address cannot be had."""
    service = RouterService(config.fleet, config.clock, config.router_id, _settings(config))
    for members in config.workers:
        service.apply_members(members)
    async with AsyncExitStack() as closing:
        frontend = await _Wiring(config, service, stop, closing).start()
        gc.collect()
        gc.freeze()
        await stop.wait()
        _log.info("draining connections=%d", frontend.connections)
        drained = await frontend.drain(config.drain_timeout_s, notice_s=config.drain_notice_s)
        _log.info("drained" if drained else "drain timed out, requests were broken off")


class _Wiring:
    """Starts the parts, and has each closed when the router ends."""

    def __init__(
        self, config: RouterConfig, service: RouterService, stop: Stop, closing: AsyncExitStack
    ) -> None:
        self._config = config
        self._service = service
        self._stop = stop
        self._closing = closing

    async def start(self) -> Frontend:
        config = self._config
        bus = await self._bus(config.nats_url) if config.nats_url is not None else None
        recent = self._publish_traffic(bus)
        meter = FrontendMeter()
        metrics = registry(RouterCollector(self._service, meter, bus))
        frontend = Frontend(
            self._service,
            now_s=config.clock.now_s,
            render_metrics=functools.partial(render, metrics),
            settings=_frontend_settings(config),
            meter=meter,
        )
        self._closing.push_async_callback(frontend.close)
        control = ControlServer(config.control.host, config.control.port, self._ready, metrics)
        self._closing.push_async_callback(control.close)
        control_port = await control.start()
        grpc_port = await self._route_server(recent)
        tls = self._tls()
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

    def _ready(self) -> str | None:
        return "draining" if self._stop.requested else self._service.ready()

    def _tls(self) -> ssl.SSLContext | None:
        if self._config.tls is None:
            return None
        context = self._config.tls.context()
        self._spawn(context.watch())
        return context.ssl

    async def _bus(self, url: str) -> Bus:
        """Connect to NATS and watch for as long as the router lives."""
        config, service = self._config, self._service
        bus = await Bus.connect(url, name=f"router-{config.router_id}")
        self._closing.push_async_callback(bus.close)
        await watch_members(bus, config.fleet.name, service.apply_members)
        await watch_plan(bus, config.fleet.name, service.apply_plan)
        return bus

    def _publish_traffic(self, bus: Bus | None) -> RecentTraffic:
        """Publish samples on `bus`, if there is one, and keep the newest for who asks."""
        config = self._config
        sinks = []
        if bus is not None:
            sinks.append(NatsTraffic(bus, config.fleet.name, config.router_id))
        recent = RecentTraffic(sinks)
        self._spawn(self._service.publish_traffic(recent))
        return recent

    async def _route_server(self, recent: RecentTraffic) -> int | None:
        """Serve Router.Route and Router.Traffic; its health follows readiness."""
        config = self._config
        if config.grpc is None:
            return None
        servicer = RouteServicer(self._service.decide, config.clock.now_s, recent)
        server = await rpc.serve(str(config.grpc), functools.partial(register, servicer=servicer))
        self._closing.push_async_callback(server.close)
        self._spawn(self._publish_health(server))
        return server.port

    async def _publish_health(self, server: rpc.RpcServer) -> None:
        while True:
            await server.set_serving(["", SERVICE_NAME], self._ready() is None)
            await asyncio.sleep(_HEALTH_POLL_S)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run until the router ends; a failure is a bug, and ends it."""
        task = asyncio.create_task(work)

        def on_done(ended: asyncio.Task[None]) -> None:
            if not ended.cancelled() and ended.exception() is not None:
                _log.critical("a background task failed", exc_info=ended.exception())
                self._stop.set()

        task.add_done_callback(on_done)
        self._closing.callback(task.cancel)


def _settings(config: RouterConfig) -> ServiceSettings:
    settings = config.settings
    return ServiceSettings(
        queue_timeout_s=settings.queue_timeout_s,
        sample_interval_s=settings.sample_interval_s,
        bytes_per_token=settings.bytes_per_token,
        osl_prior_tokens=settings.osl_prior_tokens,
    )


def _frontend_settings(config: RouterConfig) -> FrontendSettings:
    settings = config.settings
    return FrontendSettings(
        max_body_bytes=settings.max_body_bytes,
        connect_timeout_s=settings.connect_timeout_s,
        first_byte_timeout_s=settings.first_byte_timeout_s,
        idle_timeout_s=settings.idle_timeout_s,
    )
