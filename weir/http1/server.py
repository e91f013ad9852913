"""The HTTP/1.1 server: a raw asyncio protocol, one sync handler, no framework.

The handler is called for each complete request and answers through the responder, at once
or from a task that it starts itself.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Self, cast

from weir.http1.connection import Handler, OnRefusal, ServerConnection
from weir.http1.deadlines import Connections
from weir.http1.messages import Limits, Request
from weir.http1.responder import Responder, Source

__all__ = ["Handler", "Limits", "Place", "Request", "Responder", "Server", "Source", "serve"]

Place = tuple[str, int] | Sequence[socket.socket]
"""Host and port (0: a free one), or sockets that listen there already."""

_BACKLOG = 1024
_COMING_S = 1.0
"""For connections that are being made when accepting ends: they are not seen before."""


class Server:
    """A listening server. `port` is the one chosen when 0 was asked for."""

    def __init__(
        self, handler: Handler, limits: Limits, on_refusal: OnRefusal | None = None
    ) -> None:
        self._handler = handler
        self._on_refusal = on_refusal
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._open: Connections[ServerConnection] = Connections(self._loop)
        self._open.watch_for(limits.shortest_s)
        self._servers: list[asyncio.Server] = []
        self._accepting = True
        self._tls = False
        self._parting_s = 0.0
        self.port = 0

    async def listen(self, place: Place, *, tls: ssl.SSLContext | None = None) -> None:
        """Raises `OSError` if the address cannot be had."""
        options: dict[str, Any] = {"backlog": _BACKLOG}
        self._tls = tls is not None
        if tls is not None:
            options |= {
                "ssl": tls,
                "ssl_handshake_timeout": self._limits.header_timeout_s,
                "ssl_shutdown_timeout": self._limits.linger_s,
            }
        create = self._loop.create_server
        made = cast(Callable[[], asyncio.Protocol], self._connection)
        if isinstance(place, tuple):
            self._servers.append(await create(made, *place, **options))
        else:
            for bound in place:
                self._servers.append(await create(made, sock=bound, **options))
        self.port = _port_of([bound for server in self._servers for bound in server.sockets])

    @property
    def connections(self) -> int:
        """Open connections, idle ones included."""
        return len(self._open)

    def stop_accepting(self) -> None:
        """Close the listening sockets; connections stay, and one that still comes is drained."""
        self._accepting = False
        for server in self._servers:
            server.close()

    async def drain(self, timeout_s: float) -> bool:
        """Close each connection once its requests are answered; True if all went in time.

        Those that did not are broken off.
        """
        drained = await self.settle(timeout_s)
        self.close()
        return drained

    async def settle(self, timeout_s: float, *, parting_s: float = 0.0) -> bool:
        """As `drain`, but what does not end in time goes on.

        `parting_s`: connections are left open for so long for a request that is on its way, and
        its answer says that it was the last. 0: those without a request are closed at once.
        """
        self._parting_s = parting_s
        self.stop_accepting()
        for connection in self._open:
            connection.begin_drain(parting_s)
        if self._tls or parting_s:
            await asyncio.sleep(min(timeout_s, _COMING_S))
        return await self._open.empty(timeout_s)

    def close(self) -> None:
        """Stop at once, breaking off what is running."""
        self.stop_accepting()
        for connection in self._open:
            connection.abort()
        self._open.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def _connection(self) -> ServerConnection:
        connection = ServerConnection(
            self._handler, self._limits, self._open, self._loop, self._on_refusal
        )
        connection.draining = not self._accepting
        connection.parting_s = self._parting_s
        return connection


async def serve(
    handler: Handler,
    host: str,
    port: int,
    *,
    limits: Limits | None = None,
    on_refusal: OnRefusal | None = None,
) -> Server:
    """Listen on `host:port` (0: a free one). Raises `OSError` if the address cannot be had.

    `on_refusal` gets the status of each request that was refused before any handler saw it.
    """
    server = Server(handler, limits or Limits(), on_refusal)
    await server.listen((host, port))
    return server


def _port_of(sockets: Sequence[socket.socket]) -> int:
    for bound in sockets:
        name = bound.getsockname()
        if isinstance(name, tuple) and len(name) >= 2:
            return int(name[1])
    return 0
