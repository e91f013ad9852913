"""The pool planner over real sockets: NATS, and gRPC neighbours that come, go and hang."""

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from poolplanner import app
from poolplanner.config import PoolPlannerConfig
from tests.integration.nats_process import Server, eventually
from tests.integration.planner_neighbours import (
    READY,
    STARTING,
    FakeActuator,
    FakeGlobalPlanner,
)
from weir import codec, fleet
from weir.api.v1 import planner_pb2_grpc, pool_pb2, pool_pb2_grpc
from weir.domain.errors import FleetError
from weir.domain.ids import ClassName, PoolId, RouterId
from weir.domain.planning import PoolMembers
from weir.domain.telemetry import ClassTraffic, PoolTraffic, TrafficSample
from weir.runtime import names, rpc
from weir.runtime.bus import Bus
from weir.runtime.clock import Clock
from weir.runtime.lifecycle import Stop

FLEET = """\
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {name: pond}
spec:
  models: [{name: m}]
  classes: [{name: small, ttft_ms: 5000, itl_ms: 100}]
  budget: {gpus: 4}
  pools:
    - {name: chat, role: agg, model: m, max_replicas: 4, start_up_s: 10}
    - {name: fixed, role: agg, model: m, scaling: {kind: none}}
  planner: {interval_s: 2.0, drain_s: 7.0}
"""
SPEED = 10.0
CHAT = PoolId("chat")


class Pond:
    """One pool planner and its neighbours."""

    def __init__(self, tmp_path: Path, nats: Server) -> None:
        self.file = tmp_path / "fleet.yaml"
        self.file.write_text(FLEET)
        self.nats = nats
        self.global_planner = FakeGlobalPlanner()
        self.actuator = FakeActuator()
        self.actuator.on_stop = self._on_stop
        self.members: list[PoolMembers] = []
        self.announced_at_stops: list[list[str]] = []
        """What routers could know of the pool when a replica was stopped."""
        self.servers: list[rpc.RpcServer] = []
        self.addresses: list[str] = []

    async def open(self) -> None:
        def register(server: object) -> None:
            planner_pb2_grpc.add_GlobalPlannerServicer_to_server(self.global_planner, server)
            pool_pb2_grpc.add_LocalActuatorServicer_to_server(self.actuator, server)

        for _ in range(2):
            server = await rpc.serve("127.0.0.1:0", register)
            self.servers.append(server)
            self.addresses.append(f"127.0.0.1:{server.port}")
        self.bus = await Bus.connect(self.nats.url, name="test")
        await self.bus.kv_watch(names.members_bucket("pond"), self._on_members)

    async def close(self) -> None:
        await self.bus.close()
        for server in self.servers:
            await server.close(0.0)

    def config(self, pool: str = "chat", **more: object) -> PoolPlannerConfig:
        return PoolPlannerConfig.model_validate(
            {
                "pools": (pool,),
                "nats": self.nats.url,
                "global_planner": (self.addresses[0],),
                "actuator": self.addresses[1],
                "rpc_timeout_s": 0.5,
                "settle_s": 0.3,
                "unsettled_s": 2.0,
                **more,
            }
        )

    @asynccontextmanager
    async def planner(self, **more: object) -> AsyncIterator[None]:
        stop = Stop()
        clock = Clock(speed=SPEED, origin_s=time.monotonic())
        loaded = fleet.load(self.file)
        work = asyncio.create_task(app.run(self.config(**more), loaded, clock, stop))
        try:
            yield
        finally:
            stop.set()
            async with asyncio.timeout(30.0):
                await work

    def routable(self) -> list[str]:
        """Who gets new requests, as the routers know it."""
        newest = max(self.members, key=lambda m: m.version, default=None)
        return _routable(newest) if newest else []

    async def grown_to(self, replicas: int) -> None:
        self.global_planner.grant(replicas)
        await eventually(lambda: len(self.actuator.states) == replicas)
        self.actuator.become(READY)
        await eventually(lambda: len(self.routable()) == replicas)

    async def rounds(self, count: int = 3) -> None:
        seen = len(self.global_planner.reports)
        await eventually(lambda: len(self.global_planner.reports) >= seen + count)

    async def _on_stop(self, replica_id: str) -> None:
        entry = await self.bus.kv_get(names.members_bucket("pond"), CHAT)
        assert entry is not None
        newest = codec.decode_members(pool_pb2.PoolMembers.FromString(entry[0]))
        self.announced_at_stops.append(_routable(newest))

    def _on_members(self, key: str, value: bytes | None) -> None:
        if key == CHAT and value is not None:
            self.members.append(codec.decode_members(pool_pb2.PoolMembers.FromString(value)))


