"""The control endpoint of a role: /livez, /readyz and /metrics, and what the role adds."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from weir.http1.messages import Limits, Request
from weir.http1.server import Responder, Server, serve

__all__ = ["ControlServer", "Reply", "Routes"]

_log = logging.getLogger("weir.control")
_LIMITS = Limits(max_body_bytes=1 << 20)
_LAST_WORDS_S = 1.0
_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    content_type: str = _TEXT


Handler = Callable[[Request], Awaitable[Reply]]
Routes = Mapping[tuple[str, str], Handler]
"""By method and path."""


class ControlServer:
    """`ready` returns None when the role can do its work, else the reason why not.

    Metrics are rendered in a thread: a large registry does not hold up the loop. What a handler
    has begun it ends, also when its client has gone.
    """

    def __init__(
        self,
        host: str,
        port: int,
        ready: Callable[[], str | None],
        registry: CollectorRegistry,
        *,
        routes: Routes | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._ready = ready
        self._registry = registry
        self._server: Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._routes: dict[tuple[str, str], Handler] = {
            ("GET", "/livez"): self._livez,
            ("GET", "/readyz"): self._readyz,
            ("GET", "/metrics"): self._metrics,
            **(routes or {}),
        }

    async def start(self) -> int:
        """Listen; returns the port, which the system has chosen if it was 0.

        Raises `OSError` if the address cannot be bound.
        """
        self._server = await serve(self._take, self._host, self._port, limits=_LIMITS)
        return self._server.port

    async def close(self) -> None:
        if self._server is not None:
            await self._server.drain(_LAST_WORDS_S)
        for task in self._tasks:
            task.cancel()

    def _take(self, request: Request, responder: Responder) -> None:
        method = "GET" if request.method == "HEAD" else request.method
        handler = self._routes.get((method, request.path))
        if handler is None:
            allowed = [known for known, path in self._routes if path == request.path]
            headers = [(b"allow", ", ".join(allowed).encode())] if allowed else []
            responder.send(405 if allowed else 404, headers, b"")
            return
        task = asyncio.get_running_loop().create_task(self._answer(handler, request, responder))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, handler: Handler, request: Request, responder: Responder) -> None:
        try:
            reply = await handler(request)
        except Exception:
            _log.exception("%s %s failed", request.method, request.path)
            reply = Reply(500, b"internal error; the log of this process has details\n")
        headers = [(b"content-type", reply.content_type.encode())]
        responder.send(reply.status, headers, reply.body)

    async def _livez(self, _: Request) -> Reply:
        return Reply(200, b"ok\n")

    async def _readyz(self, _: Request) -> Reply:
        reason = self._ready()
        return Reply(200, b"ok\n") if reason is None else Reply(503, f"{reason}\n".encode())

    async def _metrics(self, _: Request) -> Reply:
        body = await asyncio.to_thread(generate_latest, self._registry)
        return Reply(200, body, CONTENT_TYPE_LATEST)
