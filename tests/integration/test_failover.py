"""Two GlobalPlanners on a NATS cluster of three nodes, of which each is killed or frozen in turn.

The pools run what they are granted and take a moment to let go; demand moves between them all the
time, so GPUs have to change hands. At no moment do they hold more than the budget.
"""

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from tests.integration.nats_cluster import Cluster
from tests.integration.nats_process import eventually
from weir import codec
from weir.api.v1 import planner_pb2, planner_pb2_grpc
from weir.domain.ids import ClassName, PoolId, RouterId
from weir.domain.planning import ClassLoad, Grant, PoolReport, PoolState
from weir.domain.telemetry import ClassTraffic, TrafficSample
from weir.runtime import names, rpc
from weir.runtime.bus import Bus

BUDGET = 6
FLEET = f"""\
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {{name: delta}}
spec:
  models: [{{name: m-a}}, {{name: m-b}}]
  classes: [{{name: chat, ttft_ms: 5000, itl_ms: 100}}]
  budget: {{gpus: {BUDGET}}}
  pools:
    - {{name: a, role: agg, model: m-a, max_replicas: 5, start_up_s: 1}}
    - {{name: b, role: agg, model: m-b, max_replicas: 5, start_up_s: 1}}
  planner: {{interval_s: 0.5, scale_down_dwell_s: 1.0, telemetry_stale_s: 20.0}}
"""
CHAT = ClassName("chat")
FAILOVER_S = 30.0
"""It takes a third of that, a busy machine aside."""
LETS_GO_S = 0.2
TURN_S = 3.0


class Planner:
    """One `weir global-planner` process."""

    def __init__(self, file: Path, nats: str) -> None:
        self._command = [
            *(sys.executable, "-m", "weir", "global-planner", "--fleet", str(file)),
            *("--listen", "127.0.0.1:0", "--nats", nats),
        ]
        self.process: asyncio.subprocess.Process | None = None
        self.target = ""

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *self._command, stderr=asyncio.subprocess.PIPE
        )
        assert self.process.stderr is not None
        async with asyncio.timeout(60.0):
            while not (found := re.search(rb"rpc_port=(\d+)", await self._line())):
                pass
        self.target = f"127.0.0.1:{int(found[1])}"
        self._drain = asyncio.create_task(self._read())

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            os.kill(self.process.pid, signal.SIGKILL)
            await self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    async def _line(self) -> bytes:
        assert self.process is not None
        assert self.process.stderr is not None
        line = await self.process.stderr.readline()
        assert line, "the GlobalPlanner has ended"
        return line

    async def _read(self) -> None:
        assert self.process is not None
        assert self.process.stderr is not None
        while await self.process.stderr.readline():
            pass


