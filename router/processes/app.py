"""A router of several processes on one port, and the one that answers for them all."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Metric, ProcessCollector, generate_latest
from prometheus_client.registry import Collector

from router.adapters.nats import NatsTraffic, bus_class
from router.adapters.recent import RecentTraffic
from router.app import serve_grpc
from router.background import Background
from router.config import RouterConfig
from router.metrics import BusState, SupervisorCollector
from router.ports import TrafficSink
from router.processes import sockets
from router.processes.handover import Offer, Taken, take
from router.processes.host import Host
from router.processes.member import ASK_S
from router.processes.sums import families_of, snapshot
from router.processes.table import Table
from weir import codec
from weir.domain.errors import UnavailableError
from weir.runtime.control import ControlServer
from weir.runtime.lifecycle import Stop

if TYPE_CHECKING:
    from weir.runtime.bus import Bus

__all__ = ["run"]

_log = logging.getLogger("weir.router")
_COUNT_S = 2.0 * ASK_S
_READY_S, _READY_POLL_S = 30.0, 0.1
_RETIRE_S = 30.0
_LAST_S = 10.0


async def run(config: RouterConfig, count: int, stop: Stop, *, take_over: bool = False) -> None:
    """Serve by so many processes until `stop`, then drain.

    `take_over`: from a router of this user that has the port, if there is one; it drains then.
    Raises `OSError` if an address cannot be had, `CredentialsError`, `UnavailableError` if a
    process ends at its start, or the port is not handed over.
    """
    if config.tls is not None:
        config.tls.context()  # Says once what is wrong with it, instead of in each process.
    taken = await asyncio.to_thread(take, config.listen) if take_over else None
    if taken is None:
        listeners, table = sockets.listening(config.listen, count), Table.create()
    else:
        listeners, table = sockets.more(taken.listeners, count), Table(taken.table)
    port = listeners[0].getsockname()[1]
    listen = config.listen.model_copy(update={"port": port})
    config = config.model_copy(update={"listen": listen})
    async with AsyncExitStack() as closing:
        closing.callback(table.close)
        await _Supervisor(config, count, listeners, table, stop, closing).run(taken)


class _Supervisor:
    """Starts the processes and what answers for them; has all of it closed in the end."""

    def __init__(
        self,
        config: RouterConfig,
        count: int,
        listeners: Sequence[socket.socket],
        table: Table,
        stop: Stop,
        closing: AsyncExitStack,
    ) -> None:
        self._config = config
        self._count = count
        self._listeners = listeners
        self._table = table
        self._stop = stop
        self._closing = closing
        self._background = Background(stop, closing)
        self._metrics = CollectorRegistry()
        self._endpoints = AsyncExitStack()
        """What only one router can have, and a successor needs."""
        self._replaced = False

    async def run(self, taken: Taken | None) -> None:
        slots: frozenset[int] = frozenset() if taken is None else taken.slots
        self._host = host = Host(
            self._config, self._listeners, self._table, self._count, self._render, slots
        )
        self._closing.callback(host.kill)
        self._closing.push_async_callback(self._endpoints.aclose)
        await host.start(self._stop)
        if self._stop.requested:
            return
        if taken is None:
            await host.listen()
        elif not await self._replace(taken):
            return
        offer = self._offer()
        publisher = await self._serve()
        await self._stop.wait()
        _log.info("draining processes=%d", host.running)
        await host.drain(replaced=self._replaced)
        if not self._replaced:
            await publisher.publish()
        elif offer is not None:
            with contextlib.suppress(UnavailableError):  # It may have been told all there was.
                await offer.tell("last-sample", await self._sample(), timeout_s=_LAST_S)
            await offer.tell("last-metrics", await self._count_all(), timeout_s=_LAST_S)
        _log.info("drained")

    def _render(self) -> bytes:
        """Metrics of all processes. Not to be called in the loop's thread."""
        return generate_latest(self._metrics)

    # The router before this one, and the one after.

    async def _replace(self, taken: Taken) -> bool:
        """Take connections as soon as all is ready, then let the router before drain.

        False at a stop. Raises `UnavailableError` if this one does not get ready; that one goes on.
        """
        host = self._host
        before = await host.adopt(taken.link)
        until_s = self._config.clock.wall_s() + _READY_S
        await host.look_once()
        while (missing := host.ready()) is not None:
            if await self._stop.sleep(_READY_POLL_S):
                return False
            if self._config.clock.wall_s() > until_s:
                raise UnavailableError(
                    f"not ready in {_READY_S:g} s, nothing taken over: {missing}"
                )
            await host.look_once()
        await host.listen()
        host.follow(int(await before.link.ask("retire", timeout_s=_RETIRE_S)))
        _log.info("taken over from the router before")
        self._background.spawn(host.see_out())
        return True

    def _offer(self) -> Offer | None:
        """To who comes next; None where there is no such thing."""
        if not hasattr(socket, "SO_PEERCRED"):
            return None
        fds = [*(listener.fileno() for listener in self._listeners), self._table.fd]
        offer = Offer(self._config.listen, fds, lambda: self._host.slots, self._answer)
        try:
            offer.open()
        except OSError as error:
            _log.warning("nobody can take over from this router: %s", error)
            return None
        self._endpoints.callback(offer.close)
        self._background.spawn(offer.run())
        return offer

    async def _answer(self, verb: str, about: bytes) -> bytes:
        """What the next router asks."""
        if verb == "retire":
            await self._endpoints.aclose()
            self._replaced = True
            self._stop.set()
            return str(self._host.sequence).encode()
        if verb == "metrics":
            return await self._count_all()
        if verb == "sample":
            return await self._sample()
        raise ValueError(f"{verb} is not known")

    async def _count_all(self) -> bytes:
        return snapshot(await self._host.count(families_of(self._own)))

    async def _sample(self) -> bytes:
        sample = await self._host.sample(0.0)
        if sample is None:
            raise UnavailableError("nothing has been counted")
        return codec.encode_traffic(sample).SerializeToString()

    # What answers for the processes.

    async def _serve(self) -> "_Publisher":
        config, host = self._config, self._host
        bus = await self._bus()
        self._own = _own(host, bus)
        self._metrics.register(_All(host, self._own, asyncio.get_running_loop()))
        recent = RecentTraffic(
            [NatsTraffic(bus, config.fleet.name, config.router_id)] if bus is not None else []
        )
        publisher = _Publisher(config, host, recent)
        self._endpoints.callback(self._background.spawn(publisher.run()).cancel)
        for work in (host.keep(), host.look()):
            self._background.spawn(work)
        control = ControlServer(config.control.host, config.control.port, host.ready, self._metrics)
        self._endpoints.push_async_callback(control.close)
        control_port = await control.start()
        grpc_port = None
        if config.grpc is not None:
            grpc_port = await serve_grpc(
                config.grpc, host.route, recent, host.ready, self._endpoints, self._background
            )
        _log.info(
            "listening host=%s port=%d control_port=%d grpc_port=%s router_id=%s processes=%d",
            config.listen.host,
            config.listen.port,
            control_port,
            grpc_port,
            config.router_id,
            host.running,
        )
        return publisher

    async def _bus(self) -> "Bus | None":
        """To publish on; what comes over NATS is heard by each process for itself."""
        if self._config.nats_url is None:
            return None
        made = bus_class(self._config.nats_url)
        bus = await made.connect(self._config.nats_url, name=f"router-{self._config.router_id}")
        self._closing.push_async_callback(bus.close)
        return bus


