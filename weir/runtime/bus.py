"""A NATS connection that never gives up: publish, subscribe, store with compare-and-set.

Invariant: while the server is away nothing raises or blocks except the `kv_*` calls, `record`
and `recall`, which raise `UnavailableError` within their deadline, and at once when the
connection breaks; after it is back (also another node of the cluster, or restarted with an
empty memory) subscriptions and watches deliver again without the caller doing anything.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import nats
from nats.aio.client import Client

from weir.domain.errors import UnavailableError, WeirError
from weir.runtime.jetstream import Storage
from weir.runtime.names import BoundedStream
from weir.runtime.watch import watch

__all__ = ["Bus"]

_log = logging.getLogger("weir.bus")
_T = TypeVar("_T")
_OUTBOX_MESSAGES = 1024
_RETRY_S = 0.2
_PING_S = 1.0
"""Two of them without an answer and another node is tried: so long may a node hang."""
_REQUEST_S = 2.0
_CANCEL_AGAIN_S = 0.1
_SECRET = re.compile(r"//[^/@,]*@")


class Bus:
    """Create with `connect`; close with `close`."""

    def __init__(self, url: str, name: str, replicas: int) -> None:
        self._urls = url.split(",")
        self._place = _SECRET.sub("//", url)
        self._name = name
        self._replicas = replicas
        self._client: Client | None = None
        self._storage: Storage | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscriptions: list[tuple[str, Callable[[bytes], None]]] = []
        self._outbox: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(_OUTBOX_MESSAGES)
        self._limits: set[asyncio.Timeout] = set()
        """Deadlines of the calls under way."""
        self._generation = 0
        self._ready = asyncio.Event()
        self.dropped = 0
        """Messages not published because the server was away or the outbox full."""

    @classmethod
    async def connect(cls, url: str, *, name: str, wait_s: float = 2.0, replicas: int = 3) -> "Bus":
        """Connect to `url`; returns after `wait_s` at the latest, connected or not.

        `url` may be several, of nodes of one cluster, separated by commas. There, buckets and
        streams that this bus makes have `replicas` copies; a lone server holds the only one.
        """
        bus = cls(url, name, replicas)
        bus._spawn(bus._connect_for_ever())
        bus._spawn(bus._publish_for_ever())
        try:
            async with asyncio.timeout(wait_s):
                await bus._ready.wait()
        except TimeoutError:
            _log.warning("nats away url=%s, trying on", bus._place)
        return bus

    @property
    def connected(self) -> bool:
        return self._client is not None and self._client.is_connected

    def publish(self, subject: str, payload: bytes) -> None:
        """Send without waiting. Dropped and counted while the server is away."""
        if not self.connected or self._outbox.full():
            self.dropped += 1
            return
        self._outbox.put_nowait((subject, payload))

    async def subscribe(self, subject: str, callback: Callable[[bytes], None]) -> None:
        """Call `callback` with the payload of every message on `subject`, for ever."""
        self._subscriptions.append((subject, callback))
        if self._client is not None:
            await self._subscribe(self._client, subject, callback)

    async def kv_put(self, bucket: str, key: str, value: bytes, *, timeout_s: float = 2.0) -> int:
        """Write `key`; returns its revision."""
        return await self._within(
            f"put {bucket}/{key}", lambda storage: storage.put(bucket, key, value), timeout_s
        )

    async def kv_get(
        self, bucket: str, key: str, *, timeout_s: float = 2.0
    ) -> tuple[bytes, int] | None:
        """Value and revision of `key`, None if it has none.

        The bucket's leader answers: whatever anybody was told is written is seen. Only a leader
        that has been cut off from the other nodes may for some seconds not know of its
        successor; a `kv_update` that succeeds is proof that there is none.
        """
        return await self._within(
            f"get {bucket}/{key}", lambda storage: storage.get(bucket, key), timeout_s
        )

    async def kv_update(
        self, bucket: str, key: str, value: bytes, revision: int, *, timeout_s: float = 2.0
    ) -> int:
        """Write `key` if its revision is still `revision` (0 = it must not exist).

        Raises `StaleRevisionError` if a newer revision is there: somebody else's, or one of the
        caller's own that it had given up. After `UnavailableError` the write may have
        happened, and may still happen, also after a `kv_get` that does not show it: read the
        key again before deciding anything. The next success at a revision settles it, for of
        all writes at one revision one succeeds.
        """
        return await self._within(
            f"update {bucket}/{key}",
            lambda storage: storage.update(bucket, key, value, revision),
            timeout_s,
        )

    async def kv_watch(self, bucket: str, callback: Callable[[str, bytes | None], None]) -> None:
        """Call `callback(key, value)` for all keys now and for each change (None = deleted).

        All keys are delivered again after a reconnect, and every half minute, so `callback`
        must be idempotent.
        """
        self._spawn(self._watch_for_ever(bucket, callback))

    async def record(
        self, stream: BoundedStream, subject: str, payload: bytes, *, timeout_s: float = 2.0
    ) -> int:
        """Append a message, at most 1 MiB, to `stream`; returns its number, which only grows.

        After `UnavailableError` it may be there, or come to be there.
        """
        return await self._within(
            f"record {subject}",
            lambda storage: storage.append(stream, subject, payload),
            timeout_s,
        )

    async def recall(
        self, stream: BoundedStream, subject: str, count: int, *, timeout_s: float = 2.0
    ) -> list[bytes]:
        """The newest `count` messages on `subject`, which may hold wildcards, oldest first.

        A round trip each. Nothing if there is no such stream.
        """
        return await self._within(
            f"recall {subject}",
            lambda storage: storage.newest(stream, subject, count),
            timeout_s,
        )

    async def close(self) -> None:
        pending = set(self._tasks)
        while pending:
            # Once is not enough: a wait_for that has its result swallows the cancellation.
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_S)
        if self._client is not None:
            try:
                async with asyncio.timeout(1.0):
                    await self._client.close()
            except Exception as error:
                _log.debug("nats close: %r", error)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect_for_ever(self) -> None:
        while self._client is None:
            try:
                client = await nats.connect(
                    self._urls,
                    name=self._name,
                    connect_timeout=1,
                    allow_reconnect=True,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=_RETRY_S,
                    ping_interval=_PING_S,
                    max_outstanding_pings=2,
                    pending_size=0,
                    error_cb=self._on_error,
                    disconnected_cb=self._on_disconnected,
                    reconnected_cb=self._on_reconnected,
                )
            except asyncio.CancelledError:
                raise
            except Exception as error:
                _log.debug("nats connect: %r", error)
                await asyncio.sleep(_RETRY_S)
                continue
            self._storage = Storage(client.jetstream(timeout=_REQUEST_S), self._replicas)
            self._client = client
        for subject, callback in self._subscriptions:
            await self._subscribe(self._client, subject, callback)
        self._ready.set()

    async def _publish_for_ever(self) -> None:
        while True:
            subject, payload = await self._outbox.get()
            try:
                if self._client is not None and self.connected:
                    await self._client.publish(subject, payload)
                else:
                    self.dropped += 1
            except Exception as error:
                self.dropped += 1
                _log.debug("publish %s: %r", subject, error)

    async def _subscribe(
        self, client: Client, subject: str, callback: Callable[[bytes], None]
    ) -> None:
        async def deliver(message: Any) -> None:
            try:
                callback(message.data)
            except Exception:
                _log.exception("a message was not understood subject=%s", message.subject)

        await client.subscribe(subject, cb=deliver)

    async def _within(
        self, what: str, call: Callable[[Storage], Awaitable[_T]], timeout_s: float
    ) -> _T:
        if self._storage is None or not self.connected:
            raise UnavailableError(f"{what}: NATS at {self._place} is away")
        generation = self._generation
        try:
            async with asyncio.timeout(timeout_s) as limit:
                self._limits.add(limit)
                try:
                    return await call(self._storage)
                finally:
                    self._limits.discard(limit)
        except WeirError:
            raise
        except TimeoutError:
            lost = not self._same_connection(generation)
            why = "the connection broke" if lost else "no answer in time"
            raise UnavailableError(f"{what}: {why}") from None
        except Exception as error:
            raise UnavailableError(f"{what}: {error!r}") from None

    async def _watch_for_ever(
        self, bucket: str, callback: Callable[[str, bytes | None], None]
    ) -> None:
        await self._ready.wait()
        assert self._storage is not None
        while True:
            same = partial(self._same_connection, self._generation)
            try:
                await watch(self._storage, bucket, callback, same)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                _log.debug("watch %s: %r", bucket, error)
                await asyncio.sleep(_RETRY_S)

    def _same_connection(self, generation: int) -> bool:
        return generation == self._generation

    async def _on_error(self, error: Exception) -> None:
        _log.debug("nats: %r", error)

    async def _on_disconnected(self) -> None:
        """What is under way gets no answer any more: fail it now, while there is time left."""
        self._generation += 1
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(0.0)
        _log.warning("nats away url=%s", self._place)

    async def _on_reconnected(self) -> None:
        _log.info("nats back url=%s", self._place)
