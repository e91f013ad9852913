"""From a report that lets go of a GPU to the grant that another pool gets for it.

A real `weir global-planner` with its record in a real NATS server, and pools that report once a
second, each over a stream of its own. They are in pairs, each pair with a node group of its own of
three GPUs: demand moves from one to the other and back, so the one that grows waits for a report
of the one that shrinks. Measured at the client: from the moment in which that report is sent until
the grant is there; the record is written in between. Only grants count that had been decided on
before (the planner's log says when), so no decision is waited for.
"""

import asyncio
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.nats_process import Server
from weir import codec
from weir.api.v1 import planner_pb2, planner_pb2_grpc
from weir.domain.ids import ClassName, PoolId, RouterId
from weir.domain.planning import ClassLoad, Grant, PoolReport, PoolState
from weir.domain.telemetry import ClassTraffic, TrafficSample
from weir.runtime import names, rpc
from weir.runtime.bus import Bus

__all__ = ["measure_report_to_grant"]

_CHAT = ClassName("chat")
_GPUS_OF_A_PAIR = 3
_CAPACITY_RPS = 2.0
_TURN_S = 10.0
_WARM_UP_S = 15.0
_CHANNELS = 8
_DECIDED = re.compile(rb"decided pool=(\S+)")


@dataclass(slots=True)
class _Pool:
    id: PoolId
    pair: int
    side: int
    held: int = 0
    grant: Grant | None = None
    outbox: asyncio.Queue[planner_pb2.ReportRequest] = field(default_factory=asyncio.Queue)


@dataclass(slots=True)
class _Figures:
    answers_ms: list[float] = field(default_factory=list)
    grants_ms: list[float] = field(default_factory=list)


