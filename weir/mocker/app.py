"""Wires one mock engine: listen at once, be ready when the start-up time is over, drain, end."""

import asyncio
import gc
import logging
import os
import secrets
import time

from weir.engine.model import EngineModel
from weir.http1.server import Limits, Server, serve
from weir.mocker.endpoints import Endpoints, Phase
from weir.mocker.generation import Model
from weir.mocker.kv_events import KvPublisher
from weir.mocker.service import EngineService
from weir.mocker.settings import MockerSettings, SettingsError
from weir.mocker.telemetry import ForwardPassMeter, publish
from weir.runtime.lifecycle import Stop

__all__ = ["context_limit", "run"]

_log = logging.getLogger("weir.mocker")
_IDLE_POLL_WALL_S = 0.02
_LAST_BYTES_WALL_S = 2.0
_ANY_ADDRESS = ("", "0.0.0.0", "::")
_OLDEST_AT_START_WALL_S = 30.0


def context_limit(settings: MockerSettings) -> int:
    """Tokens of prompt and output that fit. Raises `SettingsError` if more is asked for."""
    profile, asked = settings.profile, settings.context_limit_tokens
    if asked is not None and asked > profile.kv_tokens:
        raise SettingsError(
            f"a context of {asked} tokens does not fit the profile's KV space of "
            f"{profile.kv_tokens}: lower --context-limit-tokens or raise kv_tokens"
        )
    holds = profile.kv_blocks * profile.block_tokens
    return holds if asked is None else min(asked, holds)


async def run(settings: MockerSettings, stop: Stop) -> None:
    """Serve until `stop`, then drain. Raises `OSError` if the address cannot be had."""
    engine = EngineModel(settings.profile)
    engine_id = f"{settings.worker}-{secrets.token_hex(4)}"
    publisher = KvPublisher(settings, engine) if settings.kv_events_port is not None else None
    service = EngineService(settings, engine, engine_id=engine_id, publisher=publisher)
    model = Model(
        names=settings.models,
        context_limit_tokens=context_limit(settings),
        block_tokens=settings.profile.block_tokens,
        publishes=publisher is not None,
    )
    endpoints = Endpoints(service, model)
    limits = Limits(max_body_bytes=settings.max_body_bytes)
    server = await serve(endpoints.handle, settings.host, settings.port, limits=limits)
    service.address = (_kv_host(settings), server.port)
    _log.info("listening host=%s port=%d role=%s", settings.host, server.port, settings.role)
    telemetry = replay = None
    try:
        if publisher is not None:
            replay = asyncio.create_task(publisher.replay())
        if settings.nats is not None:
            meter = ForwardPassMeter(engine, service.metrics, settings)
            telemetry = asyncio.create_task(publish(meter, settings, settings.nats))
        await _start_up(settings, endpoints, server, stop)
        await stop.wait()
        await _drain(settings, endpoints, service)
    finally:
        beside = [task for task in (telemetry, replay) if task is not None]
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        service.close()
        if publisher is not None:
            publisher.close()
        await server.drain(_LAST_BYTES_WALL_S)


async def _start_up(
    settings: MockerSettings, endpoints: Endpoints, server: Server, stop: Stop
) -> None:
    """Refuse requests until the start-up time, counted from the start of the process, is over."""
    left_s = settings.clock.wall_span_s(settings.start_up_s) - _process_age_s()
    endpoints.retry_after_s = max(0.0, left_s)
    gc.collect()
    gc.freeze()
    if left_s > 0.0 and await stop.sleep(left_s):
        return
    endpoints.phase = Phase.READY
    _log.info("ready port=%d", server.port)


async def _drain(settings: MockerSettings, endpoints: Endpoints, service: EngineService) -> None:
    """Take nothing new; wait for what runs and for KV to be fetched, within bounds."""
    endpoints.phase = Phase.DRAINING
    deadline = time.monotonic() + settings.drain_timeout_wall_s
    _log.info("draining requests=%d kept=%d", service.jobs, service.kept)
    while service.jobs or service.kept:
        if time.monotonic() >= deadline:
            _log.warning("drain timed out requests=%d kept=%d", service.jobs, service.kept)
            return
        await asyncio.sleep(_IDLE_POLL_WALL_S)
    _log.info("drained")


def _kv_host(settings: MockerSettings) -> str:
    if settings.kv_host is not None:
        return settings.kv_host
    return "127.0.0.1" if settings.host in _ANY_ADDRESS else settings.host


def _process_age_s() -> float:
    """Wall seconds since this process was started.

    0 where that cannot be told: a container may count from another origin.
    """
    try:
        with open("/proc/self/stat", "rb") as stat:  # noqa: PTH123
            started_ticks = int(stat.read().rpartition(b")")[2].split()[19])
        started_s = started_ticks / os.sysconf("SC_CLK_TCK")
        age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - started_s
        return age_s if 0.0 <= age_s <= _OLDEST_AT_START_WALL_S else 0.0
    except (OSError, AttributeError, ValueError, IndexError):
        return 0.0
