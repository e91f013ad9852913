"""One of several processes that take from a public port: a router whose supervisor answers for it.

It has no control port, publishes no samples, and stops when the supervisor says so or has gone.
"""

import asyncio
import logging
import pickle
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial

from prometheus_client import CollectorRegistry

from router import app
from router.adapters.answer import decider
from router.metrics import render
from router.processes.exchange import Exchange
from router.processes.link import Link
from router.processes.member import ASK_S, REPLACED, START_S, Assignment
from router.processes.sums import snapshot
from router.processes.table import Table
from weir import codec
from weir.api.v1 import router_pb2
from weir.domain.errors import UnavailableError
from weir.runtime import lifecycle, logs
from weir.runtime.lifecycle import Stop

__all__ = ["main"]

_log = logging.getLogger("weir.router.processes")
_HOST_S = 2.0 * ASK_S
"""Whoever answers for the host asks all its processes."""

_Verb = Callable[[bytes], Awaitable[bytes]]


class _Child:
    """Answers its supervisor; `serve` is the process."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._replaced = False
        self._verbs: dict[str, _Verb] = {}
        self._link = Link(self._answer)

    async def serve(self, end: socket.socket) -> None:
        """Until told otherwise; then drain and tell the last numbers."""
        await self._link.open(end)
        running = asyncio.create_task(self._link.run())
        running.add_done_callback(lambda _: self._stop.set())
        try:
            assignment = pickle.loads(await self._link.ask("assignment", timeout_s=START_S))
            async with AsyncExitStack() as closing:
                await self._serve(assignment, closing)
        except UnavailableError as error:
            _log.warning("ending: %s", error)
        finally:
            running.cancel()

    async def _serve(self, assignment: Assignment, closing: AsyncExitStack) -> None:
        config = assignment.config
        logs.setup(f"router-{assignment.number}")
        wiring = app.Wiring(config, self._stop, closing)
        service = wiring.service
        bus = await wiring.hear(f"router-{config.router_id}-{assignment.number}")
        counter = await wiring.token_counter()
        metrics = wiring.metrics(bus, counter, wiring.share_load(bus, alone=False))
        loop = asyncio.get_running_loop()
        frontend = wiring.frontend(partial(self._host_metrics, loop, metrics), counter)
        tls = wiring.tls()
        decide = decider(service.decide, config.clock.now_s)

        async def listen(_: bytes) -> bytes:
            listeners = [socket.socket(fileno=number) for number in assignment.listeners]
            await frontend.start_on(listeners, tls=tls)
            return b""

        async def ready(_: bytes) -> bytes:
            missing = "draining" if self._stop.requested else service.ready()
            return (missing or "").encode()

        async def counts(_: bytes) -> bytes:
            return await asyncio.to_thread(lambda: snapshot(metrics.collect()))

        async def sample(_: bytes) -> bytes:
            return codec.encode_traffic(
                service.sample(0.0, config.clock.now_s())
            ).SerializeToString()

        async def route(about: bytes) -> bytes:
            return (await decide(router_pb2.RouteRequest.FromString(about))).SerializeToString()

        async def drain(about: bytes) -> bytes:
            self._replaced = about == REPLACED
            self._stop.set()
            return b""

        self._verbs = {
            "listen": listen,
            "ready": ready,
            "metrics": counts,
            "sample": sample,
            "route": route,
            "drain": drain,
        }
        table = Table(assignment.table)
        exchange = Exchange(table, assignment.slot, service.load, service.told, service.admit)
        wiring.background.spawn(exchange.run())
        wiring.follow_grid()
        wiring.read_kv_events()
        await self._link.ask("up", timeout_s=START_S)
        app.settle_memory()
        await self._stop.wait()
        await app.drain(config, frontend, replaced=self._replaced)
        with suppress(UnavailableError):
            await self._link.ask("last-sample", await sample(b""), timeout_s=ASK_S)
            await self._link.ask("last-metrics", await counts(b""), timeout_s=ASK_S)

    async def _answer(self, verb: str, about: bytes) -> bytes:
        known = self._verbs.get(verb)
        if known is None:
            raise UnavailableError(f"{verb}: not yet")
        return await known(about)

    def _host_metrics(self, loop: asyncio.AbstractEventLoop, metrics: CollectorRegistry) -> bytes:
        """Those of all processes, asked for in a thread; its own if nobody answers for all."""
        ask = self._link.ask("host-metrics", timeout_s=_HOST_S)
        try:
            return asyncio.run_coroutine_threadsafe(ask, loop).result()
        except UnavailableError as error:
            _log.warning("metrics of this process only: %s", error)
            return render(metrics)


def main(link_fd: int) -> int:
    logs.setup("router-child")

    async def serve(stop: Stop) -> None:
        end = socket.socket(fileno=link_fd)
        end.setblocking(False)
        await _Child(stop).serve(end)

    return lifecycle.run(serve, deaf=True)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
