"""Scale requests over real sockets: HTTP with tokens in, grants over gRPC out."""

import asyncio
import hashlib
import json
import runpy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from globalplanner import app
from globalplanner.config import GlobalPlannerConfig
from tests.integration.nats_process import Server
from weir import codec, fleet
from weir.api.v1 import planner_pb2_grpc
from weir.domain.ids import PoolId
from weir.domain.planning import Grant, PoolReport, PoolState
from weir.local.ports import Ports
from weir.runtime import rpc
from weir.runtime.clock import Clock
from weir.runtime.lifecycle import Stop

FLEET = """\
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {name: dynamo}
spec:
  models: [{name: m}]
  budget: {gpus: 8}
  pools:
    - {name: p, role: prefill, model: m, max_replicas: 6, dynamo: {deployment: llama}}
    - {name: d, role: decode, model: m, max_replicas: 6, dynamo: {deployment: llama}}
  planner: {interval_s: 0.5}
"""
TOKENS = {"llama": "llama-token", "other": "other-token"}
POOLS = {"llama": "[p, d]", "other": "[x]"}
IDENTITIES = "".join(
    f"- {{name: {name}, token_sha256: {hashlib.sha256(token.encode()).hexdigest()}, "
    f"pools: {POOLS[name]}}}\n"
    for name, token in TOKENS.items()
)


class Lake:
    """A GlobalPlanner in this process, and two pools that obey at once."""

    def __init__(self, tmp_path: Path, nats: Server, *, open_to: bool = True) -> None:
        self.file = tmp_path / "fleet.yaml"
        self.file.write_text(FLEET)
        identities = tmp_path / "identities.yaml"
        identities.write_text(IDENTITIES)
        ports = Ports()
        self.target, control = f"127.0.0.1:{ports.take()}", f"127.0.0.1:{ports.take()}"
        self.config = GlobalPlannerConfig(
            listen=self.target,
            control=control,
            nats=nats.url,
            identities=str(identities) if open_to else None,
        )
        self.url = f"http://{control}/dynamo"
        self.ready = {"p": 1, "d": 1}
        self._sequence = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        stop = Stop()
        planner = asyncio.create_task(
            app.run(self.config, fleet.load(self.file), Clock(), stop), name="planner"
        )
        channel = rpc.channel(self.target)
        stub = planner_pb2_grpc.GlobalPlannerStub(channel)  # type: ignore[no-untyped-call]
        pools = [asyncio.create_task(self._plan(stub, name)) for name in self.ready]
        try:
            yield
        finally:
            for pool in pools:
                pool.cancel()
            stop.set()
            async with asyncio.timeout(30.0):
                await asyncio.gather(*pools, return_exceptions=True)
                await channel.close()
                await planner

    @staticmethod
    def message(**replicas: Any) -> dict[str, Any]:
        return {
            "caller_namespace": "default-llama",
            "graph_deployment_name": "llama",
            "k8s_namespace": "default",
            "target_replicas": [
                {"sub_component_type": component, "desired_replicas": count}
                for component, count in replicas.items()
            ],
        }

    async def ask(
        self, token: str | None = "llama-token", *, blocking: bool = False, **replicas: Any
    ) -> tuple[int, dict[str, Any]]:
        """Status code and reply; raises while nobody listens."""
        message = self.message(**replicas) | {"blocking": blocking}
        async with (
            self._session(token) as session,
            session.post(f"{self.url}/scale_request", json=message) as response,
        ):
            return response.status, await response.json()

    async def health(self, token: str | None = "llama-token") -> tuple[int, dict[str, Any]]:
        async with self._session(token) as session, session.get(f"{self.url}/health") as response:
            return response.status, await response.json()

    async def settled(self) -> None:
        """Until it leads and both pools act on its grants."""

        async with asyncio.timeout(30.0):
            while True:
                with suppress(aiohttp.ClientError):
                    _, health = await self.health()
                    if health["status"] == "healthy" and len(health["report_age_s"]) == 2:
                        return
                await asyncio.sleep(0.05)

    def _session(self, token: str | None) -> aiohttp.ClientSession:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=20.0))

    async def _plan(self, stub: Any, name: str) -> None:
        grant: Grant | None = None
        metadata = (("authorization", f"Bearer {TOKENS['llama']}"),)
        while True:
            self._sequence += 1
            report = PoolReport(
                pool_id=PoolId(name),
                sequence=self._sequence,
                acted_term=grant.term if grant else 0,
                acted_epoch=grant.epoch if grant else 0,
                acted_replicas=grant.replicas if grant else 0,
                state=PoolState(ready=self.ready[name], starting=0, terminating=0),
                capacity_rps={},
                capacity_rel_std=0.0,
            )
            with suppress(grpc.aio.AioRpcError):
                answer = await stub.Report(
                    codec.encode_report(report), timeout=10.0, metadata=metadata
                )
                if answer.HasField("grant"):
                    grant = codec.decode_grant(answer.grant)
                    self.ready[name] = grant.replicas
            await asyncio.sleep(0.2)


