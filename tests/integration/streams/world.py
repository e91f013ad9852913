"""A router of a fleet, engines and clients, each as a process of its own."""

import asyncio
import json
import re
import subprocess
import sys
from asyncio.subprocess import Process as Child
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.integration.nats_process import Server
from tests.integration.router_process import Process, process
from tests.integration.streams.clients import MODEL, Tally
from weir import codec
from weir.domain.ids import PoolId, WorkerId
from weir.domain.planning import PoolMembers, WorkerEndpoint
from weir.runtime import names
from weir.runtime.bus import Bus

__all__ = ["PATIENCE_S", "Clients", "EngineProcess", "World", "outcomes", "world"]

PATIENCE_S = 120.0
"""For what takes seconds on a machine that is not kept busy by others."""
_POOL = "agg"
_FLEET = f"""
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {{name: streams}}
spec:
  models: [{{name: {MODEL}}}]
  classes: [{{name: all, ttft_ms: 60000, itl_ms: 5000}}]
  budget: {{gpus: 64}}
  profiles:
    engine:
      timing: {{kind: polynomial, prefill_s: [0, 1.0e-6], decode_s: [0.010]}}
      kv_tokens: 10000000
      max_sequences: 1024
      max_batched_tokens: 1000000
  pools:
    - {{name: {_POOL}, role: agg, model: {MODEL}, profile: engine, max_replicas: 64,
       context_limit_tokens: 65536}}
"""
_SAMPLE = re.compile(r"^(weir_router_\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_OUTCOMES = ("completed", "failed", "shed", "cancelled")


async def _child(module: str, *arguments: object) -> Child:
    command = (sys.executable, "-m", f"tests.integration.streams.{module}", *map(str, arguments))
    return await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


async def _ended(child: Child) -> None:
    if child.returncode is None:
        child.kill()
    await child.wait()


@dataclass
class EngineProcess:
    child: Child
    endpoint: WorkerEndpoint
    draining: bool = False

    async def kill(self) -> None:
        """SIGKILL."""
        await _ended(self.child)

    async def running(self) -> int:
        """Requests under way at it."""
        host, port = self.endpoint.host, self.endpoint.port
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET /running HTTP/1.1\r\nhost: t\r\n\r\n")
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = head.partition("content-length: ")[2].split("\r\n")[0]
            count = await reader.readexactly(int(length))
        writer.close()
        return int(count)


@dataclass
class Clients:
    child: Child

    async def stop(self) -> Tally:
        """Let them end what they have begun; what came of it all."""
        assert self.child.stdin is not None
        self.child.stdin.write(b"\n")
        return await self.tally(PATIENCE_S)

    async def tally(self, within_s: float) -> Tally:
        """What has come of it when they have no more to ask."""
        assert self.child.stdout is not None
        async with asyncio.timeout(within_s):
            text = await self.child.stdout.readline()
            await self.child.wait()
        return Tally(**json.loads(text))


@dataclass(frozen=True)
class Footing:
    """What of a router must come back to where it was when nothing is asked any more."""

    gauges: dict[str, float]
    fds: int


class World:
    """`engines` are those that the router is told of, most lately by `announce`."""

    def __init__(self, router: Process, bus: Bus, closing: AsyncExitStack) -> None:
        self.router = router
        self.engines: list[EngineProcess] = []
        self._bus = bus
        self._closing = closing
        self._process = psutil.Process(router.child.pid)
        self._version = 0
        self._started = 0

    async def start_engines(self, count: int) -> None:
        for _ in range(count):
            child = await _child("engine")
            self._closing.push_async_callback(_ended, child)
            assert child.stdout is not None
            port = int(await asyncio.wait_for(child.stdout.readline(), PATIENCE_S))
            self._started += 1
            name = WorkerId(f"engine-{self._started}")
            endpoint = WorkerEndpoint(id=name, host="127.0.0.1", port=port)
            self.engines.append(EngineProcess(child, endpoint))

    async def announce(self) -> None:
        """Tell the router of its engines, as planners do."""
        self._version += 1
        workers = tuple(
            WorkerEndpoint(
                id=e.endpoint.id, host="127.0.0.1", port=e.endpoint.port, draining=e.draining
            )
            for e in self.engines
        )
        members = PoolMembers(pool_id=PoolId(_POOL), version=self._version, workers=workers)
        value = codec.encode_members(members).SerializeToString()
        await self._bus.kv_put(names.members_bucket("streams"), _POOL, value)

    async def start_clients(self, clients: int, seed: int, requests: int | None = None) -> Clients:
        more = () if requests is None else ("--requests", requests)
        child = await _child("clients", self.router.public.port, clients, seed, *more)
        self._closing.push_async_callback(_ended, child)
        return Clients(child)

    async def metrics(self) -> dict[str, float]:
        """Samples by name, with labels as they are written; those of one class without it."""
        text = (await self.router.get("/metrics", control=True)).body.decode()
        found = {}
        for name, labels, value in _SAMPLE.findall(text):
            kept = ",".join(each for each in labels.split(",") if not each.startswith("class="))
            found[f"{name}{{{kept}}}" if kept else name] = float(value)
        return found

    async def until(self, true: Any, what: str) -> dict[str, float]:
        """The first metrics of which `true` holds."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not true(metrics := await self.metrics()):
                    await asyncio.sleep(0.25)
        except TimeoutError:
            raise AssertionError(f"{what}: {metrics}") from None
        return metrics

    async def footing(self) -> Footing:
        metrics = await self.metrics()
        names = ("connections", "running", "queued", "in_flight", "pool_in_flight")
        names += ("pool_queued_tokens", "pool_kv_tokens")
        gauges = {
            key: value
            for key, value in metrics.items()
            if key.partition("{")[0].removeprefix("weir_router_") in names
        }
        return Footing(gauges, self._process.num_fds())

    async def regained(self, footing: Footing) -> None:
        """Returns when the router stands as it did then."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (now := await self.footing()) != footing:
                    await asyncio.sleep(0.25)
        except TimeoutError:
            raise AssertionError(f"{now} is not {footing}") from None

    def rss_bytes(self) -> int:
        return int(self._process.memory_info().rss)

    def peak_rss_bytes(self) -> int:
        """Of all its life, its start included."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
        assert found is not None
        return 1024 * int(found[1])


@asynccontextmanager
async def world(nats: Server, folder: Path) -> AsyncIterator[World]:
    """A router with members from NATS and nothing else set; no engines yet."""
    fleet = folder / "fleet.yaml"
    fleet.write_text(_FLEET)
    async with AsyncExitStack() as closing:
        bus = await Bus.connect(nats.url, name="test")
        closing.push_async_callback(bus.close)
        router = await closing.enter_async_context(
            process("--fleet", str(fleet), "--nats", nats.url)
        )
        yield World(router, bus, closing)


def outcomes(metrics: dict[str, float]) -> dict[str, int]:
    """Of all requests that ended at the router."""
    name = "weir_router_requests_total"
    return {how: int(metrics.get(f'{name}{{outcome="{how}"}}', 0.0)) for how in _OUTCOMES}
