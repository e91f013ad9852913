"""LocalActuator over gRPC, with processes that answer /health and /metrics as an engine does."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest

from tests.unit.local.test_replicas import fleet
from weir.api.v1 import pool_pb2, pool_pb2_grpc
from weir.domain.fleet import Budget
from weir.local.actuator import ActuatorServicer
from weir.local.engines import Engines
from weir.local.ports import HOST, Ports
from weir.local.probe import HttpProbe
from weir.local.replicas import Replica
from weir.runtime import rpc
from weir.runtime.clock import Clock

ENGINE = """
import http.server, os, sys, time
while not os.path.exists(sys.argv[2]):
    time.sleep(0.01)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'vllm:num_requests_running{engine="0"} 2.0\\nvllm:num_requests_waiting 1.0\\n'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
DEADLINE_S = 20.0


class Fixture:
    def __init__(
        self, engines: Engines, stub: pool_pb2_grpc.LocalActuatorStub, serves: Path
    ) -> None:
        self.engines = engines
        self.stub = stub
        self.serves = serves
        """Engines that start wait until this file is there."""

    async def start(self) -> pool_pb2.Replica:
        request = pool_pb2.StartReplicaRequest(pool_id="chat", term=1, epoch=1)
        return await self.stub.StartReplica(request, timeout=DEADLINE_S)

    async def listed(self) -> list[pool_pb2.Replica]:
        request = pool_pb2.ListReplicasRequest(pool_id="chat")
        response = await self.stub.ListReplicas(request, timeout=DEADLINE_S)
        return list(response.replicas)

    async def until(self, condition: Callable[[list[pool_pb2.Replica]], bool]) -> None:
        async with asyncio.timeout(30.0):
            while not condition(await self.listed()):
                await asyncio.sleep(0.05)


def states(replicas: list[pool_pb2.Replica]) -> list[int]:
    return [replica.state for replica in replicas]


@pytest.fixture
async def actuator(tmp_path: Path) -> AsyncIterator[Fixture]:
    probe = HttpProbe()
    serves = tmp_path / "serves"
    serves.touch()

    def engine_command(replica: Replica) -> list[str]:
        return [sys.executable, "-S", "-c", ENGINE, str(replica.port), str(serves)]

    engines = Engines(
        fleet=fleet(Budget(gpus=4), node_gpus=4),
        clock=Clock(origin_s=Clock.wall_s()),
        ports=Ports(),
        logs=tmp_path,
        command=engine_command,
        probe=probe,
    )
    server = await rpc.serve(
        f"{HOST}:0",
        lambda s: pool_pb2_grpc.add_LocalActuatorServicer_to_server(ActuatorServicer(engines), s),
    )
    async with rpc.channel(f"{HOST}:{server.port}") as channel:
        yield Fixture(engines, pool_pb2_grpc.LocalActuatorStub(channel), serves)
    children = engines.children()
    engines.close()
    await asyncio.gather(*(child.stop(1.0) for child in children))
    await server.close(0.1)
    probe.close()


async def test_a_replica_starts_gets_ready_shows_its_load_and_ends(actuator: Fixture) -> None:
    replica = await actuator.start()
    assert replica.state == pool_pb2.REPLICA_STATE_STARTING
    await actuator.until(lambda listed: states(listed) == [pool_pb2.REPLICA_STATE_READY])
    await actuator.until(lambda listed: listed[0].in_flight == 3)
    request = pool_pb2.StopReplicaRequest(replica_id=replica.id, drain_s=1.0)
    stopped = await actuator.stub.StopReplica(request, timeout=DEADLINE_S)
    assert stopped.state == pool_pb2.REPLICA_STATE_TERMINATING
    await actuator.until(lambda listed: listed == [])
    assert actuator.engines.table.gpus.held_gpus == 0


async def test_a_killed_replica_comes_back_as_starting_on_its_port(actuator: Fixture) -> None:
    replica = await actuator.start()
    await actuator.until(lambda listed: states(listed) == [pool_pb2.REPLICA_STATE_READY])
    pid = actuator.engines.children()[0].pid
    assert pid
    actuator.serves.unlink()
    os.kill(pid, signal.SIGKILL)
    await actuator.until(lambda listed: states(listed) == [pool_pb2.REPLICA_STATE_STARTING])
    actuator.serves.touch()
    await actuator.until(lambda listed: states(listed) == [pool_pb2.REPLICA_STATE_READY])
    assert [(r.id, r.port) for r in await actuator.listed()] == [(replica.id, replica.port)]
    assert actuator.engines.restarts == {"chat": 1}


async def test_a_start_beyond_the_machines_gpus_is_refused(actuator: Fixture) -> None:
    # Two GPUs each, the node group has four.
    await actuator.start()
    await actuator.start()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await actuator.start()
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "node group nodes has 0 free GPUs" in (refused.value.details() or "")


async def test_unknown_pools_and_replicas_are_named(actuator: Fixture) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="no pool 'nope' in fleet 'test'"):
        request = pool_pb2.StartReplicaRequest(pool_id="nope")
        await actuator.stub.StartReplica(request, timeout=DEADLINE_S)
    with pytest.raises(grpc.aio.AioRpcError, match="no replica 'chat-9'"):
        stop = pool_pb2.StopReplicaRequest(replica_id="chat-9", drain_s=1.0)
        await actuator.stub.StopReplica(stop, timeout=DEADLINE_S)
    with pytest.raises(grpc.aio.AioRpcError, match="drain_s must be a finite number"):
        stop = pool_pb2.StopReplicaRequest(replica_id="chat-9", drain_s=float("nan"))
        await actuator.stub.StopReplica(stop, timeout=DEADLINE_S)