@pytest.fixture
async def lake(tmp_path: Path, nats: Server) -> AsyncIterator[Lake]:
    lake = Lake(tmp_path, nats)
    async with lake.running():
        await lake.settled()
        yield lake


async def test_a_scale_request_becomes_grants(lake: Lake) -> None:
    assert await lake.ask(prefill=3, decode=2, blocking=True) == (
        200,
        {
            "status": "success",
            "message": "decode 2; prefill 3",
            "current_replicas": {"prefill": 3, "decode": 2},
        },
    )
    assert lake.ready == {"p": 3, "d": 2}
    code, reply = await lake.ask(prefill=6, decode=3)
    assert (code, reply["status"]) == (200, "rejected")
    code, reply = await lake.ask(prefill=-1)
    assert (code, reply["status"]) == (400, "error")
    assert "target_replicas[0].desired_replicas" in reply["message"]


async def test_who_asks_is_known_by_a_token_and_never_by_what_it_says(lake: Lake) -> None:
    for token in (None, "no-token"):
        code, reply = await lake.ask(token, decode=2)
        assert (code, reply["status"]) == (401, "error")
        assert (await lake.health(token))[0] == 401
    code, reply = await lake.ask("other-token", decode=2)
    assert (code, reply["message"]) == (400, "other may not speak for d")
    assert lake.ready == {"p": 1, "d": 1}


async def test_the_bridge_passes_on_what_comes_over_dynamos_request_plane(
    lake: Lake, tmp_path: Path
) -> None:
    path = Path(__file__).parents[2] / "examples/dynamo/scale_bridge.py"
    bridge = runpy.run_path(str(path))
    token = tmp_path / "token"
    token.write_text("llama-token\n")
    weir = bridge["Weir"](lake.url.removesuffix("/dynamo"), token)
    text = json.dumps(lake.message(prefill=3) | {"blocking": True})
    assert [reply["status"] async for reply in weir.scale(text)] == ["success"]
    assert [reply["status"] async for reply in weir.scale("{}")] == ["error"]
    assert [reply["status"] async for reply in weir.health({"text": "ping"})] == ["healthy"]
    nobody = bridge["Weir"]("http://127.0.0.1:9", token)
    assert [reply["status"] async for reply in nobody.scale(text)] == ["error"]


async def test_health_is_that_of_the_process(lake: Lake) -> None:
    code, health = await lake.health()
    assert code == 200
    assert health["status"] == "healthy"
    assert health["managed_namespaces"] == ["default-llama"]
    assert health["leading"] and health["store_connected"] and health["growing"]
    assert set(health["report_age_s"]) == {"p", "d"}


async def test_without_identities_it_is_closed(tmp_path: Path, nats: Server) -> None:
    lake = Lake(tmp_path, nats, open_to=False)
    async with lake.running(), asyncio.timeout(30.0):
        while True:
            with suppress(aiohttp.ClientError):
                code, reply = await lake.ask(decode=2)
                break
            await asyncio.sleep(0.05)
    assert code == 403
    assert "has no identities" in reply["message"]
