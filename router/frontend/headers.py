"""Which headers are read, which cross the router, and which stop here."""

import os
from collections.abc import Iterable, Mapping
from itertools import count
from math import isfinite

from weir.domain.errors import RequestError
from weir.http1.messages import Header

__all__ = ["RequestIds", "response_headers", "slo_s", "tenant", "upstream_headers"]

_REQUEST_ID = b"x-request-id"
_TENANT = (b"x-llm-d-inference-fairness-id", b"x-gateway-inference-fairness-id")
_MAX_ID_BYTES = 200
_MAX_TENANT_CHARS = 128

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_NOT_FOR_ENGINES = _HOP_BY_HOP | {
    # Credentials for this endpoint: engines are many, and log.
    b"authorization",
    b"cookie",
    b"content-length",
    b"expect",
    b"host",
    _REQUEST_ID,
    # Compressed chunks could not be counted.
    b"accept-encoding",
    # These tell engines and sidecars where to connect to; clients have no say in that.
    b"x-data-parallel-host-port",
    b"x-encoder-hosts-ports",
    b"x-gateway-destination-endpoint",
    b"x-gateway-destination-endpoint-subset",
    b"x-kv-cache-source-host-port",
    b"x-prefiller-host-port",
}
_CONNECTION_ALONE = frozenset({b"keep-alive", b"close"})
_NOT_FOR_CLIENTS = _HOP_BY_HOP | {b"content-length", _REQUEST_ID}


class RequestIds:
    """The client's `x-request-id`, or one of ours where it has none that can be used."""

    def __init__(self) -> None:
        self._prefix = os.urandom(8).hex().encode()
        self._numbers = count(1)

    def of(self, headers: Mapping[bytes, bytes]) -> bytes:
        given = headers.get(_REQUEST_ID)
        if given and len(given) <= _MAX_ID_BYTES and given.isascii():
            return given
        return b"%b-%x" % (self._prefix, next(self._numbers))


def tenant(headers: Mapping[bytes, bytes]) -> str:
    """Whom to count a request for; empty if it does not say."""
    for name in _TENANT:
        value = headers.get(name)
        if value:
            return value.decode("latin-1")[:_MAX_TENANT_CHARS]
    return ""


def slo_s(headers: Mapping[bytes, bytes], *names: bytes) -> float | None:
    """A target in seconds from the first of these headers (milliseconds) that is present.

    Raises `RequestError` if it is not a positive number.
    """
    for name in names:
        value = headers.get(name)
        if value is None:
            continue
        try:
            target_ms = float(value)
        except ValueError:
            target_ms = 0.0
        if not (isfinite(target_ms) and target_ms > 0.0):
            header = name.decode()
            raise RequestError(f"header {header} must be a number of ms > 0", param=header)
        return target_ms / 1e3
    return None


def upstream_headers(headers: Iterable[Header], request_id: bytes) -> list[Header]:
    """What an engine gets of a client's headers."""
    stopped = _NOT_FOR_ENGINES
    passed = []
    for header in headers:
        if header[0] not in stopped:
            passed.append(header)
        elif header[0] == b"connection" and header[1].lower() not in _CONNECTION_ALONE:
            stopped = stopped | _names_in(header[1])
    if stopped is not _NOT_FOR_ENGINES:
        passed = [header for header in passed if header[0] not in stopped]
    passed.append((_REQUEST_ID, request_id))
    return passed


def response_headers(headers: Iterable[Header], request_id: bytes) -> list[Header]:
    """What a client gets of an engine's headers; the body's framing is added when it is known."""
    passed = [header for header in headers if header[0] not in _NOT_FOR_CLIENTS]
    passed.append((_REQUEST_ID, request_id))
    return passed


def _names_in(connection: bytes) -> frozenset[bytes]:
    """Headers that `connection` declares to be for this hop only."""
    return frozenset(token.strip().lower() for token in connection.split(b","))
