"""The GlobalPlanner over real sockets: NATS that comes and goes, pools that report over gRPC."""

import asyncio
import dataclasses
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from globalplanner import app
from globalplanner.config import GlobalPlannerConfig
from tests.integration.nats_process import Server, eventually
from weir import codec, fleet
from weir.api.v1 import planner_pb2, planner_pb2_grpc
from weir.domain.fleet import Stage
from weir.domain.ids import ClassName, PoolId, RouterId
from weir.domain.planning import Grant, PoolReport, PoolState, RoutingPlan
from weir.domain.record import LedgerRecord
from weir.domain.telemetry import ClassTraffic, TrafficSample
from weir.local.ports import Ports
from weir.runtime import names, rpc
from weir.runtime.bus import Bus
from weir.runtime.clock import Clock
from weir.runtime.lifecycle import Stop

FLEET = """\
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {name: lake}
spec:
  models: [{name: m}]
  classes: [{name: chat, ttft_ms: 5000, itl_ms: 100}]
  budget: {gpus: 6}
  pools:
    - {name: prefill, role: prefill, model: m, max_replicas: 4, start_up_s: 5}
    - {name: decode, role: decode, model: m, max_replicas: 4, start_up_s: 5}
  planner: {interval_s: 1.0, scale_down_dwell_s: 20.0}
"""
SPEED = 10.0
CHAT = ClassName("chat")
CAPACITY_RPS = {"prefill": 5.0, "decode": 20.0}


class Lake:
    """A GlobalPlanner's neighbours: two pools that obey at once, a router, a plan's reader."""

    def __init__(self, tmp_path: Path, nats: Server) -> None:
        self.file = tmp_path / "fleet.yaml"
        self.file.write_text(FLEET)
        self.nats = nats
        self.port = Ports().take()
        self.target = f"127.0.0.1:{self.port}"
        self.clock = Clock(speed=SPEED, origin_s=Clock.wall_s())
        self.config = GlobalPlannerConfig(listen=self.target, nats=nats.url, lease_s=1.0)
        self.grants: dict[str, Grant] = {}
        self.plans: list[RoutingPlan] = []
        self.rps = 0.0
        self.errors: list[grpc.aio.AioRpcError] = []
        self._sequence = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        self.bus = await Bus.connect(self.nats.url, name="lake")
        await self.bus.kv_watch(names.plan_bucket("lake"), self._on_plan)
        self.channel = rpc.channel(self.target)
        self.stub = planner_pb2_grpc.GlobalPlannerStub(self.channel)  # type: ignore[no-untyped-call]
        self._tasks = [asyncio.create_task(self._route())]
        self._tasks += [asyncio.create_task(self._plan(name)) for name in CAPACITY_RPS]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.channel.close()
        await self.bus.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """One GlobalPlanner in this process, stopped in order at the end."""
        stop = Stop()
        task = asyncio.create_task(
            app.run(self.config, fleet.load(self.file), self.clock, stop), name="planner"
        )
        try:
            yield task
        finally:
            stop.set()
            async with asyncio.timeout(30.0):
                await task

    async def status(self) -> planner_pb2.StatusResponse:
        answer: planner_pb2.StatusResponse = await self.stub.Status(
            planner_pb2.StatusRequest(), timeout=10.0
        )
        return answer

    async def stored(self) -> LedgerRecord:
        entry = await self.bus.kv_get(names.ledger_bucket("lake"), names.RECORD_KEY)
        assert entry is not None
        return codec.decode_record(planner_pb2.LedgerRecord.FromString(entry[0]))

    async def stored_term(self) -> int:
        return (await self.stored()).term

    async def store_term(self, term: int) -> None:
        """As another GlobalPlanner does."""
        record = dataclasses.replace(await self.stored(), term=term, owner="another")
        value = codec.encode_record(record).SerializeToString()
        await self.bus.kv_put(names.ledger_bucket("lake"), names.RECORD_KEY, value)

    async def report(self, pool_id: str, /, **changes: Any) -> Grant | None:
        self._sequence += 1
        acted = self.grants.get(pool_id)
        message = PoolReport(
            pool_id=PoolId(pool_id),
            sequence=self._sequence,
            acted_term=acted.term if acted else 0,
            acted_epoch=acted.epoch if acted else 0,
            acted_replicas=acted.replicas if acted else 0,
            state=PoolState(ready=acted.replicas if acted else 0, starting=0, terminating=0),
            capacity_rps={CHAT: CAPACITY_RPS.get(pool_id, 1.0)},
            capacity_rel_std=0.1,
            backlog_replica_s=0.0,
            telemetry_age_s=0.5,
        )
        request = codec.encode_report(message)
        for name, value in changes.items():
            setattr(request, name, value)
        answer = await self.stub.Report(request, timeout=10.0)
        return codec.decode_grant(answer.grant) if answer.HasField("grant") else None

    @property
    def replicas(self) -> dict[str, int]:
        return {name: grant.replicas for name, grant in self.grants.items()}

    @property
    def last_error(self) -> str:
        return (self.errors[-1].details() or "") if self.errors else ""

    async def _plan(self, pool_id: str) -> None:
        while True:
            try:
                grant = await self.report(pool_id)
            except grpc.aio.AioRpcError as error:
                self.errors.append(error)
            else:
                if grant is not None:
                    self.grants[pool_id] = grant
            await asyncio.sleep(0.05)

    async def _route(self) -> None:
        """A sample each model second or, where the machine is busy, a later one of more."""
        sequence, owed, at_s = 0, 0.0, self.clock.now_s() - 1.0
        while True:
            now_s = self.clock.now_s()
            window_s, at_s = now_s - at_s, now_s
            sequence += 1
            owed += self.rps * window_s
            arrivals, owed = int(owed), owed % 1.0
            traffic = ClassTraffic(name=CHAT, arrivals=arrivals, isl_tokens=100 * arrivals)
            sample = TrafficSample(
                router_id=RouterId("r"), sequence=sequence, window_s=window_s, classes=(traffic,)
            )
            message = codec.encode_traffic(sample).SerializeToString()
            self.bus.publish(names.traffic_subject("lake", "r"), message)
            await asyncio.sleep(1.0 / SPEED)

    def _on_plan(self, key: str, value: bytes | None) -> None:
        if value is not None:
            self.plans.append(codec.decode_plan(planner_pb2.RoutingPlan.FromString(value)))


