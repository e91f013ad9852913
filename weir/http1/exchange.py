"""One connection to a server, one request at a time.

The head of each response is parsed; its body is followed only to find its end, and handed
on as it came (`raw`) or with its framing taken off.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import cast

import httptools

from weir.domain.errors import UnavailableError
from weir.http1.chunked import ChunkError, ChunkReader
from weir.http1.messages import Header

__all__ = [
    "BrokenError",
    "ClientConnection",
    "ConnectError",
    "DeadlineError",
    "Framing",
    "Patience",
    "Plan",
    "Sink",
    "UpstreamError",
]

_MAX_HEAD_BYTES = 65536
_JOIN_BELOW_BYTES = 16384
_BODILESS = frozenset({204, 304})


class UpstreamError(UnavailableError):
    """A server did not answer as it should."""


class ConnectError(UpstreamError):
    """No connection could be made."""


class BrokenError(UpstreamError):
    """The connection ended early, or what came over it is not HTTP."""


class DeadlineError(UpstreamError):
    """The server took longer than it was given."""


class Framing(Enum):
    """How the end of a response's body is told."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until close"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Wall seconds: for the first byte of the body, between two reads of it, for all of it."""

    first_byte_s: float = 120.0
    idle_s: float = 60.0
    total_s: float = inf

    @property
    def shortest_s(self) -> float:
        return min(self.first_byte_s, self.idle_s, self.total_s)


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


class Sink:
    """Gets one response. Override what is needed; raise `UpstreamError` to refuse it."""

    framing: Framing = Framing.NONE
    aborted: bool = False
    connection: "ClientConnection | None" = None

    def on_response(self, status: int, headers: list[Header]) -> None: ...

    def on_data(self, data: bytes) -> None: ...

    def on_end(self) -> None: ...

    def abort(self) -> None:
        """Give up: the connection is broken and `Pool.stream` raises `BrokenError`."""
        self.aborted = True
        if self.connection is not None:
            self.connection.abort(BrokenError("given up by the caller"))

    def pause(self) -> None:
        """Let the server wait (until `resume`), its idle time not counted."""
        if self.connection is not None:
            self.connection.pause_reading()

    def resume(self) -> None:
        if self.connection is not None:
            self.connection.resume_reading()


class _Head:
    """Collects one response head from the parser."""

    __slots__ = ("headers",)

    def __init__(self) -> None:
        self.headers: list[Header] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))


