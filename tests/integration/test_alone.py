"""A pool planner that runs alone, as a process: engines, a router, NATS, and no GlobalPlanner."""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from poolplanner.config import PoolPlannerConfig
from router.adapters.recent import RecentTraffic
from router.adapters.rpc import RouteServicer, register
from tests.integration.nats_process import Server, eventually
from tests.integration.planner_neighbours import READY, FakeActuator
from weir import alone, fleet
from weir.api.v1 import pool_pb2_grpc
from weir.domain.errors import FleetError
from weir.domain.ids import ClassName, ModelName, PoolId, RouterId
from weir.domain.telemetry import ClassTraffic, PoolTraffic, TrafficSample
from weir.local.actuator import ActuatorServicer
from weir.local.commands import Addresses, Commands, write_profiles
from weir.local.engines import Engines
from weir.local.ports import HOST, Ports
from weir.local.probe import HttpProbe
from weir.local.replay import Replay
from weir.local.scoring import Outcome
from weir.local.supervisor import Child
from weir.runtime import rpc
from weir.runtime.clock import Clock
from weir.runtime.lifecycle import Stop
from weir.workload import TraceRequest

SPEED = 5.0
WEIR = (sys.executable, "-P", "-m", "weir", "pool-planner")
FLEET = """\
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {name: pond}
spec:
  models: [{name: m}]
  classes: [{name: small, ttft_ms: 4000, itl_ms: 400}]
  budget: {gpus: 2}
  profiles: {slow: {speed: 0.1}}
  pools:
    - {name: first, role: prefill, model: m, profile: slow, start_up_s: 5}
    - {name: second, role: decode, model: m, profile: slow, start_up_s: 5}
  planner: {scale_down_dwell_s: 600}
"""
"""A replica reads two prompts of 2000 tokens in a second."""


@dataclass
class Pond:
    """A fleet on this machine without its planners."""

    file: Path
    engines: Engines
    addresses: Addresses
    clock: Clock
    nats: str

    def held(self) -> dict[str, int]:
        pools = self.engines.fleet.pools
        return {pool.id: self.engines.table.state(pool.id).held for pool in pools}

    def ready(self) -> dict[str, int]:
        pools = self.engines.fleet.pools
        return {pool.id: self.engines.table.state(pool.id).ready for pool in pools}

    @asynccontextmanager
    async def planner(self, *arguments: str, of: tuple[str, ...] = ()) -> AsyncIterator["Planner"]:
        command = [
            *(*WEIR, *(of or ("--fleet", str(self.file))), "--nats", self.nats),
            *("--actuator", f"{HOST}:{self.addresses.actuator}"),
            *("--speed", str(SPEED), "--clock-origin-s", str(self.clock.origin_s)),
            *arguments,
        ]
        child = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
        planner = Planner(child)
        try:
            await planner.begun()
            yield planner
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()


class Planner:
    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self.child = child
        self.lines: list[str] = []
        self._reading = asyncio.create_task(self._read())

    async def begun(self) -> None:
        await eventually(lambda: self._control() is not None or self._reading.done(), 60.0)
        assert self._control(), self.lines

    async def get(self, path: str) -> tuple[int, str]:
        url = f"{self._control()}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status, await response.text()

    async def until_ready(self) -> None:
        async with asyncio.timeout(60.0):
            while (await self.get("/readyz"))[0] != 200:
                await asyncio.sleep(0.1)

    async def stop(self) -> int:
        self.child.terminate()
        async with asyncio.timeout(30.0):
            return await self.child.wait()

    def _control(self) -> str | None:
        found = re.search(r"control (http://\S+)", "".join(self.lines))
        return found[1] if found else None

    async def _read(self) -> None:
        assert self.child.stderr is not None
        async for line in self.child.stderr:
            self.lines.append(line.decode())


@pytest.fixture
async def pond(tmp_path: Path, nats: Server) -> AsyncIterator[Pond]:
    file = tmp_path / "fleet.yaml"
    file.write_text(FLEET)
    # The machine has more GPUs than the planner's budget.
    loaded = fleet.load(file, ["spec.budget.gpus=20"])
    clock = Clock(speed=SPEED, origin_s=time.monotonic())
    ports = Ports()
    profiles = tmp_path / "profiles"
    write_profiles(loaded.fleet.pools, profiles)
    logs = tmp_path / "logs"
    logs.mkdir()
    commands: list[Commands] = []
    engines = Engines(
        fleet=loaded.fleet,
        clock=clock,
        ports=ports,
        logs=logs,
        command=lambda replica: commands[0].engine(replica),
        probe=HttpProbe(),
    )

    def serve(server: Any) -> None:
        pool_pb2_grpc.add_LocalActuatorServicer_to_server(ActuatorServicer(engines), server)  # type: ignore[no-untyped-call]

    async with AsyncExitStack() as stack:
        actuator = await rpc.serve(f"{HOST}:0", serve)
        stack.push_async_callback(actuator.close, 0.0)
        addresses = Addresses(
            public=ports.take(),
            nats=nats.port,
            actuator=actuator.port,
            global_planner=ports.take(),
            control={"router": ports.take()},
        )
        commands.append(
            Commands(
                fleet=loaded.fleet,
                fleet_arguments=["--fleet", str(file)],
                addresses=addresses,
                clock=clock,
                profiles=profiles,
            )
        )
        router = await asyncio.create_subprocess_exec(
            *commands[0].router(), stderr=subprocess.DEVNULL
        )
        stack.push_async_callback(router.wait)
        stack.callback(router.kill)
        try:
            yield Pond(file, engines, addresses, clock, nats.url)
        finally:
            engines.close()
            await _end(list(engines.children()))


