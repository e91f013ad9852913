import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from weir.runtime.rpc import channel, serve


async def test_health_follows_what_the_role_publishes() -> None:
    server = await serve("127.0.0.1:0", lambda _: None)
    link = channel(f"127.0.0.1:{server.port}")
    stub = health_pb2_grpc.HealthStub(link)
    statuses = health_pb2.HealthCheckResponse
    request = health_pb2.HealthCheckRequest(service="weir")
    try:
        await server.set_serving(["weir"], False)
        assert (await stub.Check(request, timeout=2.0)).status == statuses.NOT_SERVING
        await server.set_serving(["weir"], True)
        assert (await stub.Check(request, timeout=2.0)).status == statuses.SERVING
    finally:
        await link.close()
        await server.close(0.0)


async def test_an_address_in_use_is_named() -> None:
    server = await serve("127.0.0.1:0", lambda _: None)
    try:
        with pytest.raises(OSError, match=f"127.0.0.1:{server.port}"):
            await serve(f"127.0.0.1:{server.port}", lambda _: None)
    finally:
        await server.close(0.0)