class _Publisher:
    """One sample for all processes each interval: to planners they are one router."""

    def __init__(self, config: RouterConfig, host: Host, sink: TrafficSink) -> None:
        self._clock = config.clock
        self._interval_s = config.settings.sample_interval_s
        self._host = host
        self._sink = sink
        self._began_s = self._clock.now_s()

    async def run(self) -> None:
        due_s = self._began_s
        while True:
            due_s = max(due_s + self._interval_s, self._clock.now_s())
            await self._clock.sleep(due_s - self._clock.now_s())
            await self.publish()

    async def publish(self) -> None:
        now_s = self._clock.now_s()
        sample = await self._host.sample(now_s - self._began_s)
        if sample is not None:
            self._began_s = now_s
            self._sink.publish(sample)


def _own(host: Host, bus: BusState | None) -> CollectorRegistry:
    own = CollectorRegistry()
    own.register(SupervisorCollector(host, bus))
    ProcessCollector(registry=own)
    return own


class _All(Collector):
    """Asks the processes. To be collected in another thread than the loop's."""

    def __init__(self, host: Host, own: CollectorRegistry, loop: asyncio.AbstractEventLoop) -> None:
        self._host = host
        self._own = own
        self._loop = loop

    def collect(self) -> Iterable[Metric]:
        counting = self._host.count(families_of(self._own))
        return asyncio.run_coroutine_threadsafe(counting, self._loop).result(_COUNT_S)
