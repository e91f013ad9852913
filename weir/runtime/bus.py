"""A NATS connection that never gives up: publish, subscribe, key-value with compare-and-set.

Invariant: while the server is away nothing raises or blocks except the `kv_*` calls, which
raise `UnavailableError` within their deadline; after it is back (also restarted with an
empty memory) subscriptions and watches deliver again without the caller doing anything.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import nats
from nats.aio.client import Client
from nats.js.errors import (
    BucketNotFoundError,
    KeyNotFoundError,
    KeyWrongLastSequenceError,
)
from nats.js.kv import KeyValue

from weir.domain.errors import StaleRevisionError, UnavailableError, WeirError

__all__ = ["Bus"]

_log = logging.getLogger("weir.bus")
_T = TypeVar("_T")
_OUTBOX_MESSAGES = 1024
_RETRY_S = 0.2
_WATCH_POLL_S = 0.5
_WATCH_ANEW_S = 30.0
"""A bucket that was deleted and made again ends no watch on it; the watch only hears nothing."""
_CANCEL_AGAIN_S = 0.1


class Bus:
    """Create with `connect`; close with `close`."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._client: Client | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscriptions: list[tuple[str, Callable[[bytes], None]]] = []
        self._outbox: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(_OUTBOX_MESSAGES)
        self._buckets: dict[str, KeyValue] = {}
        self._generation = 0
        self._ready = asyncio.Event()
        self.dropped = 0
        """Messages not published because the server was away or the outbox full."""

    @classmethod
    async def connect(cls, url: str, *, name: str, wait_s: float = 2.0) -> "Bus":
        """Connect to `url`; returns after `wait_s` at the latest, connected or not."""
        bus = cls(url, name)
        bus._spawn(bus._connect_for_ever())
        bus._spawn(bus._publish_for_ever())
        try:
            async with asyncio.timeout(wait_s):
                await bus._ready.wait()
        except TimeoutError:
            _log.warning("nats away url=%s, trying on", url)
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

        async def put() -> int:
            return await (await self._bucket(bucket)).put(key, value)

        return await self._within(f"put {bucket}/{key}", put, timeout_s)

    async def kv_get(
        self, bucket: str, key: str, *, timeout_s: float = 2.0
    ) -> tuple[bytes, int] | None:
        """Value and revision of `key`, None if it has none."""

        async def get() -> tuple[bytes, int] | None:
            try:
                entry = await (await self._bucket(bucket)).get(key)
            except KeyNotFoundError:
                return None
            return entry.value or b"", entry.revision or 0

        return await self._within(f"get {bucket}/{key}", get, timeout_s)

    async def kv_update(
        self, bucket: str, key: str, value: bytes, revision: int, *, timeout_s: float = 2.0
    ) -> int:
        """Write `key` if its revision is still `revision` (0 = it must not exist).

        Raises `StaleRevisionError` if not. After `UnavailableError` the write may have
        happened: read the key again before deciding anything.
        """

        async def update() -> int:
            kv = await self._bucket(bucket)
            try:
                if revision == 0:
                    return await kv.create(key, value)
                return await kv.update(key, value, last=revision)
            except KeyWrongLastSequenceError:
                raise StaleRevisionError(f"{bucket}/{key} is past revision {revision}") from None

        return await self._within(f"update {bucket}/{key}", update, timeout_s)

    async def kv_watch(self, bucket: str, callback: Callable[[str, bytes | None], None]) -> None:
        """Call `callback(key, value)` for all keys now and for each change (None = deleted).

        All keys are delivered again after a reconnect, and every half minute, so `callback`
        must be idempotent.
        """
        self._spawn(self._watch_for_ever(bucket, callback))

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
                self._client = await nats.connect(
                    self._url,
                    name=self._name,
                    connect_timeout=1,
                    allow_reconnect=True,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=_RETRY_S,
                    ping_interval=5,
                    max_outstanding_pings=2,
                    error_cb=self._on_error,
                    disconnected_cb=self._on_disconnected,
                    reconnected_cb=self._on_reconnected,
                )
            except asyncio.CancelledError:
                raise
            except Exception as error:
                _log.debug("nats connect: %r", error)
                await asyncio.sleep(_RETRY_S)
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

    async def _bucket(self, bucket: str) -> KeyValue:
        if bucket not in self._buckets:
            if self._client is None:
                raise UnavailableError("never connected")
            jetstream = self._client.jetstream(timeout=1.5)
            try:
                self._buckets[bucket] = await jetstream.key_value(bucket)
            except BucketNotFoundError:
                self._buckets[bucket] = await jetstream.create_key_value(bucket=bucket, history=1)
        return self._buckets[bucket]

    async def _within(self, what: str, call: Callable[[], Awaitable[_T]], timeout_s: float) -> _T:
        if not self.connected:
            raise UnavailableError(f"{what}: NATS at {self._url} is away")
        try:
            async with asyncio.timeout(timeout_s):
                return await call()
        except WeirError:
            raise
        except Exception as error:
            self._buckets.clear()
            raise UnavailableError(f"{what}: {error!r}") from None

    async def _watch_for_ever(
        self, bucket: str, callback: Callable[[str, bytes | None], None]
    ) -> None:
        while True:
            await self._ready.wait()
            try:
                await self._watch_once(bucket, callback)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                self._buckets.pop(bucket, None)
                _log.debug("watch %s: %r", bucket, error)
                await asyncio.sleep(_RETRY_S)

    async def _watch_once(self, bucket: str, callback: Callable[[str, bytes | None], None]) -> None:
        """Deliver until the connection has been replaced or it is time to look anew."""
        generation = self._generation
        until_s = asyncio.get_running_loop().time() + _WATCH_ANEW_S
        async with asyncio.timeout(3.0):
            watcher: Any = await (await self._bucket(bucket)).watchall()
        try:
            while generation == self._generation and asyncio.get_running_loop().time() < until_s:
                try:
                    entry = await watcher.updates(timeout=_WATCH_POLL_S)
                except TimeoutError:
                    continue
                if entry is None:
                    continue
                deleted = entry.operation in ("DEL", "PURGE")
                try:
                    callback(entry.key, None if deleted else entry.value)
                except Exception:
                    _log.exception("a value was not understood bucket=%s", bucket)
        finally:
            try:
                async with asyncio.timeout(1.0):
                    await watcher.stop()
            except Exception as error:
                _log.debug("watch stop: %r", error)

    async def _on_error(self, error: Exception) -> None:
        _log.debug("nats: %r", error)

    async def _on_disconnected(self) -> None:
        _log.warning("nats away url=%s", self._url)

    async def _on_reconnected(self) -> None:
        self._generation += 1
        self._buckets.clear()
        _log.info("nats back url=%s", self._url)
