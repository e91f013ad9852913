"""The answer to one request, written as it comes.

Either `send` once, or `start`, any number of `write` or `write_raw`, and `finish`. After the
client has gone (`closed`), all of them do nothing.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from weir.http1.messages import Header, Request, encode_response_head, find_header
from weir.http1.openai import error_headers, openai_error

if TYPE_CHECKING:
    from weir.http1.connection import ServerConnection

__all__ = ["Responder", "Source"]

_BODILESS = frozenset({204, 304})
_CHUNKED = (b"transfer-encoding", b"chunked")
_LAST_CHUNK = b"0\r\n\r\n"


class Source(Protocol):
    """Where a response's bytes come from; paused while the client does not take them."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Responder:
    """`on_close` is called once if the client goes away before the response is finished.

    `source`, if set, is paused while the client is slow.
    """

    __slots__ = (
        "_chunked",
        "_connection",
        "_head_only",
        "closed",
        "finished",
        "keep_alive",
        "on_close",
        "request",
        "source",
        "started",
    )

    def __init__(self, connection: "ServerConnection", request: Request) -> None:
        self._connection = connection
        self._chunked = False
        self._head_only = request.method == "HEAD"
        self.request = request
        self.keep_alive = request.keep_alive
        self.started = False
        self.finished = False
        self.closed = False
        self.on_close: Callable[[], None] | None = None
        self.source: Source | None = None

    @property
    def paused(self) -> bool:
        """The client does not keep up: what is written now waits in memory."""
        return self._connection.write_paused

    def send(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """Answer with a whole body; `content-length` is added."""
        if self.closed:
            return
        self._begin()
        if status not in _BODILESS:
            headers = [*headers, (b"content-length", b"%d" % len(body))]
        head = encode_response_head(status, headers, self._connection_line())
        if self._head_only or status in _BODILESS:
            body = b""
        self._connection.write(head + body)
        self._end()

    def send_error(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        """Answer with an OpenAI error envelope."""
        body = openai_error(status, message, code=code, param=param)
        self.send(status, error_headers(retry_after_s), body)

    def start(
        self, status: int, headers: Sequence[Header], *, raw: bool = False, first: bytes = b""
    ) -> None:
        """Send the head, together with the `first` piece of the body if there is one.

        The body is chunked unless `content-length` is among the headers.

        An HTTP/1.0 client gets a body that ends with the connection instead. With `raw` the
        headers already say how the body is framed and `write_raw` supplies it so framed.
        """
        if self.closed:
            return
        self._begin()
        if not raw and status not in _BODILESS and find_header(headers, b"content-length") is None:
            if self.request.http_version == "1.1":
                headers = [*headers, _CHUNKED]
                self._chunked = True
            else:
                self.keep_alive = False
        self._head_only = self._head_only or status in _BODILESS
        head = encode_response_head(status, headers, self._connection_line())
        self._connection.write(head + self._framed(first))

    def write(self, data: bytes) -> None:
        """Send a piece of the body, framed as the head announced."""
        if not self.closed:
            self._connection.write(self._framed(data))

    def write_raw(self, data: bytes) -> None:
        """Send bytes of a body that are framed already."""
        if not self.closed and not self._head_only:
            self._connection.write(data)

    def finish(self, *, close: bool = False) -> None:
        """The body is complete; `close` ends the connection after it."""
        if self.closed or self.finished:
            return
        if self._chunked and not self._head_only:
            self._connection.write(_LAST_CHUNK)
        if close:
            self.keep_alive = False
        self._end()

    async def drain(self) -> None:
        """Wait until the client has taken what was written, or is gone.

        Bounded by the server's `write_timeout_s`, after which the client counts as gone.
        """
        await self._connection.drain()

    def abort(self) -> None:
        """Break the connection, so that the client sees an incomplete response."""
        if self.closed or self.finished:
            return
        self.on_close = None
        self._connection.abort()

    def lost(self) -> None:
        """For the connection: the client is gone."""
        if self.closed or self.finished:
            return
        self.closed = True
        callback, self.on_close = self.on_close, None
        if callback is not None:
            callback()

    def _begin(self) -> None:
        if self.started:
            raise RuntimeError("a response was started twice")
        self.started = True

    def _framed(self, data: bytes) -> bytes:
        if self._head_only or not data:
            return b""
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data

    def _connection_line(self) -> bytes:
        self.keep_alive = self.keep_alive and not self._connection.draining
        if not self.keep_alive:
            return b"connection: close\r\n"
        return b"connection: keep-alive\r\n" if self.request.http_version == "1.0" else b""

    def _end(self) -> None:
        self.finished = True
        self.on_close = None
        self.source = None
        self._connection.finished(self)
