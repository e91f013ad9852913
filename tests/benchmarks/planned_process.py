"""What a process that plans many pools takes: CPU seconds per second, and memory.

A real `weir pool-planner` for all pools, one round a second each, with a real NATS server and a
real `weir global-planner`. This process is the routers and engines, which publish once a second,
and the actuator that lists the replicas.

    python -m tests.benchmarks.planned_process [POOLS [ENGINES]]
"""

import asyncio
import json
import os
import re
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc

from tests.benchmarks.planned import FLEET, World, roles_of
from tests.integration.nats_process import Server
from weir import codec
from weir.api.v1 import pool_pb2, pool_pb2_grpc
from weir.cli import main as weir
from weir.runtime import names
from weir.runtime.bus import Bus

__all__ = ["measure_process"]

_WARM_UP_S = 320.0
"""Until what is remembered has been filled."""
_SECONDS = 40.0
_AT_ONCE = 256
"""Messages between two breaths; a bus holds 1024."""
_HEAVY = ("numpy", "scipy", "pandas", "statsforecast", "numba", "prophet", "cmdstanpy", "sklearn")


@dataclass(frozen=True, slots=True)
class _Replicas(pool_pb2_grpc.LocalActuatorServicer):
    world: World

    async def ListReplicas(
        self, request: pool_pb2.ListReplicasRequest, context: Any
    ) -> pool_pb2.ListReplicasResponse:
        pool = next(pool for pool in self.world.pools if pool.id == request.pool_id)
        return pool_pb2.ListReplicasResponse(
            replicas=[
                pool_pb2.Replica(
                    id=worker,
                    pool_id=pool.id,
                    host="127.0.0.1",
                    port=9000,
                    state=pool_pb2.REPLICA_STATE_READY,
                    in_flight=10,
                )
                for worker in pool.workers
            ]
        )


def measure_process(
    pools: int = 64, *, engines: int = 8, seconds: float = _SECONDS
) -> dict[str, Any]:
    """`cores`: CPU seconds per second; `rss_mib`; heavy `modules` that it has imported."""
    return asyncio.run(_measure(World(roles_of(pools), engines), seconds))


async def _measure(world: World, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        nats = Server(Path(folder) / "nats")
        nats.start()
        file = Path(folder) / "fleet.yaml"
        file.write_text(world.document())
        server = grpc.aio.server()
        pool_pb2_grpc.add_LocalActuatorServicer_to_server(  # type: ignore[no-untyped-call]
            _Replicas(world), server
        )
        actuator = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        shared = ("--fleet", str(file), "--nats", nats.url)
        processes = []
        try:
            log = Path(folder) / "global-planner.log"
            processes.append(
                await _start(log, "global-planner", *shared, "--listen", "127.0.0.1:0")
            )
            port = await _find(log, r"rpc_port=(\d+)")
            log = Path(folder) / "pool-planner.log"
            planner = await _start(
                log,
                "pool-planner",
                *shared,
                *("--global-planner", f"127.0.0.1:{port}", "--actuator", f"127.0.0.1:{actuator}"),
                *(word for pool in world.pools for word in ("--pool", pool.id)),
            )
            processes.append(planner)
            control = await _find(log, r"control http://127.0.0.1:(\d+)")
            return await _observed(world, nats.url, planner, control, seconds)
        finally:
            for process in processes:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            await server.stop(None)
            nats.kill()


async def _start(log: Path, *arguments: str) -> asyncio.subprocess.Process:
    with log.open("wb") as stderr:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.benchmarks.planned_process", "weir", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
        )


async def _find(log: Path, pattern: str) -> int:
    try:
        async with asyncio.timeout(30.0):
            while not (found := re.search(pattern, log.read_text())):
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise TimeoutError(f"no {pattern!r} in:\n{log.read_text()}") from None
    return int(found[1])


async def _observed(
    world: World, nats: str, planner: asyncio.subprocess.Process, control: int, seconds: float
) -> dict[str, Any]:
    bus = await Bus.connect(nats, name="bench")
    publishing = asyncio.create_task(_publish(world, bus))
    await asyncio.sleep(_WARM_UP_S)
    rounds, before_s, began_s = await _rounds(control), _cpu_s(planner.pid), time.monotonic()
    await asyncio.sleep(seconds)
    took_s = time.monotonic() - began_s
    cores = (_cpu_s(planner.pid) - before_s) / took_s
    rate = (await _rounds(control) - rounds) / took_s
    rss_mib = _rss_mib(planner.pid)
    if bus.dropped:
        raise RuntimeError(f"{bus.dropped} samples were not published")
    publishing.cancel()
    await asyncio.gather(publishing, return_exceptions=True)
    await bus.close()
    os.kill(planner.pid, signal.SIGTERM)
    assert planner.stdout is not None
    told = json.loads((await planner.stdout.read()).splitlines()[-1])
    return {
        "cores": round(cores, 3),
        "rss_mib": round(rss_mib, 1),
        "rounds_per_s": round(rate, 1),
        **told,
    }


async def _rounds(control: int) -> float:
    """All pools' rounds so far, after each of them knows its load."""
    url = f"http://127.0.0.1:{control}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        text = await answer.text()
    loads = re.findall(r"^weir_poolplanner_forecast_rate_rps\{.*\} (\S+)$", text, re.MULTILINE)
    if not loads or "NaN" in loads:
        raise RuntimeError("a pool does not see its load")
    found = re.findall(r"^weir_poolplanner_ticks_total\{.*\} (\S+)$", text, re.MULTILINE)
    return sum(map(float, found))


async def _publish(world: World, bus: Bus) -> None:
    """What happens in each second, when it is over."""
    number, next_s = 0, time.monotonic()
    while True:
        number += 1
        traffic, passes = world.second(number)
        for sample in traffic:
            data = codec.encode_traffic(sample).SerializeToString()
            bus.publish(names.traffic_subject(FLEET, sample.router_id), data)
        for sent, passed in enumerate(passes):
            data = codec.encode_forward_pass(passed).SerializeToString()
            bus.publish(names.fpm_subject(FLEET, passed.pool_id, passed.worker_id), data)
            if sent % _AT_ONCE == 0:
                await asyncio.sleep(0.01)
        next_s += 1.0
        await asyncio.sleep(max(0.0, next_s - time.monotonic()))


def _cpu_s(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _rss_mib(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024.0


def _weir(arguments: list[str]) -> None:
    """A process under observation: at its end it tells which heavy modules it has imported."""
    try:
        weir(arguments)
    finally:
        print(json.dumps({"modules": [name for name in _HEAVY if name in sys.modules]}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["weir"]:
        _weir(sys.argv[2:])
    else:
        sizes = [int(word) for word in sys.argv[1:]]
        engines = {"engines": sizes[1]} if len(sizes) > 1 else {}
        print(measure_process(*sizes[:1], **engines))
