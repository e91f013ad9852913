"""What engines hold, as they publish it over ZMQ: a subscription for each worker.

A connection that breaks may have been an engine's end, so what was known of it is forgotten; what
it has published is asked for again where it offers that. Nobody is believed who was not heard to
the end: what cannot be understood is a gap like any other.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from router.adapters.kv_messages import MalformedError, events_of, number_of
from router.core.pool import Pool
from router.core.reuse.holdings import Holdings, Order, Step, Stored
from router.core.reuse.reuse import Reuse
from router.core.workers.worker import Worker
from weir.domain.fleet import KvEvents

if TYPE_CHECKING:  # an extra
    import zmq.asyncio

__all__ = ["KvEventReader"]

_log = logging.getLogger("weir.router.kv_events")
_LOOK_S = 0.5
_REPLAY_DEADLINE_S = 2.0
_MOST_BYTES = 4 * 1024 * 1024
_MOST_WAITING = 10_000
_BLOCKS_PER_TURN = 512
"""About a millisecond; then others have their turn."""
_RECONNECT_MS, _LONGEST_RECONNECT_MS = 200, 5_000
_MOST_SOCKETS = 65_535
"""Three for each worker."""
_END = b"\xff" * 8


class KvEventReader:
    """Follows the workers of these pools as they come and go. Needs pyzmq."""

    def __init__(self, pools: Iterable[Pool]) -> None:
        import zmq.asyncio

        self._context = zmq.asyncio.Context()
        self._context.set(zmq.MAX_SOCKETS, _MOST_SOCKETS)
        self._pools = [pool for pool in pools if pool.reuse and pool.reuse.holdings]
        self._readers: dict[Worker, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """For ever; ends what it has begun when it is cancelled."""
        try:
            while True:
                self._follow()
                await asyncio.sleep(_LOOK_S)
        finally:
            for task in self._readers.values():
                task.cancel()
            await asyncio.gather(*self._readers.values(), return_exceptions=True)
            self._context.destroy(linger=0)

    def _follow(self) -> None:
        here = {worker: pool for pool in self._pools for worker in pool.workers.values()}
        for worker in [worker for worker in self._readers if worker not in here]:
            self._readers.pop(worker).cancel()
        for worker, pool in here.items():
            if worker not in self._readers and pool.reuse is not None and pool.spec.kv_events:
                reader = _Reader(self._context, pool, pool.reuse, worker, pool.spec.kv_events)
                self._readers[worker] = asyncio.create_task(reader.run())


class _Reader:
    """Of one worker."""

    def __init__(
        self,
        context: "zmq.asyncio.Context",
        pool: Pool,
        reuse: Reuse,
        worker: Worker,
        kv_events: KvEvents,
    ) -> None:
        assert reuse.holdings is not None
        self._context = context
        self._pool = pool
        self._reuse = reuse
        self._holdings: Holdings[Worker] = reuse.holdings
        self._worker = worker
        host, port = worker.endpoint.host, worker.endpoint.port
        shown = f"[{host}]" if ":" in host else host
        events, replay = kv_events.ports(port)
        self._address = f"tcp://{shown}:{events}"
        self._replay_address = None if replay is None else f"tcp://{shown}:{replay}"
        self._order = Order()
        self._blocks = 0

    async def run(self) -> None:
        """For ever. Whatever fails is tried again, with nothing believed."""
        failed = False
        while True:
            try:
                await self._listen()
            except Exception:
                if not failed:
                    _log.exception("reading KV events failed address=%s", self._address)
                failed = True
                self._lose()
                await asyncio.sleep(_LONGEST_RECONNECT_MS / 1e3)

    async def _listen(self) -> None:
        """As long as the connection lasts that it makes."""
        import zmq

        socket = self._socket(zmq.SUB)
        socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, _LONGEST_RECONNECT_MS)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        try:
            socket.connect(self._address)
            await monitor.recv_multipart()
            lost = asyncio.ensure_future(monitor.recv_multipart())
            reading = asyncio.create_task(self._read(socket))
            try:
                await asyncio.wait((lost, reading), return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    reading.result()
                self._holdings.restarts += 1
                self._lose()
                _log.info("KV events ended address=%s", self._address)
            finally:
                for task in (lost, reading):
                    task.cancel()
                await asyncio.gather(lost, reading, return_exceptions=True)
        finally:
            socket.disable_monitor()
            monitor.close(linger=0)
            socket.close(linger=0)

    async def _read(self, socket: "zmq.asyncio.Socket") -> None:
        self._order.reset()
        _log.debug("KV events address=%s", self._address)
        await self._replay(None)
        while True:
            await self._hear(await socket.recv_multipart())
            if self._blocks >= _BLOCKS_PER_TURN:
                self._blocks = 0
                await asyncio.sleep(0)

    async def _hear(self, frames: list[bytes]) -> None:
        """A live message."""
        try:
            if len(frames) != 3:
                raise MalformedError(f"{len(frames)} frames")
            number = number_of(frames[1])
        except MalformedError as error:
            self._refuse(error)
            return
        step = self._order.look(number)
        if step is Step.RESTART:
            self._holdings.restarts += 1
            self._lose()
            self._order.reset()
            step = self._order.look(number)
        if step is Step.GAP:
            if await self._replay(number):
                self._holdings.gaps["replayed"] += 1
            step = self._order.look(number)
        if step is Step.GAP:
            self._holdings.gaps["forgotten"] += 1
            self._lose()
            self._order.lose(number)
            step = self._order.look(number)
        if step is Step.TAKE:
            await self._take(number, frames[2])

    async def _take(self, number: int, payload: bytes) -> None:
        """The next message, live or replayed."""
        self._order.taken()
        if self._pool.workers.get(self._worker.endpoint.id) is not self._worker:
            return
        if number == 0:
            self._holdings.begin(self._worker)
        try:
            events = events_of(payload)
        except MalformedError as error:
            self._refuse(error)
            return
        for event in events:
            self._reuse.hear(self._worker, event)
            self._blocks += len(event.blocks) if isinstance(event, Stored) else 1
            if self._blocks >= _BLOCKS_PER_TURN:
                self._blocks = 0
                await asyncio.sleep(0)

    def _refuse(self, error: MalformedError) -> None:
        """It may have said that something has been removed."""
        self._holdings.malformed += 1
        _log.debug("KV events not understood address=%s error=%s", self._address, error)
        self._lose()

    def _lose(self) -> None:
        if self._pool.workers.get(self._worker.endpoint.id) is self._worker:
            self._reuse.lose(self._worker)

    async def _replay(self, until: int | None) -> bool:
        """Take what comes before message `until`; None: all there is. Whether it is all here now.

        The first message that it has may be a later one than what is asked for.
        """
        if self._replay_address is None:
            return False
        try:
            async with asyncio.timeout(_REPLAY_DEADLINE_S):
                await self._ask_again(self._replay_address, until)
        except TimeoutError:
            self._lose()  # a message may have been taken by half
        return until is not None and self._order.next >= until

    async def _ask_again(self, address: str, until: int | None) -> None:
        import zmq

        socket = self._socket(zmq.DEALER)
        try:
            socket.connect(address)
            await socket.send_multipart([b"", self._order.next.to_bytes(8, "big")])
            while True:
                frames = await socket.recv_multipart()
                if len(frames) != 3 or frames[1] == _END:
                    return
                number = number_of(frames[1])
                if until is None and number > self._order.next == 0:
                    self._order.lose(number)  # what was before it has been given up
                if number == self._order.next:
                    await self._take(number, frames[2])
                elif number > self._order.next:
                    return
        except MalformedError as error:
            self._refuse(error)
        finally:
            socket.close(linger=0)

    def _socket(self, kind: int) -> "zmq.asyncio.Socket":
        import zmq

        socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, _MOST_WAITING)
        socket.setsockopt(zmq.MAXMSGSIZE, _MOST_BYTES)
        socket.setsockopt(zmq.IPV6, 1)
        return socket