async def _end(children: list[Child]) -> None:
    for child in children:
        child.kill()
    await asyncio.gather(*(child.gone_within(5.0) for child in children))


async def test_a_pair_of_pools_scales_on_load_and_keeps_its_replicas_over_a_restart(
    pond: Pond,
) -> None:
    arguments = ("--pool", "first", "--pool", "second", "--alone", "--budget", "5")
    stop = Stop()
    async with pond.planner(*arguments) as planner:
        await eventually(lambda: pond.ready() == {"first": 1, "second": 1}, 60.0)
        # 3 requests/s: two prefill replicas would do without head room.
        requests = [
            TraceRequest(timestamp_s=n / 3.0, isl_tokens=2000, osl_tokens=20) for n in range(1000)
        ]
        replay = Replay(
            host=HOST,
            port=pond.addresses.public,
            model=ModelName("m"),
            requests=requests,
            clock=pond.clock,
            seed=1,
        )
        load = asyncio.create_task(replay.run(stop, for_s=1e6, drain_s=1.0))
        await eventually(lambda: pond.ready()["first"] >= 2, 60.0)
        _, metrics = await planner.get("/metrics")
        assert 'weir_poolplanner_granted_replicas{pool="first"}' in metrics
        assert "weir_globalplanner_budget_gpus 5.0" in metrics
        assert metrics.count("# TYPE weir_poolplanner_granted_replicas") == 1
        assert sum(pond.held().values()) <= 5
        assert await planner.stop() == 0
    held = pond.held()
    assert held["first"] >= 2
    async with pond.planner(*arguments) as planner:
        await planner.until_ready()
        assert pond.held()["first"] >= held["first"]
        assert sum(pond.held().values()) <= 5
        assert await planner.stop() == 0
    stop.set()
    await load
    assert replay.progress.outcomes[Outcome.COMPLETED] > 50, replay.progress


SMALL = """\
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {name: pond}
spec:
  models: [{name: m}]
  classes: [{name: small, ttft_ms: 4000, itl_ms: 400}]
  budget: {gpus: 40}
  profiles: {slow: {speed: 0.1}}
  pools:
    - {name: first, role: prefill, model: m, profile: slow, start_up_s: 1, floor_replicas: 10}
    - {name: mine, role: decode, model: m, profile: slow, start_up_s: 1, gpus_per_replica: 2}
    - {name: theirs, role: decode, model: m, profile: slow, start_up_s: 1, floor_replicas: 10}
  planner: {interval_s: 0.5, telemetry: {source: grpc, engines: scrape, routers: [ROUTER]}}
"""