class ClientConnection(asyncio.Protocol):
    """`answered`: a byte of the current response has come."""

    __slots__ = (
        "_chunks",
        "_done",
        "_framing",
        "_give_up_at",
        "_head",
        "_head_method",
        "_idle_s",
        "_in_body",
        "_keep",
        "_left",
        "_loop",
        "_lost",
        "_opened",
        "_paused",
        "_raw",
        "_released",
        "_sink",
        "_time",
        "_transport",
        "answered",
        "deadline",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        opened: Callable[["ClientConnection"], None],
        lost: Callable[["ClientConnection"], None],
        released: Callable[["ClientConnection"], None],
    ) -> None:
        self._loop = loop
        self._time = loop.time
        self._opened = opened
        self._lost = lost
        self._released = released
        self._transport: asyncio.Transport | None = None
        self._done: asyncio.Future[None] | None = None
        self._sink = Sink()
        self._raw = False
        self._paused = False
        self._head = b""
        self._head_method = False
        self._in_body = False
        self._framing = Framing.NONE
        self._keep = False
        self._left = 0
        self._chunks = ChunkReader()
        self._idle_s = inf
        self._give_up_at = inf
        self.answered = False
        self.deadline = inf

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def at_boundary(self) -> bool:
        """Between two chunks of a chunked body."""
        return self._framing is Framing.CHUNKED and self._chunks.at_boundary

    async def exchange(self, plan: Plan, sink: Sink) -> None:
        """Send one request; returns at the end of its response. Raises `UpstreamError`."""
        if self._transport is None:
            raise BrokenError("the connection is closed")
        self._done = self._loop.create_future()
        self._sink = sink
        self._raw = plan.raw
        self._head = b""
        self._head_method = plan.method == "HEAD"
        self._in_body = False
        self.answered = False
        self._idle_s = plan.idle_s
        self._give_up_at = plan.give_up_at
        self.deadline = plan.first_byte_by
        sink.connection = self
        if len(plan.body) < _JOIN_BELOW_BYTES:
            self._transport.write(plan.head + plan.body)
        else:
            self._transport.writelines((plan.head, plan.body))
        try:
            await self._done
        except asyncio.CancelledError:
            self.abort(None)
            raise
        finally:
            sink.connection = None

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
        self._opened(self)

    def data_received(self, data: bytes) -> None:
        if self._done is None:
            self.abort(None)  # bytes that nobody asked for: this connection is out of step
            return
        try:
            self._take(data)
        except UpstreamError as error:
            self.abort(error)
        except httptools.HttpParserUpgrade:
            self.abort(BrokenError("the server switched protocols unasked"))
        except (ChunkError, httptools.HttpParserError) as error:
            self.abort(BrokenError(f"malformed response: {error}"))

    def eof_received(self) -> None:
        if self._done is not None and self._in_body and self._framing is Framing.UNTIL_CLOSE:
            self._keep = False
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.deadline = inf
        self._lost(self)
        self._fail(BrokenError(f"the connection was lost: {exc or 'closed by the server'}"))

    # Inside.

    def _take(self, data: bytes) -> None:
        if not self._in_body:
            rest = self._take_head(data)
            if not rest and (rest is None or self._framing is not Framing.NONE):
                return
            data = rest
        deadline = self._time() + self._idle_s
        self.deadline = deadline if deadline < self._give_up_at else self._give_up_at
        if self._framing is Framing.CHUNKED:
            self._take_chunks(data)
        elif self._framing is Framing.LENGTH:
            self._take_length(data)
        elif self._framing is Framing.UNTIL_CLOSE:
            self._sink.on_data(data)
        else:
            self._keep = self._keep and not data
            self._end()

    def _take_chunks(self, data: bytes) -> None:
        payload: list[bytes] | None = None if self._raw else []
        end = self._chunks.feed(data, payload)
        if 0 <= end < len(data):
            self._keep = False
            data = data[:end]
        if payload is not None:
            data = payload[0] if len(payload) == 1 else b"".join(payload)
        if data:
            self._sink.on_data(data)
        if end >= 0:
            self._end()

    def _take_length(self, data: bytes) -> None:
        if len(data) > self._left:
            self._keep = False
            data = data[: self._left]
        self._left -= len(data)
        if data:
            self._sink.on_data(data)
        if not self._left:
            self._end()

    def _take_head(self, data: bytes) -> bytes | None:
        """What follows the head, or None while it is incomplete."""
        self.answered = True
        if self._head:
            data = self._head + data
        while True:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                if len(data) > _MAX_HEAD_BYTES:
                    raise BrokenError("the response's headers are too large")
                self._head = data
                return None
            status, headers = self._parse_head(data[:end])
            data = data[end:]
            if status >= 200:
                break
        self._head = b""
        self._in_body = True
        self._sink.framing = self._framing
        self._sink.on_response(status, headers)
        return data

    def _parse_head(self, head: bytes) -> tuple[int, list[Header]]:
        collected = _Head()
        parser = httptools.HttpResponseParser(collected)
        parser.feed_data(head)
        status: int = parser.get_status_code()
        self._keep = parser.get_http_version() == "1.1"
        self._frame(status, collected.headers)
        return status, collected.headers

    def _frame(self, status: int, headers: list[Header]) -> None:
        framing = Framing.UNTIL_CLOSE
        for name, value in headers:
            if name == b"transfer-encoding":
                if value.strip().lower() != b"chunked":
                    raise BrokenError("the response has a transfer-encoding not understood")
                framing = Framing.CHUNKED
                self._chunks = ChunkReader()
            elif name == b"connection":
                self._keep = _stays_open(value, self._keep)
            elif name == b"content-length" and framing is not Framing.CHUNKED:
                framing = Framing.LENGTH
                self._left = int(value)
        if (
            self._head_method
            or status in _BODILESS
            or (framing is Framing.LENGTH and not self._left)
        ):
            framing = Framing.NONE
        elif framing is Framing.UNTIL_CLOSE:
            self._keep = False
        self._framing = framing

    def _end(self) -> None:
        done, self._done = self._done, None
        self.deadline = inf
        self._in_body = False
        self._sink.on_end()
        sink, self._sink = self._sink, Sink()
        sink.connection = None
        if done is not None and not done.done():
            done.set_result(None)
        if self._keep and self.usable:
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


def _stays_open(connection: bytes, default: bool) -> bool:
    tokens = {token.strip() for token in connection.lower().split(b",")}
    return b"close" not in tokens and (default or b"keep-alive" in tokens)
