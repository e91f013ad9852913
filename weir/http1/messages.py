"""What goes over the wire: requests, limits, and the heads of messages as bytes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

__all__ = ["Header", "Limits", "Request", "encode_request", "encode_response_head", "find_header"]

Header = tuple[bytes, bytes]
"""Name in lower case, value."""

_STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a server takes from a client, and how long it waits for it (wall seconds)."""

    max_body_bytes: int = 16 * 1024 * 1024
    max_header_bytes: int = 65536
    """The request line and all header fields together."""
    max_headers: int = 128
    header_timeout_s: float = 10.0
    """From the first byte of a request to the end of its head."""
    body_timeout_s: float = 60.0
    """From the end of the head to the end of the body."""
    idle_timeout_s: float = 60.0
    """How long a connection may stay open between two requests."""
    write_timeout_s: float = 60.0
    """How long a client may leave the response unread."""
    linger_s: float = 10.0
    """How long a refused client may go on sending while it reads its answer."""

    @property
    def shortest_s(self) -> float:
        return min(
            self.header_timeout_s,
            self.body_timeout_s,
            self.idle_timeout_s,
            self.write_timeout_s,
            self.linger_s,
        )


class Request:
    """One request, complete. `path` has no query; header names are in lower case."""

    __slots__ = ("body", "headers", "http_version", "keep_alive", "method", "path", "query")

    def __init__(
        self,
        method: str,
        path: str,
        query: bytes,
        headers: list[Header],
        body: bytes,
        keep_alive: bool,
        http_version: str,
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.keep_alive = keep_alive
        self.http_version = http_version

    def header(self, name: bytes) -> bytes | None:
        """The first value of header `name` (lower case)."""
        return find_header(self.headers, name)


def find_header(headers: Iterable[Header], name: bytes) -> bytes | None:
    for key, value in headers:
        if key == name:
            return value
    return None


def _status_line(status: int) -> bytes:
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d Status\r\n" % status


def encode_response_head(status: int, headers: Sequence[Header], last: bytes = b"") -> bytes:
    """Status line and header block; `last` is one more header line, ready made."""
    lines = [_status_line(status)]
    for name, value in headers:
        lines += (name, b": ", value, b"\r\n")
    lines += (last, b"\r\n")
    return b"".join(lines)


def encode_request(
    method: str, path: str, headers: Sequence[Header], body: bytes, host: bytes
) -> bytes:
    """The head of a request with its `host` and, where it has a body, `content-length`."""
    lines = [method.encode(), b" ", path.encode(), b" HTTP/1.1\r\nhost: ", host, b"\r\n"]
    for name, value in headers:
        lines += (name, b": ", value, b"\r\n")
    if body or method not in ("GET", "HEAD", "DELETE"):
        lines.append(b"content-length: %d\r\n\r\n" % len(body))
    else:
        lines.append(b"\r\n")
    return b"".join(lines)
