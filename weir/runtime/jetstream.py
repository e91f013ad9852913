"""What the bus asks of JetStream: buckets read through their leader, bounded streams.

Nothing here looks first whether a bucket or stream is there: it is made when the server says
that nobody listens, so that a call costs one round trip also when it is tried again and again.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from nats.js import JetStreamContext, api
from nats.js.errors import (
    APIError,
    KeyNotFoundError,
    KeyWrongLastSequenceError,
    NoStreamResponseError,
    NotFoundError,
)
from nats.js.kv import KeyValue

from weir.domain.errors import StaleRevisionError, UnavailableError
from weir.runtime.names import BoundedStream

__all__ = ["Storage"]

_T = TypeVar("_T")
_NOT_CLUSTERED = 10074
_OTHER_CONFIGURATION = 10058
_NEWEST_REVISION = re.compile(r"wrong last sequence: (\d+)")
_IN_FLIGHT_S = 0.02
_IN_FLIGHT_TRIES = 25
"""How often and how many times to ask whether a write that is ahead of ours has got through."""
_LEADERLESS_S = 0.05
_LEADERLESS_TRIES = 40
"""The same for a stream that has no leader yet, or has lost it."""


class Storage:
    """One connection's buckets and streams; the caller sets the deadlines."""

    def __init__(self, jetstream: JetStreamContext, replicas: int) -> None:
        self._jetstream = jetstream
        self._replicas = replicas

    def bucket(self, name: str) -> KeyValue:
        """A handle whose reads the stream's leader answers, whatever the bucket allows.

        With direct gets any replica would, also one that has not heard of the last write.
        """
        return KeyValue(name, _stream_of(name), f"$KV.{name}.", self._jetstream, direct=False)

    async def get(self, bucket: str, key: str) -> tuple[bytes, int] | None:
        try:
            entry = await self.bucket(bucket).get(key)
        except KeyNotFoundError:
            return None
        return entry.value or b"", entry.revision or 0

    async def put(self, bucket: str, key: str, value: bytes) -> int:
        handle = self.bucket(bucket)
        return await self._made(lambda: handle.put(key, value), lambda: self._make_bucket(bucket))

    async def update(self, bucket: str, key: str, value: bytes, revision: int) -> int:
        """Compare and set, or 0 creates. Where another write to the key is not through yet, the
        server refuses without a verdict and without having done anything: then ask again."""
        handle = self.bucket(bucket)

        def write() -> Awaitable[int]:
            if revision == 0:
                return handle.create(key, value)
            return handle.update(key, value, last=revision)

        for _ in range(_IN_FLIGHT_TRIES):
            try:
                return await self._made(write, lambda: self._make_bucket(bucket))
            except KeyWrongLastSequenceError as refused:
                newest = _NEWEST_REVISION.search(str(refused))
            except KeyNotFoundError:
                newest = None
            if newest is not None:
                raise _refusal(f"{bucket}/{key}", revision, int(newest[1]))
            await asyncio.sleep(_IN_FLIGHT_S)
        raise UnavailableError(f"{bucket}/{key}: a write ahead of this one does not get through")

    async def last_sequence(self, bucket: str) -> int:
        """Number of the newest change to `bucket`, which is made if it is not there."""
        stream = _stream_of(bucket)
        try:
            info = await self._jetstream.stream_info(stream)
        except NotFoundError:
            await self._make_bucket(bucket)
            info = await self._jetstream.stream_info(stream)
        return int(info.state.last_seq)

    async def append(self, stream: BoundedStream, subject: str, payload: bytes) -> int:
        acknowledged = await self._made(
            lambda: self._jetstream.publish(subject, payload, stream=stream.name),
            lambda: self._make_stream(stream),
        )
        return int(acknowledged.seq)

    async def newest(self, stream: BoundedStream, subject: str, count: int) -> list[bytes]:
        """The newest `count` messages of `subject`, which may hold wildcards, oldest first."""
        if count < 1:
            return []
        try:
            state = (await self._jetstream.stream_info(stream.name)).state
        except NotFoundError:
            return []
        return await self._newest(stream.name, subject, state.first_seq, state.last_seq + 1, count)

    async def _newest(
        self, stream: str, subject: str, start: int, end: int, count: int
    ) -> list[bytes]:
        """Halves the range until it is small enough to read on from its first message."""
        first = await self._next(stream, subject, start, end)
        if first is None or first.seq is None:
            return []
        if end - first.seq > 2 * count:
            middle = (first.seq + end) // 2
            newer = await self._newest(stream, subject, middle, end, count)
            missing = count - len(newer)
            if missing == 0:
                return newer
            return await self._newest(stream, subject, first.seq, middle, missing) + newer
        found: list[bytes] = []
        message: api.RawStreamMsg | None = first
        while message is not None and message.seq is not None:
            found.append(message.data or b"")
            message = await self._next(stream, subject, message.seq + 1, end)
        return found[-count:]

    async def _next(
        self, stream: str, subject: str, start: int, end: int
    ) -> api.RawStreamMsg | None:
        if start >= end:
            return None
        try:
            message = await self._jetstream.get_msg(stream, seq=start, subject=subject, next=True)
        except NotFoundError:
            return None
        return message if message.seq is not None and message.seq < end else None

    async def _made(
        self, call: Callable[[], Awaitable[_T]], make: Callable[[], Awaitable[None]]
    ) -> _T:
        """The call's result. While nobody hears it, which is certain, it can be sent again.

        What has just been made takes a moment to find its leader.
        """
        try:
            return await call()
        except NoStreamResponseError:
            await make()
        for _ in range(_LEADERLESS_TRIES):
            try:
                return await call()
            except NoStreamResponseError:
                await asyncio.sleep(_LEADERLESS_S)
        return await call()

    async def _make_bucket(self, name: str) -> None:
        """A key-value bucket whose revisions go on where those of a lost one may have ended.

        They begin with the time of day, so that no write which was made for a bucket before
        it fits this one, however late it comes.
        """

        async def make(replicas: int) -> None:
            await self._jetstream.add_stream(
                name=_stream_of(name),
                subjects=[f"$KV.{name}.>"],
                first_seq=time.time_ns() // 1_000_000,
                max_msgs_per_subject=1,
                discard=api.DiscardPolicy.NEW,
                deny_delete=True,
                allow_rollup_hdrs=True,
                num_replicas=replicas,
            )

        await self._replicated(make)

    async def _make_stream(self, stream: BoundedStream) -> None:
        async def make(replicas: int) -> None:
            await self._jetstream.add_stream(
                name=stream.name,
                subjects=list(stream.subjects),
                max_age=stream.max_age_s,
                max_bytes=stream.max_bytes,
                num_replicas=replicas,
            )

        await self._replicated(make)

    async def _replicated(self, make: Callable[[int], Awaitable[None]]) -> None:
        """Make it with as many copies as asked for, or the only one on a lone server.

        What is there already stays as it is.
        """
        for replicas in (self._replicas, 1):
            try:
                await make(replicas)
            except APIError as error:
                if error.err_code == _NOT_CLUSTERED and replicas > 1:
                    continue
                if error.err_code != _OTHER_CONFIGURATION:
                    raise
            return


def _stream_of(bucket: str) -> str:
    return f"KV_{bucket}"


def _refusal(key: str, revision: int, newest: int) -> StaleRevisionError | UnavailableError:
    """Only who knows more than the caller can say that the caller is late."""
    if newest > revision:
        return StaleRevisionError(f"{key} is at revision {newest}, past {revision}")
    return UnavailableError(
        f"{key}: the server knows revisions up to {newest} only, not {revision}; "
        "it is behind or has lost its store"
    )
