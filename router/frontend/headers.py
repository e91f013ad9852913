"""Which headers are read, which cross the router, and which stop here."""

import os
from collections.abc import Iterable, Mapping
from itertools import count

from router.frontend.hints import EXPLAIN
from weir.http1.messages import Header

__all__ = ["RequestIds", "response_headers", "upstream_headers"]

_REQUEST_ID = b"x-request-id"
_MAX_ID_BYTES = 200

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
    EXPLAIN,
    # The name of the model that is asked for is in the body.
    b"x-llm-d-model-name-rewrite",
    b"x-gateway-model-name-rewrite",
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
_NOT_FOR_CLIENTS = _HOP_BY_HOP | {b"content-length", _REQUEST_ID, EXPLAIN}


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