@pytest.fixture
async def lake(tmp_path: Path, nats: Server) -> AsyncIterator[Lake]:
    neighbours = Lake(tmp_path, nats)
    await neighbours.open()
    yield neighbours
    await neighbours.close()


async def test_minimum_then_growth_with_the_load_then_back(lake: Lake) -> None:
    async with lake.running():
        await eventually(lambda: lake.replicas == {"prefill": 1, "decode": 1})
        lake.rps = 8.0
        await eventually(lambda: lake.replicas == {"prefill": 2, "decode": 1})
        await eventually(lambda: bool(lake.plans))
        assert lake.plans[-1].shares[CHAT][Stage.PREFILL] == {"prefill": 1.0}
        lake.rps = 0.5
        await eventually(lambda: lake.replicas == {"prefill": 1, "decode": 1}, 30.0)
        await asyncio.sleep(0.3)
        status = await lake.status()
        named = status.decisions[0].decision_id
        explained = await lake.stub.Explain(
            planner_pb2.ExplainRequest(decision_id=named), timeout=10.0
        )
        assert (explained.decision.id, explained.decision.term) == (named, status.term)
        changed = {p.pool_id for p in explained.decision.pools if p.after_replicas == 2}
        assert changed == {"prefill"}
    assert status.leading
    assert status.term == await lake.stored_term()
    assert (status.charged_gpus, status.peak_charged_gpus, status.budget_gpus) == (2, 3, 6)
    assert status.budget_violations == 0
    changes = [(d.pool_id, d.before_replicas, d.after_replicas) for d in status.decisions]
    assert changes == [("prefill", 1, 2), ("prefill", 2, 1)]
    assert all("rps needs" in d.reason for d in status.decisions)


async def test_a_restart_takes_the_next_term_and_changes_nothing(lake: Lake) -> None:
    lake.rps = 8.0
    async with lake.running():
        await eventually(lambda: lake.replicas == {"prefill": 2, "decode": 1})
        first = await lake.stored_term()
    before = len(lake.plans)
    async with lake.running():
        await eventually(lambda: {g.term for g in lake.grants.values()} == {first + 1})
        await asyncio.sleep(0.5)
        assert lake.replicas == {"prefill": 2, "decode": 1}
        await eventually(lambda: len(lake.plans) > before and lake.plans[-1].term == first + 1)
        status = await lake.status()
    assert not status.decisions
    assert status.budget_violations == 0


async def test_while_nats_is_away_it_holds_and_answers(lake: Lake) -> None:
    async with lake.running():
        lake.rps = 8.0
        await eventually(lambda: lake.replicas == {"prefill": 2, "decode": 1})
        lake.nats.kill()
        async with asyncio.timeout(30.0):
            while "NATS does not answer" not in (await lake.status()).holding:
                await asyncio.sleep(0.05)
        lake.errors.clear()
        await asyncio.sleep(2.5)
        assert not lake.errors
        assert lake.replicas == {"prefill": 2, "decode": 1}
        lake.rps = 13.0
        lake.nats.start()
        await eventually(lambda: lake.replicas == {"prefill": 3, "decode": 1}, 30.0)


async def test_a_store_that_has_lost_everything_makes_it_begin_a_later_term(
    lake: Lake, tmp_path: Path
) -> None:
    async with lake.running():
        lake.rps = 8.0
        await eventually(lambda: bool(lake.plans))
        first = await lake.stored_term()
        lake.nats.kill()
        lake.nats.store = tmp_path / "empty"
        lake.nats.start()
        lake.plans.clear()
        await eventually(lambda: bool(lake.plans), 30.0)
        later = await lake.stored_term()
        assert later > first
        await eventually(lambda: {g.term for g in lake.grants.values()} == {later})
        assert lake.plans[-1].term == later