def _routable(members: PoolMembers) -> list[str]:
    return [worker.id for worker in members.workers if not worker.draining]


@pytest.fixture
async def pond(tmp_path: Path, nats: Server) -> AsyncIterator[Pond]:
    pond = Pond(tmp_path, nats)
    await pond.open()
    yield pond
    await pond.close()


def _sample(sequence: int) -> bytes:
    sample = TrafficSample(
        router_id=RouterId("r"),
        sequence=sequence,
        window_s=1.0,
        classes=(ClassTraffic(name=ClassName("small"), arrivals=6, isl_tokens=6000),),
        pools=(PoolTraffic(pool_id=CHAT, arrivals=6, queued_tokens=50_000),),
    )
    return codec.encode_traffic(sample).SerializeToString()


async def test_a_pool_grows_reports_and_shrinks_by_draining_first(pond: Pond) -> None:
    async with pond.planner():
        await pond.rounds()
        assert pond.actuator.states == {}
        await pond.grown_to(2)
        assert pond.routable() == ["chat-0", "chat-1"]
        for sequence in range(10):
            pond.bus.publish(names.traffic_subject("pond", "r"), _sample(sequence))
            await asyncio.sleep(1.0 / SPEED)
        await eventually(lambda: bool(pond.global_planner.reports[-1].load))
        report = pond.global_planner.reports[-1]
        assert report.load[0].rate_rps == pytest.approx(6.0, rel=0.2)
        assert report.backlog_replica_s is not None and report.backlog_replica_s > 0.0
        assert report.capacity_rps[ClassName("small")] > 0.0
        assert (report.acted_epoch, report.acted_replicas, report.state.ready) == (1, 2, 2)
        pond.global_planner.grant(1)
        await eventually(lambda: pond.actuator.stops != [])
        assert pond.announced_at_stops[0] == ["chat-0"]
        assert pond.actuator.stops[0] == ("chat-1", 7.0)
        await eventually(lambda: pond.global_planner.reports[-1].state.terminating == 1)
        pond.actuator.remove()
        await eventually(lambda: pond.global_planner.reports[-1].state.held == 1)


async def test_reports_and_versions_go_on_above_those_of_the_planner_before(pond: Pond) -> None:
    async with pond.planner():
        await pond.grown_to(2)
    sequence = pond.global_planner.reports[-1].sequence
    version = pond.members[-1].version
    states = dict(pond.actuator.states)
    pond.global_planner.replicas = None
    async with pond.planner():
        await pond.rounds()
        assert pond.global_planner.reports[-1].acted_epoch == 0
        assert pond.routable() == ["chat-0", "chat-1"]
        assert pond.actuator.states == states
    assert pond.global_planner.reports[-1].sequence > sequence + 3
    assert pond.members[-1].version > version


async def test_the_pool_holds_while_the_global_planner_is_away(pond: Pond) -> None:
    async with pond.planner():
        await pond.grown_to(2)
        await pond.servers[0].close(0.0)
        pond.actuator.states["chat-1"] = STARTING
        await eventually(lambda: pond.routable() == ["chat-0"])
        pond.actuator.become(READY)
        await eventually(lambda: pond.routable() == ["chat-0", "chat-1"])
        assert (pond.actuator.started, pond.actuator.stops) == (2, [])


