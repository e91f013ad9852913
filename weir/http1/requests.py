"""Bytes in, requests out: llhttp, and the checks that it leaves to its user.

The first request that cannot be read ends the reading; a `Refusal` stands in its place.
"""

import logging
from enum import Enum

import httptools

from weir.http1.messages import Header, Limits, Request

__all__ = ["Phase", "Refusal", "RequestReader"]

_log = logging.getLogger("weir.http1")

_CHECKED = frozenset({b"content-length", b"expect", b"transfer-encoding"})
_UPGRADE = frozenset({b"connection", b"http2-settings", b"upgrade"})
_MAX_PIECES = 64
"""Reads of a body that are kept apart. Objects of two bytes each would take 20 times that."""
_INTERNAL_ERROR = "internal error; the log of this process has details"


class Phase(Enum):
    """How far the request that is being read has come."""

    NONE = "none"
    HEAD = "head"
    BODY = "body"
    OVER = "over"


_NONE, _HEAD, _BODY, _OVER = Phase.NONE, Phase.HEAD, Phase.BODY, Phase.OVER


class Refusal(Exception):
    """Why a request is not served, for its client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class RequestReader:
    """`read` holds what has been read and not taken yet, in order.

    `begun` counts requests. `continue_due`: the client waits to be told to send its body.
    """

    __slots__ = (
        "_body",
        "_body_bytes",
        "_headers",
        "_limits",
        "_parser",
        "_stalled_bytes",
        "_steps",
        "_url",
        "_version",
        "begun",
        "continue_due",
        "phase",
        "read",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._version = ""
        self._headers: list[Header] = []
        self._body: list[bytes | bytearray] = []
        self._body_bytes = 0
        self._steps = 0
        self._stalled_bytes = 0
        self.read: list[Request | Refusal] = []
        self.begun = 0
        self.phase = _NONE
        self.continue_due = False

    @property
    def mid_request(self) -> bool:
        return self.phase is _HEAD or self.phase is _BODY

    @property
    def held_bytes(self) -> int:
        """Bodies of requests that were read and not taken."""
        return sum(len(item.body) for item in self.read if isinstance(item, Request))

    def feed(self, data: bytes) -> None:
        """Read on. Does nothing when reading is over."""
        if self.phase is _OVER:
            return
        steps = self._steps
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            self.refuse(_refusal_for(error))
        else:
            if self.mid_request:
                self._count_stalled(len(data), self._steps - steps)

    def refuse(self, refusal: Refusal) -> None:
        """Read no further; `refusal` is the last thing read."""
        self.stop()
        self.read.append(refusal)

    def stop(self) -> None:
        """Read no further."""
        self.phase = _OVER
        self.continue_due = False
        self._body = []

    # The parser's side.

    def on_message_begin(self) -> None:
        self.begun += 1
        self.phase = _HEAD
        self._steps += 1
        self._url = b""
        self._headers = []
        self._body = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.phase is _HEAD:  # else it is a trailer; nothing here uses them
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.phase = _BODY
        self._steps += 1
        self._check_head()

    def on_body(self, data: bytes) -> None:
        self._steps += 1
        self._body_bytes += len(data)
        if self._body_bytes > self._limits.max_body_bytes:
            raise self._too_large()
        pieces = self._body
        if len(pieces) < _MAX_PIECES:
            pieces.append(data)
        elif len(pieces) == _MAX_PIECES:
            pieces.append(bytearray(data))
        else:
            pieces[-1] += data

    def on_message_complete(self) -> None:
        parser, body = self._parser, self._body
        if parser.should_upgrade():
            return  # `_parse` goes over it again
        self.phase = _NONE
        self.continue_due = False
        path, _, query = self._url.partition(b"?")
        self.read.append(
            Request(
                parser.get_method().decode(),
                _origin_form(path),
                query,
                self._headers,
                bytes(body[0]) if len(body) == 1 else b"".join(body),
                parser.should_keep_alive(),
                self._version,
            )
        )

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
                rest = memoryview(rest)[offer.args[0] :]
            head = self._head_without_upgrade()
            self._parser = httptools.HttpRequestParser(self)
            self._parser.feed_data(head)

    def _head_without_upgrade(self) -> bytes:
        parser = self._parser
        version = parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (parser.get_method(), self._url, version)]
        lines += (b"%b: %b" % each for each in self._headers if each[0] not in _UPGRADE)
        keep = parser.should_keep_alive()
        lines.append(b"connection: keep-alive" if keep else b"connection: close")
        return b"\r\n".join([*lines, b"", b""])

    def _check_head(self) -> None:
        limits, headers = self._limits, self._headers
        version = self._version = self._parser.get_http_version()
        if version not in ("1.0", "1.1"):
            raise Refusal(505, f"HTTP/{version} is not served here")
        if self._parser.get_method() == b"CONNECT":
            raise Refusal(501, "this is not a forward proxy")
        size, hosts = len(self._url) + 4 * len(headers), 0
        for name, value in headers:
            size += len(name) + len(value)
            if name == b"host":
                hosts += 1
            elif name in _CHECKED:
                self._check_header(name, value.strip().lower())
        if size > limits.max_header_bytes or len(headers) > limits.max_headers:
            raise _head_too_large(limits)
        if hosts > 1 or (not hosts and version == "1.1"):
            raise Refusal(400, "an HTTP/1.1 request needs exactly one Host header")

    def _check_header(self, name: bytes, value: bytes) -> None:
        if name == b"content-length":
            if not value.isdigit():
                raise Refusal(400, "Content-Length is not a number")
            if int(value) > self._limits.max_body_bytes:
                raise self._too_large()
        elif name == b"transfer-encoding":
            if value != b"chunked":
                raise Refusal(501, "the only transfer-encoding understood is chunked")
            if self._parser.get_http_version() == "1.0":
                raise Refusal(400, "HTTP/1.0 has no Transfer-Encoding")
        elif name == b"expect":
            if value != b"100-continue":
                raise Refusal(417, "the only expectation understood is 100-continue")
            self.continue_due = True

    def _count_stalled(self, size: int, steps: int) -> None:
        """Bound what the parser holds of a head, a chunk's size line, or trailers."""
        if steps:
            only_a_head_began = steps == 1 and self.phase is _HEAD
            self._stalled_bytes = size if only_a_head_began else 0
        else:
            self._stalled_bytes += size
        if self._stalled_bytes > self._limits.max_header_bytes:
            self.refuse(_head_too_large(self._limits))

    def _too_large(self) -> Refusal:
        return Refusal(413, f"the body is larger than {self._limits.max_body_bytes} bytes")


def _origin_form(target: bytes) -> str:
    """The path of a request target, also of an absolute one (`http://host/path`)."""
    if target[:1] != b"/" and b"://" in target:
        rest = target.partition(b"://")[2]
        slash = rest.find(b"/")
        target = rest[slash:] if slash >= 0 else b"/"
    return target.decode("latin-1")


def _head_too_large(limits: Limits) -> Refusal:
    return Refusal(431, f"the headers are larger than {limits.max_header_bytes} bytes")


def _refusal_for(error: httptools.HttpParserError) -> Refusal:
    cause = error.__context__
    if isinstance(cause, Refusal):
        return cause
    if cause is not None:
        _log.error("the parser's callback failed", exc_info=cause)
        return Refusal(500, _INTERNAL_ERROR)
    return Refusal(400, f"malformed HTTP request: {error}")
