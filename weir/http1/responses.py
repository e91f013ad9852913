"""Bytes in, one response out, to its sink.

The head is parsed; the body is followed only to find its end, and handed on as it came
(`raw`) or with its framing taken off.
"""

import httptools

from weir.http1.chunked import ChunkError, ChunkReader
from weir.http1.messages import Header
from weir.http1.sink import BrokenError, Framing, Sink

__all__ = ["ResponseReader"]

_MAX_HEAD_BYTES = 65536
_BODILESS = frozenset({204, 304})
_VERSIONS = frozenset({"1.0", "1.1"})
_NO_BODY, _LENGTH, _CHUNKED = Framing.NONE, Framing.LENGTH, Framing.CHUNKED
_UNTIL_CLOSE = Framing.UNTIL_CLOSE

_NOBODY = Sink()


class ResponseReader:
    """`keep`: after the end, both sides agree that the connection can be used again.

    `answered`: a byte of the response has come. `body_begun`: one of its body has.
    """

    __slots__ = (
        "_chunks",
        "_framing",
        "_head",
        "_head_only",
        "_left",
        "_raw",
        "_sink",
        "answered",
        "body_begun",
        "in_body",
        "keep",
    )

    def __init__(self, sink: Sink, *, raw: bool, head_only: bool) -> None:
        self._sink = sink
        self._raw = raw
        self._head_only = head_only
        self._head = b""
        self._framing = _NO_BODY
        self._chunks = ChunkReader()
        self._left = 0
        self.answered = False
        self.body_begun = False
        self.in_body = False
        self.keep = False

    @property
    def at_boundary(self) -> bool:
        return self._framing is _CHUNKED and self._chunks.at_boundary

    @property
    def ends_with_connection(self) -> bool:
        return self.in_body and self._framing is _UNTIL_CLOSE

    def let_go(self) -> None:
        """Keep the sink no longer than its response: it may have more than this connection has."""
        self._sink = _NOBODY

    def feed(self, data: bytes) -> bool:
        """Hand on what is in `data`; True at the end of the response.

        Raises `UpstreamError` when it is malformed, or as the sink does.
        """
        if not self.in_body:
            rest = self._take_head(data)
            if rest is None:
                return False
            data = rest
        if data:
            self.body_begun = True
        framing = self._framing
        if framing is _CHUNKED:
            return self._take_chunks(data)
        if framing is _LENGTH:
            return self._take_length(data)
        if framing is _UNTIL_CLOSE:
            if data:
                self._sink.on_data(data)
            return False
        self.keep = self.keep and not data
        return True

    def _take_chunks(self, data: bytes) -> bool:
        payload: list[bytes] | None = None if self._raw else []
        try:
            end = self._chunks.feed(data, payload)
        except ChunkError as error:
            raise BrokenError(f"malformed response: {error}") from None
        if 0 <= end < len(data):
            self.keep = False
            data = data[:end]
        if payload is not None:
            data = payload[0] if len(payload) == 1 else b"".join(payload)
        if data:
            self._sink.on_data(data)
        return end >= 0

    def _take_length(self, data: bytes) -> bool:
        left = self._left - len(data)
        if left < 0:
            self.keep = False
            data = data[:left]
            left = 0
        self._left = left
        if data:
            self._sink.on_data(data)
        return not left

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
        self.in_body = True
        sink = self._sink
        sink.framing, sink.length = self._framing, self._left
        sink.on_response(status, headers)
        return data

    def _parse_head(self, head: bytes) -> tuple[int, list[Header]]:
        collected = _Head()
        parser = httptools.HttpResponseParser(collected)
        try:
            parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            raise BrokenError("the server switched protocols unasked") from None
        except httptools.HttpParserError as error:
            raise BrokenError(f"malformed response: {error}") from None
        status: int = parser.get_status_code()
        version = parser.get_http_version()
        if status < 100 or version not in _VERSIONS:
            raise BrokenError(f"malformed response: HTTP/{version} with status {status}")
        self.keep = version == "1.1"
        self._frame(status, collected.headers)
        if self._framing is _CHUNKED and version == "1.0":
            raise BrokenError("malformed response: HTTP/1.0 has no Transfer-Encoding")
        return status, collected.headers

    def _frame(self, status: int, headers: list[Header]) -> None:
        framing = _UNTIL_CLOSE
        for name, value in headers:
            if name == b"transfer-encoding":
                if framing is _CHUNKED or value.strip().lower() != b"chunked":
                    raise BrokenError("the response has a transfer-encoding not understood")
                framing = _CHUNKED
            elif name == b"connection":
                self.keep = _stays_open(value, self.keep)
            elif name == b"content-length" and framing is not _CHUNKED:
                framing = _LENGTH
                self._left = int(value)
        empty = framing is _LENGTH and not self._left
        if empty or self._head_only or status in _BODILESS:
            framing = _NO_BODY
        elif framing is _UNTIL_CLOSE:
            self.keep = False
        self._framing = framing


class _Head:
    """Collects the headers of one response from the parser."""

    __slots__ = ("headers",)

    def __init__(self) -> None:
        self.headers: list[Header] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))


def _stays_open(connection: bytes, default: bool) -> bool:
    tokens = {token.strip() for token in connection.lower().split(b",")}
    return b"close" not in tokens and (default or b"keep-alive" in tokens)