class Delta:
    """Two planners, two pools and a router."""

    def __init__(self, file: Path, cluster: Cluster) -> None:
        self.cluster = cluster
        self.planners = [Planner(file, cluster.urls) for _ in range(2)]
        self.grants: dict[str, Grant] = {}
        self.held = {"a": 0, "b": 0}
        self.most_held = 0
        self.moves = 0
        self._sequence = int(time.time() * 1000)
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        for planner in self.planners:
            await planner.start()
        self.bus = await Bus.connect(self.cluster.urls, name="delta")
        self._tasks = [asyncio.create_task(self._route())]
        self._tasks += [asyncio.create_task(self._pool(name)) for name in self.held]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.bus.close()
        for planner in self.planners:
            await planner.kill()

    async def leader(self) -> Planner:
        async with asyncio.timeout(FAILOVER_S):
            while True:
                for planner in self.planners:
                    status = await self._status(planner)
                    if status is not None and status.leading:
                        return planner
                await asyncio.sleep(0.05)

    @property
    def term(self) -> int:
        return max((grant.term for grant in self.grants.values()), default=0)

    async def gpus_change_hands(self, timeout_s: float) -> float:
        """Seconds until both pools have grown once more, so that both have let go, too."""
        began_s, moves = time.monotonic(), self.moves
        await eventually(lambda: self.moves >= moves + 2, timeout_s)
        return time.monotonic() - began_s

    async def _status(self, planner: Planner) -> planner_pb2.StatusResponse | None:
        try:
            async with rpc.channel(planner.target) as channel:
                stub = planner_pb2_grpc.GlobalPlannerStub(channel)  # type: ignore[no-untyped-call]
                return await stub.Status(planner_pb2.StatusRequest(), timeout=1.0)  # type: ignore[no-any-return]
        except grpc.aio.AioRpcError:
            return None

    async def _pool(self, name: str) -> None:
        """Report to whoever answers, ten times a second."""
        while True:
            for planner in self.planners:
                try:
                    async with rpc.channel(planner.target) as channel:
                        stub = planner_pb2_grpc.GlobalPlannerStub(channel)  # type: ignore[no-untyped-call]
                        while True:
                            answer = await stub.Report(self._report(name), timeout=1.0)
                            await self._take(name, answer)
                            await asyncio.sleep(0.1)
                except grpc.aio.AioRpcError:
                    continue
            await asyncio.sleep(0.1)

    async def _take(self, name: str, answer: planner_pb2.ReportResponse) -> None:
        if not answer.HasField("grant"):
            return
        grant, known = codec.decode_grant(answer.grant), self.grants.get(name)
        if known is not None and grant.number < known.number:
            return
        self.grants[name] = grant
        if grant.replicas < self.held[name]:
            await asyncio.sleep(LETS_GO_S)
        self.moves += grant.replicas > self.held[name]
        self.held[name] = grant.replicas
        self.most_held = max(self.most_held, sum(self.held.values()))

    def _report(self, name: str) -> planner_pb2.ReportRequest:
        self._sequence += 1
        grant = self.grants.get(name)
        return codec.encode_report(
            PoolReport(
                pool_id=PoolId(name),
                sequence=self._sequence,
                acted_term=grant.term if grant else 0,
                acted_epoch=grant.epoch if grant else 0,
                acted_replicas=grant.replicas if grant else 0,
                state=PoolState(ready=self.held[name], starting=0, terminating=0),
                capacity_rps={CHAT: 2.0},
                capacity_rel_std=0.0,
                load=(self._load(name),),
                backlog_replica_s=0.0,
                telemetry_age_s=0.1,
            )
        )

    def _load(self, name: str) -> ClassLoad:
        """Most of the requests are for one model, and in turns for the other."""
        turn = "ab"[int(time.monotonic() / TURN_S) % 2]
        rate = 7.5 if name == turn else 0.5
        return ClassLoad(
            name=CHAT, rate_rps=rate, rate_high_rps=rate, isl_tokens=100.0, osl_tokens=100.0
        )

    async def _route(self) -> None:
        sequence = 0
        while True:
            sequence += 1
            traffic = ClassTraffic(name=CHAT, arrivals=4, isl_tokens=400)
            sample = TrafficSample(
                router_id=RouterId("r"), sequence=sequence, window_s=0.5, classes=(traffic,)
            )
            message = codec.encode_traffic(sample).SerializeToString()
            self.bus.publish(names.traffic_subject("delta", "r"), message)
            await asyncio.sleep(0.5)


@pytest.fixture
async def delta(tmp_path: Path, nats_cluster: Cluster) -> AsyncIterator[Delta]:
    file = tmp_path / "fleet.yaml"
    file.write_text(FLEET)
    whole = Delta(file, nats_cluster)
    await whole.open()
    yield whole
    await whole.close()


async def test_gpus_change_hands_within_the_budget_whoever_is_killed(delta: Delta) -> None:
    await delta.leader()
    await delta.gpus_change_hands(30.0)

    stream = f"KV_{names.ledger_bucket('delta')}"
    node = delta.cluster.until_led(stream)
    delta.cluster.kill(node)
    after_node_s = await delta.gpus_change_hands(FAILOVER_S)
    delta.cluster.restart(node)

    term, leader = delta.term, await delta.leader()
    await leader.kill()
    began_s = time.monotonic()
    await eventually(lambda: delta.term > term, FAILOVER_S)
    failover_s = time.monotonic() - began_s
    await delta.gpus_change_hands(FAILOVER_S)
    await leader.start()

    term, leader = delta.term, await delta.leader()
    leader.signal(signal.SIGSTOP)
    await eventually(lambda: delta.term > term, FAILOVER_S)
    leader.signal(signal.SIGCONT)
    await delta.gpus_change_hands(FAILOVER_S)

    print(f"node killed: {after_node_s:.1f} s; leader killed: first grants {failover_s:.1f} s")
    assert delta.most_held <= BUDGET


async def test_minutes_without_a_store_freeze_growth_and_nothing_else(delta: Delta) -> None:
    await delta.leader()
    await delta.gpus_change_hands(30.0)
    for node in delta.cluster.nodes:
        delta.cluster.freeze(node)
    await asyncio.sleep(4.0)
    moves = delta.moves
    await asyncio.sleep(2.0 * TURN_S)
    assert delta.moves == moves, "nobody grows"
    for node in delta.cluster.nodes:
        delta.cluster.thaw(node)
    await delta.gpus_change_hands(30.0)
    assert delta.most_held <= BUDGET