async def test_nothing_is_stopped_while_nats_is_away_and_all_is_announced_when_it_is_back(
    pond: Pond,
) -> None:
    async with pond.planner():
        await pond.grown_to(2)
        pond.nats.kill()
        pond.global_planner.grant(1)
        await pond.rounds(6)
        assert pond.actuator.stops == []
        pond.nats.start()
        await eventually(lambda: pond.routable() == ["chat-0"])
        await eventually(lambda: bool(pond.actuator.stops))


async def test_a_start_that_never_answers_is_not_repeated_while_it_may_happen(pond: Pond) -> None:
    async with pond.planner(unsettled_s=60.0):
        pond.actuator.hang.add("start")
        pond.global_planner.grant(1)
        await eventually(lambda: any(r.state.starting for r in pond.global_planner.reports))
        pond.actuator.hang.clear()
        await pond.rounds(5)
        assert pond.actuator.states == {}
    async with pond.planner():
        await pond.grown_to(1)


async def test_an_actuator_that_hangs_delays_rounds_and_no_more(pond: Pond) -> None:
    async with pond.planner():
        await pond.grown_to(1)
        pond.actuator.hang.add("list")
        await asyncio.sleep(1.2)
        pond.actuator.hang.clear()
        await pond.rounds(2)
        assert pond.routable() == ["chat-0"]


async def test_a_pool_without_scaling_and_actuator_is_reported_and_left_alone(pond: Pond) -> None:
    pond.global_planner.grant(3)
    async with pond.planner(pool="fixed", actuator=None):
        await pond.rounds()
    assert {report.pool_id for report in pond.global_planner.reports} == {"fixed"}
    assert pond.global_planner.reports[-1].state.ready == 1
    assert pond.actuator.states == {}


async def test_a_pool_without_scaling_is_brought_to_its_minimum_and_kept_there(
    pond: Pond,
) -> None:
    pond.global_planner.grant(3)
    async with pond.planner(pool="fixed"):
        await eventually(lambda: len(pond.actuator.states) == 1)
        await pond.rounds()
    assert list(pond.actuator.states) == ["fixed-0"]


@pytest.mark.parametrize(
    ("more", "problem"), [({"pool": "nope"}, "no pool 'nope'"), ({"actuator": None}, "--actuator")]
)
async def test_what_cannot_be_planned_is_refused_at_once(
    pond: Pond, more: dict[str, object], problem: str
) -> None:
    clock, stop = Clock(), Stop()
    with pytest.raises(FleetError, match=problem):
        await app.run(pond.config(**more), fleet.load(pond.file), clock, stop)


async def test_the_command_serves_its_control_endpoints_and_leaves_replicas_running(
    pond: Pond,
) -> None:
    command = [
        *(sys.executable, "-m", "weir", "pool-planner", "--fleet", str(pond.file)),
        *("--pool", "chat", "--nats", pond.nats.url, "--speed", str(SPEED)),
        *("--global-planner", pond.addresses[0], "--actuator", pond.addresses[1]),
    ]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    try:
        await pond.grown_to(1)
        assert process.stderr is not None
        port = None
        async with asyncio.timeout(60.0):
            while port is None:
                found = re.search(
                    rb"control http://127.0.0.1:(\d+)", await process.stderr.readline()
                )
                port = int(found[1]) if found else None
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            for path, text in (
                ("/livez", "ok"),
                ("/readyz", "ok"),
                ("/metrics", 'weir_poolplanner_granted_replicas{pool="chat"} 1.0'),
            ):
                async with session.get(path) as response:
                    assert response.status == 200 and text in await response.text()
        os.kill(process.pid, signal.SIGTERM)
        async with asyncio.timeout(30.0):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert pond.actuator.stops == [] and pond.actuator.states == {"chat-0": READY}
