"""The HTTP/1.1 server: a raw asyncio protocol, one sync handler, no framework.

The handler is called for each complete request and answers through the responder, at once
or from a task that it starts itself.
"""

import asyncio
import socket
from collections.abc import Sequence
from typing import Self

from weir.http1.connection import Handler, OnRefusal, ServerConnection
from weir.http1.deadlines import Connections
from weir.http1.messages import Limits, Request
from weir.http1.responder import Responder, Source

__all__ = ["Handler", "Limits", "Request", "Responder", "Server", "Source", "serve"]


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
        self._server: asyncio.Server | None = None
        self.port = 0

    async def listen(self, host: str, port: int, *, backlog: int, reuse_port: bool) -> None:
        """Raises `OSError` if the address cannot be had."""
        self._server = await self._loop.create_server(
            self._connection,
            host,
            port,
            backlog=backlog,
            reuse_port=reuse_port or None,
        )
        self.port = _port_of(self._server.sockets)

    @property
    def connections(self) -> int:
        """Open connections, idle ones included."""
        return len(self._open)

    def stop_accepting(self) -> None:
        """Close the listening socket; connections stay."""
        if self._server is not None:
            self._server.close()

    async def drain(self, timeout_s: float) -> bool:
        """Close each connection once its requests are answered; True if all went in time.

        Those that did not are broken off.
        """
        drained = await self.settle(timeout_s)
        self.close()
        return drained

    async def settle(self, timeout_s: float) -> bool:
        """As `drain`, but what does not end in time goes on."""
        self.stop_accepting()
        for connection in self._open:
            connection.begin_drain()
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
        return ServerConnection(
            self._handler, self._limits, self._open, self._loop, self._on_refusal
        )


async def serve(
    handler: Handler,
    host: str,
    port: int,
    *,
    limits: Limits | None = None,
    reuse_port: bool = False,
    backlog: int = 1024,
    on_refusal: OnRefusal | None = None,
) -> Server:
    """Listen on `host:port` (0: a free one). Raises `OSError` if the address cannot be had.

    `on_refusal` gets the status of each request that was refused before any handler saw it.
    """
    server = Server(handler, limits or Limits(), on_refusal)
    await server.listen(host, port, backlog=backlog, reuse_port=reuse_port)
    return server


def _port_of(sockets: Sequence[socket.socket]) -> int:
    for bound in sockets:
        name = bound.getsockname()
        if isinstance(name, tuple) and len(name) >= 2:
            return int(name[1])
    return 0
