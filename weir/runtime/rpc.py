"""gRPC servers and channels as every role uses them: asyncio, health service, TLS if wanted."""

from collections.abc import Callable, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from weir.runtime.credentials import ServerTls

__all__ = ["RpcServer", "channel", "serve"]

_OPTIONS = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # or quiet streams are hung up on
    ("grpc.so_reuseport", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


class RpcServer:
    """A running server; `port` is the one it listens on."""

    def __init__(self, server: grpc.aio.Server, servicer: Any, port: int) -> None:
        self._server = server
        self._health = servicer
        self.port = port

    async def set_serving(self, names: Sequence[str], serving: bool) -> None:
        """Publish health for the services in `names` ("" is the server as a whole)."""
        statuses = health_pb2.HealthCheckResponse
        status = statuses.SERVING if serving else statuses.NOT_SERVING
        for name in names:
            await self._health.set(name, status)

    async def close(self, grace_s: float = 1.0) -> None:
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)


async def serve(
    listen: str, register: Callable[[grpc.aio.Server], None], *, tls: ServerTls | None = None
) -> RpcServer:
    """Serve on `listen` ("host:port", port 0 = any). `register` adds the servicers.

    The whole server reports SERVING from the start; roles refine with `set_serving`.
    Raises `OSError` naming the address if it cannot be bound, `CredentialsError`.
    """
    credentials = tls.credentials() if tls is not None else None
    server = grpc.aio.server(options=_OPTIONS)
    register(server)
    servicer: Any = health.aio.HealthServicer()  # type: ignore[attr-defined]
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    try:
        port = (
            server.add_insecure_port(listen)
            if credentials is None
            else server.add_secure_port(listen, credentials)
        )
    except RuntimeError as error:
        raise OSError(f"cannot listen on {listen}: {error}") from None
    if port == 0:
        raise OSError(f"cannot listen on {listen}")
    await server.start()
    running = RpcServer(server, servicer, port)
    await running.set_serving([""], True)
    return running


def channel(target: str, *, credentials: grpc.ChannelCredentials | None = None) -> grpc.aio.Channel:
    """A channel to `target` ("host:port") that reconnects within a second; TLS as `credentials`."""
    if credentials is not None:
        return grpc.aio.secure_channel(target, credentials, options=_OPTIONS)
    return grpc.aio.insecure_channel(target, options=_OPTIONS)
