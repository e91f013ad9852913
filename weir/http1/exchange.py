"""One connection to a server, one request at a time."""

import asyncio
from collections.abc import Callable
from math import inf
from typing import cast

from weir.http1.responses import ResponseReader
from weir.http1.sink import BrokenError, DeadlineError, Patience, Sink, UpstreamError

__all__ = ["ClientConnection", "Plan"]

_JOIN_BELOW_BYTES = 16384


class Plan:
    """One request as it goes out, and until when to wait for what (the loop's time)."""

    __slots__ = ("body", "first_byte_by", "give_up_at", "head", "idle_s", "method", "raw")

    def __init__(
        self, method: str, head: bytes, body: bytes, patience: Patience, since: float, raw: bool
    ) -> None:
        self.method = method
        self.head = head
        self.body = body
        self.raw = raw
        self.idle_s = patience.idle_s
        self.give_up_at = since + patience.total_s
        self.first_byte_by = min(since + patience.first_byte_s, self.give_up_at)


class ClientConnection:
    """An `asyncio.Protocol` without its base, which compiled classes cannot have.

    `lost`, `released`: its pool's callbacks. One whose making is cancelled is closed; not every
    event loop calls `lost` then.
    """

    __slots__ = (
        "_done",
        "_give_up_at",
        "_idle_s",
        "_loop",
        "_lost",
        "_paused",
        "_reader",
        "_released",
        "_sink",
        "_time",
        "_transport",
        "deadline",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        lost: Callable[["ClientConnection"], None],
        released: Callable[["ClientConnection"], None],
    ) -> None:
        self._loop = loop
        self._time = loop.time
        self._lost = lost
        self._released = released
        self._transport: asyncio.Transport | None = None
        self._done: asyncio.Future[None] | None = None
        self._sink: Sink | None = None
        self._reader: ResponseReader | None = None
        self._paused = False
        self._idle_s = inf
        self._give_up_at = inf
        self.deadline = inf

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def answered(self) -> bool:
        """A byte of the current response, or of the last one, has come."""
        return self._reader is not None and self._reader.answered

    @property
    def at_boundary(self) -> bool:
        return self._reader is not None and self._reader.at_boundary

    async def exchange(self, plan: Plan, sink: Sink) -> None:
        """Send one request; returns at the end of its response. Raises `UpstreamError`."""
        if self._transport is None:
            raise BrokenError("the connection is closed")
        done = self._done = self._loop.create_future()
        self._sink = sink
        reader = self._reader = ResponseReader(sink, raw=plan.raw, head_only=plan.method == "HEAD")
        self._idle_s = plan.idle_s
        self._give_up_at = plan.give_up_at
        self.deadline = plan.first_byte_by
        sink.connection = self
        if len(plan.body) < _JOIN_BELOW_BYTES:
            self._transport.write(plan.head + plan.body)
        else:
            self._transport.writelines((plan.head, plan.body))
        try:
            await done
        except asyncio.CancelledError:
            if self._done is done:  # else it has ended, and another may have the connection
                self.abort(None)
            raise
        finally:
            sink.connection = None
            reader.let_go()

    def rest(self, until: float) -> None:
        """Stay open, unused, until that time."""
        self.deadline = until

    def abort(self, error: UpstreamError | None) -> None:
        """Break the connection; a running exchange raises `error`."""
        if self._transport is not None:
            self._transport.abort()
        self._fail(error)

    def pause_reading(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self.deadline = self._give_up_at
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self.deadline = min(self._time() + self._idle_s, self._give_up_at)
            self._transport.resume_reading()

    def expire(self) -> None:
        """The deadline has passed."""
        self.deadline = inf
        self.abort(DeadlineError("the server did not go on within its time"))

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        if self._done is None or reader is None:
            self.abort(None)  # bytes that nobody asked for: this connection is out of step
            return
        try:
            ended = reader.feed(data)
        except UpstreamError as error:
            self.abort(error)
            return
        if ended:
            self._end(reader)
        elif reader.body_begun and not self._paused:
            deadline = self._time() + self._idle_s
            self.deadline = deadline if deadline < self._give_up_at else self._give_up_at

    def eof_received(self) -> None:
        reader = self._reader
        if self._done is not None and reader is not None and reader.ends_with_connection:
            self._end(reader)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.deadline = inf
        self._lost(self)
        self._fail(BrokenError(f"the connection was lost: {exc or 'closed by the server'}"))

    # Inside.

    def _end(self, reader: ResponseReader) -> None:
        sink, self._sink = self._sink, None
        self.deadline = inf
        if sink is not None:
            sink.on_end()
            sink.connection = None
        done, self._done = self._done, None
        if done is not None and not done.done():
            done.set_result(None)
        if reader.keep and self.usable:
            self.resume_reading()
            self._released(self)
        elif self._transport is not None:
            self._transport.close()

    def _fail(self, error: UpstreamError | None) -> None:
        done, self._done = self._done, None
        if done is None or done.done():
            return
        if error is None:
            done.cancel()
        else:
            done.set_exception(error)
