"""Keep-alive connections to one origin.

`Pool.request` for a whole answer, `Pool.stream` for one that is handed on as it comes.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

from weir.http1.deadlines import Connections
from weir.http1.exchange import ClientConnection, Plan
from weir.http1.messages import Header, encode_request, find_header
from weir.http1.sink import (
    BrokenError,
    ConnectError,
    DeadlineError,
    Framing,
    Patience,
    Sink,
    UpstreamError,
)

__all__ = [
    "BrokenError",
    "ConnectError",
    "DeadlineError",
    "Framing",
    "Patience",
    "Pool",
    "Response",
    "Sink",
    "UpstreamError",
]

_PATIENCE = Patience()
_MAX_RESPONSE_BYTES = 64 * 1024 * 1024


class Response:
    """A whole answer. Header names are in lower case."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: list[Header], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def header(self, name: bytes) -> bytes | None:
        return find_header(self.headers, name)


class _Collector(Sink):
    def __init__(self, max_bytes: int) -> None:
        self.status = 0
        self.headers: list[Header] = []
        self.pieces: list[bytes] = []
        self._room = max_bytes

    def on_response(self, status: int, headers: list[Header]) -> None:
        self.status = status
        self.headers = headers

    def on_data(self, data: bytes) -> None:
        self._room -= len(data)
        if self._room < 0:
            raise BrokenError("the response is larger than this client takes")
        self.pieces.append(data)


class Pool:
    """Connections to `host:port`, the most recently used first.

    All times are wall seconds. `idle_timeout_s` should be shorter than the server's.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        connect_timeout_s: float = 2.0,
        max_idle: int = 256,
        idle_timeout_s: float = 4.0,
    ) -> None:
        self.host = host
        self.port = port
        self._authority = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode()
        self._connect_timeout_s = connect_timeout_s
        self._max_idle = max_idle
        self._idle_timeout_s = idle_timeout_s
        self._loop = asyncio.get_running_loop()
        self._open: Connections[ClientConnection] = Connections(self._loop)
        self._open.watch_for(idle_timeout_s)
        self._idle: deque[ClientConnection] = deque()
        self._closed = False
        self._patience: Patience | None = None

    @property
    def connections(self) -> int:
        """Open connections, idle ones included."""
        return len(self._open)

    async def request(
        self,
        method: str,
        path: str,
        headers: Sequence[Header] = (),
        body: bytes = b"",
        *,
        timeout_s: float,
        since: float | None = None,
        max_bytes: int = _MAX_RESPONSE_BYTES,
    ) -> Response:
        """Send a request and wait for its whole answer. Raises `UpstreamError`.

        `since`: the loop's time from which `timeout_s` counts; now if None.
        """
        sink = _Collector(max_bytes)
        patience = Patience(total_s=timeout_s, first_byte_s=timeout_s, idle_s=timeout_s)
        await self.stream(method, path, headers, body, sink, patience=patience, since=since)
        return Response(sink.status, sink.headers, b"".join(sink.pieces))

    async def stream(
        self,
        method: str,
        path: str,
        headers: Sequence[Header],
        body: bytes,
        sink: Sink,
        *,
        patience: Patience = _PATIENCE,
        since: float | None = None,
        raw: bool = False,
    ) -> None:
        """Send a request and feed its answer to `sink`; returns when it has ended.

        With `raw` the sink gets the body as framed on the wire (`sink.framing`). `since`: the
        loop's time from which `patience` counts; now if None. Raises `UpstreamError`;
        cancelling the caller, or `sink.abort()`, breaks the connection. A kept connection
        that turns out dead is replaced once by a fresh one. `ConnectError` says that the server
        has not seen the request.
        """
        if patience is not self._patience:
            self._patience = patience
            self._open.watch_for(patience.shortest_s)
        head = encode_request(method, path, headers, body, self._authority)
        plan = Plan(method, head, body, patience, since or self._loop.time(), raw)
        connection = self._take_idle()
        broken: BrokenError | None = None
        if connection is not None:
            try:
                await connection.exchange(plan, sink)
                return
            except BrokenError as error:
                if connection.answered or sink.aborted or self._closed:
                    raise
                broken = error
        try:
            connection = await self._connect(plan.first_byte_by)
        except ConnectError:
            if broken is not None:  # the server may have begun with the request
                raise broken from None
            raise
        await connection.exchange(plan, sink)

    def close(self) -> None:
        """Break all connections, busy ones too."""
        self._closed = True
        for connection in self._open:
            connection.abort(BrokenError("the connection pool was closed"))
        self._idle.clear()
        self._open.close()

    def close_idle(self) -> None:
        """Close what is not in use; busy connections go when they are done."""
        self._closed = True
        while self._idle:
            self._idle.pop().abort(None)

    async def _connect(self, by: float) -> ClientConnection:
        timeout_s = min(self._connect_timeout_s, by - self._loop.time())
        where = f"{self.host}:{self.port}"
        if timeout_s <= 0.0:
            raise DeadlineError(f"no time was left to connect to {where}")
        try:
            async with asyncio.timeout(timeout_s):
                _, made = await self._loop.create_connection(
                    cast(Callable[[], asyncio.Protocol], self._connection), self.host, self.port
                )
        except TimeoutError:
            raise ConnectError(f"{where} did not accept within {timeout_s:g} s") from None
        except OSError as error:
            raise ConnectError(f"cannot connect to {where}: {error}") from error
        connection = cast(ClientConnection, made)
        if connection.usable:  # else it is lost already
            self._open.add(connection)
        return connection

    def _connection(self) -> ClientConnection:
        return ClientConnection(self._loop, self._lost, self._released)

    def _lost(self, connection: ClientConnection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _released(self, connection: ClientConnection) -> None:
        if self._closed:
            connection.abort(None)
            return
        connection.rest(self._loop.time() + self._idle_timeout_s)
        self._idle.append(connection)
        if len(self._idle) > self._max_idle:
            self._idle.popleft().abort(None)

    def _take_idle(self) -> ClientConnection | None:
        now = self._loop.time()
        while self._idle:
            connection = self._idle.pop()
            if connection.deadline > now and connection.usable:
                return connection
            connection.abort(None)
        return None
