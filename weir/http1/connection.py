"""One client's connection: requests in, in order; one response at a time out.

A request that cannot be read is answered with an error once those before it are answered;
nothing after it is parsed. Then the connection closes with a lingering read, so that a
client which is still sending can read its answer instead of seeing a reset.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from math import inf
from typing import cast

import httptools

from weir.http1.deadlines import Connections
from weir.http1.messages import Header, Limits, Request
from weir.http1.responder import Responder

__all__ = ["Handler", "ServerConnection"]

Handler = Callable[[Request, Responder], None]

_log = logging.getLogger("weir.http1")

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CHECKED = frozenset({b"content-length", b"expect", b"host", b"transfer-encoding"})
_CLOSE = b"connection: close"
_INTERNAL_ERROR = "internal error; the log of this process has details"
_MAX_QUEUED = 16
_MAX_QUEUED_BYTES = 1 << 20
"""Pipelined requests that are read before those in front of them are answered."""


class _Refusal(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ServerConnection(asyncio.Protocol):
    """`draining`: the response at hand is this connection's last."""

    __slots__ = (
        "_active",
        "_body",
        "_body_bytes",
        "_continue_due",
        "_drainers",
        "_handler",
        "_headers",
        "_ignoring",
        "_in_body",
        "_limits",
        "_loop",
        "_on_refusal",
        "_open",
        "_parser",
        "_parsing",
        "_pumping",
        "_queue",
        "_read_deadline",
        "_reading",
        "_stalled_bytes",
        "_steps",
        "_transport",
        "_url",
        "_write_deadline",
        "draining",
        "write_paused",
    )

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        open_connections: "Connections[ServerConnection]",
        loop: asyncio.AbstractEventLoop,
        on_refusal: Callable[[int], None] | None = None,
    ) -> None:
        self._handler = handler
        self._on_refusal = on_refusal
        self._limits = limits
        self._open = open_connections
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Request | _Refusal] = deque()
        self._active: Responder | None = None
        self._pumping = False
        self._parsing = False
        self._in_body = False
        self._ignoring = False
        self._reading = True
        self._continue_due = False
        self._drainers: list[asyncio.Future[None]] = []
        self._write_deadline = inf
        self._url = b""
        self._headers: list[Header] = []
        self._steps = 0
        self._stalled_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._read_deadline = inf
        self.draining = False
        self.write_paused = False

    @property
    def deadline(self) -> float:
        return min(self._read_deadline, self._write_deadline)

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._open.add(self)
        self._read_deadline = self._loop.time() + self._limits.header_timeout_s

    def data_received(self, data: bytes) -> None:
        if self._ignoring:
            return
        steps = self._steps
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            self._refuse(_refusal_for(error))
        else:
            if self._parsing:
                self._count_stalled(len(data), steps)
        if self._queue:
            self._pump()
        elif self._continue_due:
            self._say_continue()

    def eof_received(self) -> None:
        """A client that closes its side is gone: an engine must not work for nobody."""
        self._read_deadline = self._loop.time() + self._limits.linger_s
        self._client_gone()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._open.discard(self)
        self._client_gone()

    def pause_writing(self) -> None:
        self.write_paused = True
        self._write_deadline = self._loop.time() + self._limits.write_timeout_s
        if self._active is not None and self._active.source is not None:
            self._active.source.pause_reading()

    def resume_writing(self) -> None:
        self.write_paused = False
        self._write_deadline = inf
        self._wake_drainers()
        if self._active is not None and self._active.source is not None:
            self._active.source.resume_reading()

    # The responder's side.

    def write(self, data: bytes) -> None:
        if data and self._transport is not None:
            self._transport.write(data)

    async def drain(self) -> None:
        if not self.write_paused or self._transport is None:
            return
        waiter = self._loop.create_future()
        self._drainers.append(waiter)
        await waiter

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._client_gone()

    def finished(self, responder: Responder) -> None:
        if responder is not self._active:
            return
        self._active = None
        if not responder.keep_alive or self.draining:
            self._close()
            return
        if not self._parsing and not self._queue:
            self._read_deadline = self._loop.time() + self._limits.idle_timeout_s
        if self._continue_due:
            self._say_continue()
        if self._queue and not self._pumping:
            self._pump()
        elif not self._reading and not self._ignoring:
            self._resume()

    # The server's side.

    def begin_drain(self) -> None:
        """Take no further request; close once the one at hand is answered."""
        self.draining = True
        if self._active is None and not self._queue and not self._parsing:
            self._close()

    def expire(self) -> None:
        """What was waited for did not happen in time."""
        if self._write_is_late() or (self._ignoring and self._active is None):
            self.abort()
        elif self._parsing:
            self._refuse(_Refusal(408, "the request did not arrive completely in time"))
            self._pump()
        elif self._active is None:
            self._close()
        else:
            self._read_deadline = inf  # a request is being answered; its handler has deadlines

    # The parser's side.

    def on_message_begin(self) -> None:
        self._parsing = True
        self._in_body = False
        self._url = b""
        self._headers = []
        self._steps += 1
        self._body = []
        self._body_bytes = 0
        self._read_deadline = self._loop.time() + self._limits.header_timeout_s

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body:  # else it is a trailer; nothing here uses them
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_body = True
        self._steps += 1
        self._check_head()
        self._read_deadline = self._loop.time() + self._limits.body_timeout_s

    def on_body(self, data: bytes) -> None:
        self._steps += 1
        self._body_bytes += len(data)
        if self._body_bytes > self._limits.max_body_bytes:
            raise self._too_large()
        self._body.append(data)

    def on_message_complete(self) -> None:
        if self._parser.should_upgrade():
            return  # `_parse` goes over it again
        self._parsing = False
        self._continue_due = False
        self._read_deadline = inf
        body = self._body
        path, _, query = self._url.partition(b"?")
        self._queue.append(
            Request(
                self._parser.get_method().decode(),
                _origin_form(path),
                query,
                self._headers,
                body[0] if len(body) == 1 else b"".join(body),
                self._parser.should_keep_alive(),
                self._parser.get_http_version(),
            )
        )
        self._body = []

    # Inside.

    def _parse(self, data: bytes) -> None:
        """Feed the parser. It leaves out the body of a request that offers an upgrade.

        No upgrade is ever taken, so such a request is parsed again without the offer (Java's
        HTTP client makes one with its first request, body or not).
        """
        rest: bytes | memoryview = data
        while True:
            try:
                self._parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as offer:
                head = self._head_without_upgrade()
                rest = memoryview(rest)[offer.args[0] :]
                self._parser = httptools.HttpRequestParser(self)
                self._parser.feed_data(head)

    def _head_without_upgrade(self) -> bytes:
        parser = self._parser
        version = parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (parser.get_method(), self._url, version)]
        for name, value in self._headers:
            if name not in (b"connection", b"upgrade"):
                lines.append(b"%b: %b" % (name, value))
        lines.append(b"connection: keep-alive" if parser.should_keep_alive() else _CLOSE)
        return b"\r\n".join([*lines, b"", b""])

    def _check_head(self) -> None:
        """What llhttp leaves to its user. Raises `_Refusal`."""
        limits = self._limits
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1"):
            raise _Refusal(505, f"HTTP/{version} is not served here")
        if self._parser.get_method() == b"CONNECT":
            raise _Refusal(501, "this is not a forward proxy")
        size, hosts = len(self._url), 0
        for name, value in self._headers:
            size += len(name) + len(value) + 4
            if name in _CHECKED:
                hosts += name == b"host"
                self._check_header(name, value)
        if size > limits.max_header_bytes or len(self._headers) > limits.max_headers:
            raise _head_too_large(limits)
        if hosts > 1 or (not hosts and version == "1.1"):
            raise _Refusal(400, "an HTTP/1.1 request needs exactly one Host header")

    def _check_header(self, name: bytes, value: bytes) -> None:
        if name == b"content-length":
            if not value.strip().isdigit():
                raise _Refusal(400, "Content-Length is not a number")
            if int(value) > self._limits.max_body_bytes:
                raise self._too_large()
        elif name == b"transfer-encoding":
            if value.strip().lower() != b"chunked":
                raise _Refusal(501, "the only transfer-encoding understood is chunked")
        elif name == b"expect":
            if value.strip().lower() != b"100-continue":
                raise _Refusal(417, "the only expectation understood is 100-continue")
            self._continue_due = True

    def _count_stalled(self, size: int, steps_before: int) -> None:
        """Bound what the parser holds of a head, a chunk's size line, or trailers."""
        steps = self._steps - steps_before
        if steps:
            only_a_head_began = steps == 1 and not self._in_body
            self._stalled_bytes = size if only_a_head_began else 0
        else:
            self._stalled_bytes += size
        if self._stalled_bytes > self._limits.max_header_bytes:
            self._refuse(_head_too_large(self._limits))

    def _too_large(self) -> _Refusal:
        return _Refusal(413, f"the body is larger than {self._limits.max_body_bytes} bytes")

    def _refuse(self, refusal: _Refusal) -> None:
        self._stop_parsing()
        self._queue.append(refusal)

    def _stop_parsing(self) -> None:
        self._ignoring = True
        self._parsing = False
        self._continue_due = False
        self._body = []
        self._read_deadline = inf

    def _say_continue(self) -> None:
        if self._active is None and not self._queue and self._parsing:
            self._continue_due = False
            self.write(_CONTINUE)

    def _pump(self) -> None:
        """Hand over requests in order, each when the one before it is answered."""
        if self._pumping:
            return
        self._pumping = True
        while self._queue and self._active is None and self._transport is not None:
            self._serve(self._queue.popleft())
        self._pumping = False
        if self._queue and self._queue_is_full():
            self._pause()
        elif not self._reading and not self._ignoring:
            self._resume()

    def _queue_is_full(self) -> bool:
        bodies = (item.body for item in self._queue if isinstance(item, Request))
        return len(self._queue) >= _MAX_QUEUED or sum(map(len, bodies)) > _MAX_QUEUED_BYTES

    def _serve(self, item: Request | _Refusal) -> None:
        if isinstance(item, _Refusal):
            self._answer_refusal(item)
            return
        responder = self._active = Responder(self, item)
        if self._ignoring and not self._queue:
            responder.keep_alive = False
        try:
            self._handler(item, responder)
        except Exception:
            _log.exception("the handler of %s %s failed", item.method, item.path)
            if not responder.started:
                responder.send_error(500, _INTERNAL_ERROR)
            elif not responder.finished:
                self.abort()

    def _answer_refusal(self, refusal: _Refusal) -> None:
        if self._on_refusal is not None:
            self._on_refusal(refusal.status)
        request = Request("GET", "", b"", [], b"", False, "1.1")
        responder = self._active = Responder(self, request)
        responder.send_error(refusal.status, str(refusal))

    def _close(self) -> None:
        """End our side. What the client still sends is read and thrown away for a while."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        lingering = self._ignoring or self._parsing or bool(self._queue)
        self._queue.clear()
        self._stop_parsing()
        flushing = transport.get_write_buffer_size() > 0
        patience_s = self._limits.write_timeout_s if flushing else self._limits.linger_s
        self._read_deadline = self._loop.time() + patience_s
        if lingering and transport.can_write_eof():
            self._resume()
            transport.write_eof()
        else:
            transport.close()

    def _pause(self) -> None:
        if self._reading and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()

    def _resume(self) -> None:
        if not self._reading and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()

    def _client_gone(self) -> None:
        self._stop_parsing_quietly()
        self._wake_drainers()
        active, self._active = self._active, None
        if active is not None:
            active.lost()

    def _stop_parsing_quietly(self) -> None:
        self._ignoring = True
        self._parsing = False
        self._queue.clear()

    def _write_is_late(self) -> bool:
        return self._write_deadline <= self._loop.time()

    def _wake_drainers(self) -> None:
        waiters, self._drainers = self._drainers, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


def _origin_form(target: bytes) -> str:
    """The path of a request target, also of an absolute one (`http://host/path`)."""
    if not target.startswith(b"/") and b"://" in target:
        rest = target.partition(b"://")[2]
        slash = rest.find(b"/")
        target = rest[slash:] if slash >= 0 else b"/"
    return target.decode("latin-1")


def _head_too_large(limits: Limits) -> _Refusal:
    return _Refusal(431, f"the headers are larger than {limits.max_header_bytes} bytes")


def _refusal_for(error: httptools.HttpParserError) -> _Refusal:
    cause = error.__context__
    if isinstance(cause, _Refusal):
        return cause
    if cause is not None:
        _log.error("the parser's callback failed", exc_info=cause)
        return _Refusal(500, _INTERNAL_ERROR)
    return _Refusal(400, f"malformed HTTP request: {error}")
