"""A response on its way from an engine to the client, its bytes passed through.

Nothing reaches the client before the first byte of the body is here, and a short whole
response not before all of it is: until then the request can still go to another worker.
"""

from collections.abc import Callable

from router.core.flight import Flight
from router.core.request import Outcome
from router.frontend.bodies import with_cached_tokens_last
from router.frontend.headers import response_headers
from router.frontend.observe import StreamWatch, Usage, find_cached, find_usage
from weir.http1.chunked import ChunkReader
from weir.http1.client import BrokenError, Framing, Sink
from weir.http1.messages import Header, find_header
from weir.http1.openai import sse_error
from weir.http1.server import Responder
from weir.http1.sink import Upstream

__all__ = ["CompletingRelay", "Relay"]

_WHOLE_BYTES = 1 << 20
_NO_BODY, _LENGTH, _UNTIL_CLOSE = Framing.NONE, Framing.LENGTH, Framing.UNTIL_CLOSE
_CHUNKS = Framing.CHUNKED
_CHUNKED = (b"transfer-encoding", b"chunked")
_LAST_CHUNK = b"0\r\n\r\n"


class Relay(Sink):
    """`started`: the client has got a part of the response.

    `whole`: the complete body where it was kept back, for the caller to send or to drop.
    """

    def __init__(
        self,
        responder: Responder,
        flight: Flight,
        now_s: Callable[[], float],
        request_id: bytes,
        *,
        raw: bool,
    ) -> None:
        self._responder = responder
        self._flight = flight
        self._now_s = now_s
        self._request_id = request_id
        self._raw = raw
        self._upstream: Upstream | None = None
        self._watch: StreamWatch | None = None
        self._write = responder.write
        self._kept: list[bytes] | None = None
        self._room = _WHOLE_BYTES
        self._seen_token = False
        self.status = 0
        self.headers: list[Header] = []
        self.started = False
        self.whole: bytes | None = None

    # The engine's side.

    def on_response(self, status: int, headers: list[Header]) -> None:
        self.status = status
        if self._responder.closed:
            raise BrokenError("the client has gone")
        self._raw_chunks = self._raw and self.framing is _CHUNKS
        self.headers = response_headers(headers, self._request_id)
        framing = self.framing
        has_length = framing is _LENGTH
        if (has_length and self.length <= _WHOLE_BYTES) or status >= 400 or framing is _NO_BODY:
            self._kept = []
            return
        if has_length:
            self.headers.append((b"content-length", b"%d" % self.length))
        kind = find_header(headers, b"content-type") or b""
        if kind.startswith(b"text/event-stream"):
            self._watch = StreamWatch(chunked=self._raw_chunks)

    def on_data(self, data: bytes) -> None:
        if self._kept is not None:
            self._keep(data)
            return
        watch = self._watch
        if watch is not None:
            watch.see(data)
            if not self._seen_token and watch.events:
                self._token()
        if self.started:
            self._write(data)
        else:
            self._start(data)

    def on_end(self) -> None:
        if self._kept is None:
            if not self.started:
                self._start(b"")
            if not self._seen_token:
                self._token()
            self._responder.finish()
            return
        body = b"".join(self._kept)
        if self._raw_chunks:
            pieces: list[bytes] = []
            ChunkReader().feed(body, pieces)
            body = b"".join(pieces)
        self.whole = body

    # The caller's side.

    def send_whole(self) -> None:
        """Give the client the response that was kept back."""
        if self.status < 400:
            self._token()
        self._responder.send(self.status, self.headers, self.whole or b"")

    def outcome(self) -> Outcome:
        """What a response that ended properly amounts to."""
        if self.status >= 400:
            return Outcome.FAILED
        return self._watch.outcome() if self._watch is not None else Outcome.COMPLETED

    def usage(self) -> Usage:
        """Prompt and output tokens as far as the bytes told."""
        if self._watch is not None:
            return self._watch.usage()
        return find_usage(self.whole) if self.whole is not None else (None, None)

    def cached(self) -> int | None:
        """Prompt tokens that the engine had; None if it did not tell what it used."""
        if self._watch is not None:
            return self._watch.cached()
        return find_cached(self.whole) if self.whole is not None else None

    def break_off(self, message: str) -> None:
        """The rest will not come: say so in the stream if that is possible, and close."""
        watch, upstream = self._watch, self._upstream
        if (
            watch is None
            or self.framing is _LENGTH  # the client would not take more than that
            or (self._raw_chunks and upstream is not None and not upstream.at_boundary)
        ):
            self._responder.abort()
            return
        event = sse_error(502, message, code="upstream_error")
        if not watch.after_event:
            event = b"\n\n" + event
        if self._raw_chunks:
            event = b"%x\r\n%b\r\n%b" % (len(event), event, _LAST_CHUNK)
        self._write(event)
        self._responder.finish(close=True)

    # Inside.

    def _keep(self, data: bytes) -> None:
        assert self._kept is not None
        self._room -= len(data)
        if self._room < -_WHOLE_BYTES:
            raise BrokenError("the error response is too long")
        self._kept.append(data)

    def _start(self, data: bytes) -> None:
        self.started = True
        responder, connection = self._responder, self.connection
        self._upstream = connection
        responder.source = connection
        passed = self._raw and self.framing is not _UNTIL_CLOSE
        if passed:
            self._write = responder.write_raw
        headers = [*self.headers, _CHUNKED] if self._raw_chunks else self.headers
        responder.start(self.status, headers, raw=passed, first=data)

    def _token(self) -> None:
        self._seen_token = True
        self._flight.first_token(self._now_s())


class CompletingRelay(Relay):
    """Puts what the prefill worker found cached into the `usage` at the end of a stream."""

    cached_tokens = 0

    def on_data(self, data: bytes) -> None:
        if b'"usage"' in data:
            data = with_cached_tokens_last(data, self.cached_tokens)
        super().on_data(data)