class _Fleet:
    def __init__(self, pools: int, seed: int) -> None:
        self.pools = [
            _Pool(PoolId(f"pool-{i // 2}-{'ab'[i % 2]}"), i // 2, i % 2) for i in range(pools)
        ]
        rng = random.Random(seed)
        self.phase_s = [rng.uniform(0.0, _TURN_S) for _ in range(pools // 2)]
        self.figures = _Figures()
        self.measuring = False
        self._sequence = int(time.time() * 1000)
        self._let_go_at_s: dict[int, float] = {}
        self._decided_at_s: dict[str, float] = {}
        self._sent_at_s: dict[tuple[PoolId, int], float] = {}

    def document(self) -> str:
        pairs = range(len(self.pools) // 2)
        groups = "\n".join(
            f"    - {{name: group-{i}, gpuClass: H100, gpus: {_GPUS_OF_A_PAIR}}}" for i in pairs
        )
        pools = "\n".join(
            f"    - {{name: {p.id}, role: agg, model: model-{p.id}, nodeGroup: group-{p.pair}, "
            "max_replicas: 2, start_up_s: 1}"
            for p in self.pools
        )
        models = ", ".join(f"{{name: model-{p.id}}}" for p in self.pools)
        return f"""\
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {{name: pairs}}
spec:
  models: [{models}]
  classes: [{{name: chat, ttft_ms: 5000, itl_ms: 100}}]
  budget: {{gpus: {_GPUS_OF_A_PAIR * len(pairs)}}}
  nodeGroups:
{groups}
  pools:
{pools}
  planner: {{interval_s: 1.0, scale_down_dwell_s: 1.0}}
"""

    def load(self, pool: _Pool) -> float:
        """Two replicas' worth for one of the pair, and half a replica's for the other."""
        turn = int((time.monotonic() + self.phase_s[pool.pair]) / _TURN_S) % 2
        return 3.0 if pool.side == turn else 0.5

    async def reports(self, pool: _Pool) -> AsyncIterator[planner_pb2.ReportRequest]:
        """One a second, and at once when it has let go of a replica."""
        await asyncio.sleep(random.random())
        while True:
            yield self._report(pool)
            try:
                async with asyncio.timeout(1.0):
                    yield await pool.outbox.get()
            except TimeoutError:
                continue

    def take(self, pool: _Pool, answer: planner_pb2.ReportResponse) -> None:
        now_s = time.perf_counter()
        sent_at_s = self._sent_at_s.pop((pool.id, answer.newest_sequence), None)
        if sent_at_s is not None and self.measuring:
            self.figures.answers_ms.append((now_s - sent_at_s) * 1e3)
        if not answer.HasField("grant"):
            return
        grant = codec.decode_grant(answer.grant)
        if pool.grant is not None and grant.number <= pool.grant.number:
            return
        pool.grant = grant
        let_go_at_s = self._let_go_at_s.get(pool.pair)
        if grant.replicas > pool.held and let_go_at_s is not None:
            del self._let_go_at_s[pool.pair]
            decided_at_s = self._decided_at_s.get(pool.id, now_s)
            if self.measuring and decided_at_s < let_go_at_s:
                self.figures.grants_ms.append((now_s - let_go_at_s) * 1e3)
        let_go = grant.replicas < pool.held
        pool.held = grant.replicas
        if let_go:
            pool.outbox.put_nowait(self._report(pool))
            self._let_go_at_s[pool.pair] = time.perf_counter()

    def hear(self, line: bytes) -> None:
        """A line of the planner's log."""
        if found := _DECIDED.search(line):
            self._decided_at_s[found[1].decode()] = time.perf_counter()

    def _report(self, pool: _Pool) -> planner_pb2.ReportRequest:
        self._sequence += 1
        self._sent_at_s[pool.id, self._sequence] = time.perf_counter()
        grant, rate = pool.grant, self.load(pool)
        return codec.encode_report(
            PoolReport(
                pool_id=pool.id,
                sequence=self._sequence,
                acted_term=grant.term if grant else 0,
                acted_epoch=grant.epoch if grant else 0,
                acted_replicas=grant.replicas if grant else 0,
                state=PoolState(ready=pool.held, starting=0, terminating=0),
                capacity_rps={_CHAT: _CAPACITY_RPS},
                capacity_rel_std=0.0,
                load=(
                    ClassLoad(
                        name=_CHAT,
                        rate_rps=rate,
                        rate_high_rps=rate,
                        isl_tokens=100.0,
                        osl_tokens=100.0,
                    ),
                ),
                backlog_replica_s=0.0,
                telemetry_age_s=0.1,
            )
        )

    def traffic(self, sequence: int) -> bytes:
        arrivals = round(sum(self.load(pool) for pool in self.pools))
        traffic = ClassTraffic(name=_CHAT, arrivals=arrivals, isl_tokens=100 * arrivals)
        sample = TrafficSample(
            router_id=RouterId("r"), sequence=sequence, window_s=1.0, classes=(traffic,)
        )
        return codec.encode_traffic(sample).SerializeToString()


def measure_report_to_grant(pools: int = 256, *, seconds: float = 70.0) -> dict[str, float]:
    """p99 in milliseconds of grants and of answers, and the planner's CPU seconds per second."""
    return asyncio.run(_measure(_Fleet(pools, seed=1), seconds))


async def _measure(fleet: _Fleet, seconds: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        nats = Server(Path(folder) / "nats")
        nats.start()
        file = Path(folder) / "fleet.yaml"
        file.write_text(fleet.document())
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "weir", "global-planner", "--fleet", str(file)),
            *("--listen", "127.0.0.1:0", "--nats", nats.url),
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stderr is not None
            while not (found := re.search(rb"rpc_port=(\d+)", await process.stderr.readline())):
                pass
            drain = asyncio.create_task(_drain(fleet, process.stderr))
            cpu_s = await _drive(fleet, nats.url, int(found[1]), process.pid, seconds)
            os.kill(process.pid, signal.SIGTERM)
            await process.wait()
            await drain
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            nats.kill()
    return {
        "p99_ms": _quantile(fleet.figures.grants_ms, 0.99),
        "p50_ms": _quantile(fleet.figures.grants_ms, 0.50),
        "grants": len(fleet.figures.grants_ms),
        "answer_p99_ms": _quantile(fleet.figures.answers_ms, 0.99),
        "answers": len(fleet.figures.answers_ms),
        "planner_cores": round(cpu_s / seconds, 3),
    }


async def _drive(fleet: _Fleet, nats: str, port: int, pid: int, seconds: float) -> float:
    """CPU seconds that the planner used while it was measured."""
    bus = await Bus.connect(nats, name="bench")
    channels = [rpc.channel(f"127.0.0.1:{port}") for _ in range(_CHANNELS)]
    tasks = [
        asyncio.create_task(_pool(fleet, pool, channels[i % _CHANNELS]))
        for i, pool in enumerate(fleet.pools)
    ]
    tasks.append(asyncio.create_task(_route(fleet, bus)))
    await asyncio.sleep(_WARM_UP_S)
    fleet.measuring, before_s = True, _cpu_s(pid)
    await asyncio.sleep(seconds)
    used_s = _cpu_s(pid) - before_s
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for channel in channels:
        await channel.close()
    await bus.close()
    return used_s


async def _pool(fleet: _Fleet, pool: _Pool, channel: object) -> None:
    stub = planner_pb2_grpc.GlobalPlannerStub(channel)  # type: ignore[no-untyped-call]
    while True:
        try:
            async for answer in stub.ReportStream(fleet.reports(pool)):
                fleet.take(pool, answer)
        except Exception:
            await asyncio.sleep(0.5)


async def _route(fleet: _Fleet, bus: Bus) -> None:
    sequence = 0
    while True:
        sequence += 1
        bus.publish(names.traffic_subject("pairs", "r"), fleet.traffic(sequence))
        await asyncio.sleep(1.0)


async def _drain(fleet: _Fleet, stream: asyncio.StreamReader) -> None:
    while line := await stream.readline():
        fleet.hear(line)


def _cpu_s(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _quantile(values: list[float], share: float) -> float:
    return round(sorted(values)[round(share * (len(values) - 1))], 3) if values else float("nan")


if __name__ == "__main__":
    print(measure_report_to_grant(int(sys.argv[1]) if len(sys.argv) > 1 else 256))