async def test_without_nats_it_does_not_lead_until_it_is_there(lake: Lake) -> None:
    lake.nats.kill()
    async with lake.running():
        await eventually(lambda: "does not lead: no record" in lake.last_error)
        assert lake.errors[-1].code() is grpc.StatusCode.UNAVAILABLE
        lake.nats.start()
        await eventually(lambda: lake.replicas == {"prefill": 1, "decode": 1}, 30.0)


async def test_a_later_leader_ends_this_one(lake: Lake) -> None:
    async with lake.running():
        await eventually(lambda: bool(lake.grants))
        later = await lake.stored_term() + 9
        await lake.store_term(later)
        lake.errors.clear()
        await eventually(lambda: "another" in lake.last_error)
        assert not (await lake.status()).leading


async def test_a_pool_that_knows_a_later_term_makes_it_take_a_higher_one(lake: Lake) -> None:
    lake.grants["decode"] = Grant(
        pool_id=PoolId("decode"), term=10**14, epoch=1, replicas=1, valid_s=15.0
    )
    async with lake.running():
        await eventually(lambda: {g.term for g in lake.grants.values()} == {10**14 + 1})
        assert (await lake.status()).term == 10**14 + 1


async def health(lake: Lake, service: str) -> int:
    stub = health_pb2_grpc.HealthStub(lake.channel)  # type: ignore[no-untyped-call]
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10.0)
    return int(answer.status)


async def test_health_says_whether_it_leads(lake: Lake) -> None:
    serving = health_pb2.HealthCheckResponse.SERVING
    async with lake.running():
        await eventually(lambda: bool(lake.grants))
        assert await health(lake, "") == serving
        assert await health(lake, "weir.api.v1.GlobalPlanner") == serving
        await lake.store_term(await lake.stored_term() + 9)
        lake.errors.clear()
        await eventually(lambda: bool(lake.errors))
        assert await health(lake, "weir.api.v1.GlobalPlanner") != serving


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"pool_id": ""}, "INVALID_ARGUMENT", "pool_id"),
        ({"pool_id": "nobody"}, "NOT_FOUND", "nobody"),
        ({"sequence": -1}, "INVALID_ARGUMENT", "sequence"),
        ({"acted_replicas": -2}, "INVALID_ARGUMENT", "acted_replicas"),
        ({"backlog_replica_s": float("nan")}, "INVALID_ARGUMENT", "backlog_replica_s"),
        ({"start_up_s": float("inf")}, "INVALID_ARGUMENT", "start_up_s"),
        ({"capacity_rel_std": 1e30}, "INVALID_ARGUMENT", "capacity_rel_std"),
    ],
)
async def test_a_report_that_cannot_be_true_is_refused_with_the_reason(
    lake: Lake, changes: dict[str, Any], code: str, words: str
) -> None:
    async with lake.running():
        await eventually(lambda: lake.replicas == {"prefill": 1, "decode": 1})
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await lake.report("prefill", **changes)
        assert caught.value.code().name == code
        assert words in (caught.value.details() or "")
        assert lake.replicas == {"prefill": 1, "decode": 1}


async def test_rubbish_on_the_bus_is_counted_and_survived(lake: Lake) -> None:
    async with lake.running():
        lake.bus.publish(names.traffic_subject("lake", "r"), b"\xff\xff\xff")
        lake.rps = 8.0
        await eventually(lambda: lake.replicas == {"prefill": 2, "decode": 1})


async def test_a_taken_port_is_said_at_the_start(lake: Lake) -> None:
    with pytest.raises(OSError, match=r"cannot listen on 127\.0\.0\.1"):
        config = lake.config.model_copy(update={"listen": f"127.0.0.1:{lake.nats.port}"})
        await app.run(config, fleet.load(lake.file), lake.clock, Stop())


async def test_the_command_serves_readiness_and_metrics_and_ends_on_sigterm(lake: Lake) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "weir", "global-planner",
        "--fleet", str(lake.file), "--listen", lake.target, "--nats", lake.nats.url,
        "--speed", str(SPEED), "--clock-origin-s", str(lake.clock.origin_s),
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        async with asyncio.timeout(60.0):
            while not (
                match := re.search(rb"control=(http://\S+)", await process.stderr.readline())
            ):
                pass
        await eventually(lambda: lake.replicas == {"prefill": 1, "decode": 1}, 30.0)
        control = match[1].decode()
        shown = {
            "weir_globalplanner_leading 1.0",
            'weir_globalplanner_charged_gpus{pool="prefill"} 1.0',
            "weir_globalplanner_budget_violations_total 0.0",
        }
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{control}/livez") as answer:
                assert answer.status == 200
            async with session.get(f"{control}/readyz") as answer:
                assert answer.status == 200
            metrics: set[str] = set()
            async with asyncio.timeout(30.0):
                while not shown <= metrics:  # they are renewed once a second
                    async with session.get(f"{control}/metrics") as answer:
                        metrics = set((await answer.text()).splitlines())
                    await asyncio.sleep(0.1)
        os.kill(process.pid, signal.SIGTERM)
        async with asyncio.timeout(30.0):
            rest = (await process.stderr.read()).decode()
            assert await process.wait() == 0
        assert "Traceback" not in rest
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
