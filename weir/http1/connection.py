"""One client's connection: requests in, in order; one response at a time out.

A request that cannot be read is answered with an error once those before it are answered;
nothing after it is read. Then the connection closes with a lingering read, so that a
client which is still sending can read its answer instead of seeing a reset.
"""

import asyncio
import logging
from collections.abc import Callable
from math import inf
from typing import cast

from weir.http1.deadlines import Connections
from weir.http1.messages import Limits, Request
from weir.http1.requests import Phase, Refusal, RequestReader
from weir.http1.responder import Responder

__all__ = ["Handler", "OnRefusal", "ServerConnection"]

Handler = Callable[[Request, Responder], None]
OnRefusal = Callable[[int], None]

_log = logging.getLogger("weir.http1")

_NONE, _HEAD, _BODY = Phase.NONE, Phase.HEAD, Phase.BODY
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_INTERNAL_ERROR = "internal error; the log of this process has details"
_MAX_QUEUED = 16
_MAX_QUEUED_BYTES = 1 << 20
"""Pipelined requests that are read before those in front of them are answered."""


class ServerConnection:
    """An `asyncio.Protocol` without its base, which compiled classes cannot have.

    `draining`: the next response that begins is this connection's last.

    `parting_s`: how long its client may then still send a request on it, since nobody has told it
    not to.
    """

    __slots__ = (
        "_active",
        "_drainers",
        "_handler",
        "_limits",
        "_loop",
        "_on_refusal",
        "_open",
        "_pumping",
        "_read_deadline",
        "_reader",
        "_reading",
        "_transport",
        "_write_deadline",
        "draining",
        "parting_s",
        "write_paused",
    )

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        open_connections: "Connections[ServerConnection]",
        loop: asyncio.AbstractEventLoop,
        on_refusal: OnRefusal | None = None,
    ) -> None:
        self._handler = handler
        self._on_refusal = on_refusal
        self._limits = limits
        self._open = open_connections
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._reader = RequestReader(limits)
        self._active: Responder | None = None
        self._pumping = False
        self._reading = True
        self._drainers: list[asyncio.Future[None]] = []
        self._read_deadline = inf
        self._write_deadline = inf
        self.draining = False
        self.parting_s = 0.0
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
        reader = self._reader
        begun, phase = reader.begun, reader.phase
        reader.feed(data)
        if reader.begun != begun or reader.phase is not phase:
            self._await_rest(reader.phase)
        if reader.read:
            self._pump()
        elif reader.continue_due:
            self._say_continue()

    def eof_received(self) -> None:
        """A client that closes its side is gone: an engine must not work for nobody."""
        self._client_gone()
        self._read_deadline = self._loop.time() + self._limits.linger_s

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
        self._pump()

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
        if not responder.keep_alive or (self.draining and not self.parting_s):
            self._close()
            return
        if self._reader.phase is _NONE and not self._reader.read:
            idle_s = self.parting_s if self.draining else self._limits.idle_timeout_s
            self._read_deadline = self._loop.time() + idle_s
        if self._reader.continue_due:
            self._say_continue()
        if not self._pumping and (self._reader.read or not self._reading):
            self._pump()

    # The server's side.

    def begin_drain(self, parting_s: float = 0.0) -> None:
        """Close once the request at hand is answered, or one that comes within `parting_s`."""
        self.draining = True
        self.parting_s = parting_s
        if self._active is None and not self._reader.read and not self._reader.mid_request:
            if parting_s and self._reader.phase is _NONE:
                self._read_deadline = self._loop.time() + parting_s
            else:
                self._close()

    def expire(self) -> None:
        """What was waited for did not happen in time."""
        if self._write_deadline <= self._loop.time():
            self.abort()
        elif self._reader.mid_request:
            self._read_deadline = inf
            self._reader.refuse(Refusal(408, "the request did not arrive completely in time"))
            self._pump()
        elif self._active is not None:
            self._read_deadline = inf  # a request is being answered; its handler has deadlines
        elif self._reader.phase is Phase.OVER:
            self.abort()
        else:
            self._close()

    # Inside.

    def _await_rest(self, phase: Phase) -> None:
        """Set the time by which the request that is being read must have come further."""
        if phase is _HEAD:
            self._read_deadline = self._loop.time() + self._limits.header_timeout_s
        elif phase is _BODY:
            self._read_deadline = self._loop.time() + self._limits.body_timeout_s
        else:
            self._read_deadline = inf

    def _say_continue(self) -> None:
        if self._active is None and not self._reader.read:
            self._reader.continue_due = False
            self.write(_CONTINUE)

    def _pump(self) -> None:
        """Hand over requests in order, each when the answer before it is given and taken."""
        if self._pumping:
            return
        self._pumping = True
        queue = self._reader.read
        while queue and self._active is None and self._may_answer:
            item = queue.pop(0)
            if isinstance(item, Refusal):
                self._answer(item)
            else:
                self._serve(item)
        self._pumping = False
        full = bool(queue) and (
            len(queue) >= _MAX_QUEUED or self._reader.held_bytes > _MAX_QUEUED_BYTES
        )
        if full is self._reading:
            self._set_reading(not full)

    @property
    def _may_answer(self) -> bool:
        return self._transport is not None and not self.write_paused

    def _serve(self, request: Request) -> None:
        responder = self._active = Responder(self, request)
        try:
            self._handler(request, responder)
        except Exception:
            _log.exception("the handler of %s %s failed", request.method, request.path)
            if not responder.started:
                responder.send_error(500, _INTERNAL_ERROR)
            elif not responder.finished:
                self.abort()

    def _answer(self, refusal: Refusal) -> None:
        if self._on_refusal is not None:
            self._on_refusal(refusal.status)
        request = Request("GET", "", b"", [], b"", False, "1.1")
        responder = self._active = Responder(self, request)
        responder.send_error(refusal.status, str(refusal))

    def _close(self) -> None:
        """End our side. What the client still sends is read and thrown away for a while."""
        transport, reader = self._transport, self._reader
        if transport is None or transport.is_closing():
            return
        lingering = reader.phase is not _NONE or bool(reader.read)
        reader.read.clear()
        reader.stop()
        flushing = transport.get_write_buffer_size() > 0
        patience_s = self._limits.write_timeout_s if flushing else self._limits.linger_s
        self._read_deadline = self._loop.time() + patience_s
        if lingering and transport.can_write_eof():
            self._set_reading(True)
            transport.write_eof()
        else:
            transport.close()

    def _set_reading(self, reading: bool) -> None:
        transport = self._transport
        if reading is self._reading or transport is None or transport.is_closing():
            return
        self._reading = reading
        if reading:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def _client_gone(self) -> None:
        self._reader.stop()
        self._reader.read.clear()
        self._wake_drainers()
        active, self._active = self._active, None
        if active is not None:
            active.lost()

    def _wake_drainers(self) -> None:
        waiters, self._drainers = self._drainers, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