def _sample(sequence: int, arrivals: int) -> TrafficSample:
    """As a router counts that sends every other request to `mine`."""
    small = ClassTraffic(
        name=ClassName("small"),
        arrivals=arrivals,
        isl_tokens=2000 * arrivals,
        completed=arrivals,
        osl_tokens=200 * arrivals,
    )
    halves = (PoolTraffic(pool_id=PoolId(p), arrivals=arrivals // 2) for p in ("mine", "theirs"))
    return TrafficSample(
        router_id=RouterId("r"),
        sequence=sequence,
        window_s=1.0,
        classes=(small,),
        pools=(PoolTraffic(pool_id=PoolId("first"), arrivals=arrivals), *halves),
    )


@asynccontextmanager
async def _router(arrivals: int) -> AsyncIterator[str]:
    """Where one answers who asks for its traffic."""
    recent = RecentTraffic([])

    def never(*_: object) -> None:
        raise AssertionError

    async def count() -> None:
        for sequence in range(1, 10_000):
            recent.publish(_sample(sequence, arrivals))
            await asyncio.sleep(1.0)

    servicer = RouteServicer(never, recent)  # type: ignore[arg-type]
    server = await rpc.serve(f"{HOST}:0", lambda server: register(server, servicer))
    counting = asyncio.create_task(count())
    yield f"{HOST}:{server.port}"
    counting.cancel()
    await server.close(0.0)


async def test_one_pool_scales_for_its_share_without_nats(tmp_path: Path) -> None:
    actuator, stop = FakeActuator(), Stop()
    server = await rpc.serve(
        f"{HOST}:0",
        lambda server: pool_pb2_grpc.add_LocalActuatorServicer_to_server(actuator, server),
    )
    async with _router(arrivals=8) as router:
        file = tmp_path / "fleet.yaml"
        file.write_text(SMALL.replace("ROUTER", router))
        config = PoolPlannerConfig(pools=("mine",), actuator=f"{HOST}:{server.port}", settle_s=0.1)
        loaded = fleet.load(file)
        clock = Clock(origin_s=time.monotonic())
        work = asyncio.create_task(
            alone.run(config, alone.Alone(budget_gpus=20), loaded, clock, stop)
        )
        await eventually(lambda: len(actuator.states) == 1)
        actuator.become(READY)
        # 4 requests/s of 200 tokens; of all 8 it would be twice as many.
        await eventually(lambda: len(actuator.states) >= 3, 30.0)
        await asyncio.sleep(3.0)
        assert len(actuator.states) in (3, 4)
        stop.set()
        async with asyncio.timeout(30.0):
            await work
    await server.close(0.0)


async def test_an_advisor_says_what_it_would_do_and_starts_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "weir.alone")
    actuator, stop = FakeActuator(), Stop()
    server = await rpc.serve(
        f"{HOST}:0",
        lambda server: pool_pb2_grpc.add_LocalActuatorServicer_to_server(actuator, server),
    )
    async with _router(arrivals=8) as router:
        file = tmp_path / "fleet.yaml"
        file.write_text(SMALL.replace("ROUTER", router))
        address = f"{HOST}:{server.port}"
        config = PoolPlannerConfig(pools=("mine",), actuator=address, advisory=True)
        clock = Clock(origin_s=time.monotonic())
        work = asyncio.create_task(alone.run(config, alone.Alone(), fleet.load(file), clock, stop))
        await eventually(lambda: "advised pool=mine replicas=3" in caplog.text, 30.0)
        assert actuator.states == {}
        stop.set()
        async with asyncio.timeout(30.0):
            await work
    await server.close(0.0)


@pytest.mark.parametrize(
    ("pools", "budget_gpus", "problem"),
    [
        (("nope",), 20, "no pool nope"),
        (("first",), 4, "floors need 10 GPUs.*--budget"),
        (("mine",), 20, "source is nats, which needs --nats"),
    ],
)
async def test_what_cannot_be_planned_alone_is_refused(
    tmp_path: Path, pools: tuple[str, ...], budget_gpus: int, problem: str
) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(SMALL.replace("ROUTER", f"{HOST}:1"))
    config = PoolPlannerConfig(pools=pools, actuator=f"{HOST}:1")
    loaded = fleet.load(file, ["spec.planner.telemetry={source: nats}"])
    with pytest.raises(FleetError, match=problem):
        await alone.run(config, alone.Alone(budget_gpus=budget_gpus), loaded, Clock(), Stop())


async def test_a_dynamo_planners_file_is_planned_by(pond: Pond, tmp_path: Path) -> None:
    file = tmp_path / "planner.yaml"
    file.write_text(
        "namespace: pond\noptimization_target: sla\nttft_ms: 4000\nitl_ms: 400\n"
        "load_predictor: kalman\nkalman_r: 5\nload_adjustment_interval_seconds: 2\n"
        "max_gpu_budget: 5\ndecode_min_endpoint: 2\n"
    )
    sets = ("--model", "m", "--set", "spec.planner.telemetry={source: nats}")
    pools = ("--pool", "first", "--pool", "second")
    async with pond.planner(*pools, *sets, of=("--dynamo-config", str(file))) as planner:
        await eventually(lambda: pond.ready() == {"first": 1, "second": 2}, 60.0)
        assert sum("kalman_r: the noise" in line for line in planner.lines) == 1
        assert "weir_globalplanner_budget_gpus 5.0" in (await planner.get("/metrics"))[1]
        assert await planner.stop() == 0


async def test_a_second_process_stands_by_and_takes_over(pond: Pond) -> None:
    arguments = ("--pool", "first", "--pool", "second", "--alone", "--budget", "5")
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(pond.planner(*arguments))
        await one.until_ready()
        other = await stack.enter_async_context(pond.planner(*arguments))
        await eventually(lambda: pond.ready() == {"first": 1, "second": 1}, 60.0)
        async with asyncio.timeout(30.0):
            while "stands by" not in (answer := await other.get("/readyz"))[1]:
                await asyncio.sleep(0.1)
        assert answer[0] == 503
        assert not any("start replica" in line for line in other.lines)
        one.child.kill()
        await other.until_ready()
        assert pond.held() == {"first": 1, "second": 1}
        assert await other.stop() == 0
