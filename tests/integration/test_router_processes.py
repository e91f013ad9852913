"""`weir router --workers N`: several processes that are one router to everybody else."""

import asyncio
import re
import signal
import subprocess
from collections.abc import Callable

import grpc
import psutil
import pytest

from tests.integration.frontend.world import CHAT, STREAM, Client, Engine, answers, engine, whole
from tests.integration.nats_process import Server
from tests.integration.ports import free_port
from tests.integration.router_process import WEIR, Process, held_stream, process, workers
from weir import codec
from weir.api.v1 import router_pb2, router_pb2_grpc, telemetry_pb2
from weir.domain.ids import PoolId
from weir.domain.planning import PoolMembers
from weir.domain.telemetry import TrafficSample
from weir.runtime import names
from weir.runtime.bus import Bus

pytestmark = pytest.mark.timeout(400)
_DEADLINE_S = 150.0
SAMPLE = re.compile(r"^(\w+)(\{[^}]*\})? (\S+)$", re.MULTILINE)
WHOLE = answers(whole(b'{"choices":[]}'))


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(_DEADLINE_S):
        while not true():
            await asyncio.sleep(0.05)


async def metrics(weir: Process, *, control: bool = True) -> dict[str, float]:
    reply = await weir.get("/metrics", control=control)
    assert reply.status == 200
    return {
        name + (labels or ""): float(value)
        for name, labels, value in SAMPLE.findall(reply.body.decode())
    }


async def metrics_show(
    weir: Process, *, control: bool = True, **expected: float
) -> dict[str, float]:
    """The metrics once these (`weir_router_` left out) are as expected."""
    async with asyncio.timeout(_DEADLINE_S):
        while True:
            found = await metrics(weir, control=control)
            if all(found.get(f"weir_router_{name}") == value for name, value in expected.items()):
                return found
            await asyncio.sleep(0.05)


async def all_ready(weir: Process) -> None:
    async with asyncio.timeout(_DEADLINE_S):
        while (await weir.get("/readyz", control=True)).status != 200:
            await asyncio.sleep(0.05)


def _children(weir: Process) -> list[psutil.Process]:
    return psutil.Process(weir.child.pid).children()


def _at_engine(child: psutil.Process, at: Engine) -> int:
    """Connections that it has to the engine."""
    return sum(
        bool(c.raddr) and c.raddr.port == at.worker.port for c in child.net_connections("tcp")
    )


async def _streams_on_all(weir: Process, at: Engine) -> list[Client]:
    """Streams that have begun, at least one through each process."""
    clients: list[Client] = []
    async with asyncio.timeout(_DEADLINE_S):
        while not all(_at_engine(child, at) for child in _children(weir)):
            client = await weir.connect()
            client.send(STREAM)
            assert (await client.head()).status == 200
            clients.append(client)
    return clients


async def _to_the_end(client: Client) -> bytes:
    """Of a response or, if that does not come, of the connection."""
    try:
        async with asyncio.timeout(_DEADLINE_S):
            return await client.chunks()
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


def ended(found: dict[str, float]) -> dict[str, float]:
    outcomes = ("completed", "failed", "shed", "cancelled")
    name = 'weir_router_requests_total{{class="default",outcome="{}"}}'
    return {outcome: found[name.format(outcome)] for outcome in outcomes}


async def test_all_processes_serve_and_are_counted_as_one() -> None:
    async with (
        engine(WHOLE) as one,
        process("--model", "m", "--workers", "2", *workers(one)) as weir,
    ):
        await all_ready(weir)
        replies = [await weir.post(CHAT) for _ in range(40)]
        assert {reply.status for reply in replies} == {200}
        assert all(_at_engine(child, one) for child in _children(weir))
        for control in (True, False):
            arrivals = {'arrivals_total{class="default"}': 40.0}
            found = await metrics_show(weir, control=control, **arrivals)
            assert ended(found)["completed"] == 40.0
            assert found['weir_router_duration_seconds_count{class="default"}'] == 40.0
            assert found["weir_router_processes"] == 2.0
            assert found['weir_router_pool_workers{pool="default",state="ready"}'] == 1.0


async def test_a_process_that_dies_is_started_again_and_what_it_counted_stays() -> None:
    go_on = asyncio.Event()
    async with (
        engine(held_stream(go_on)) as one,
        process("--model", "m", "--workers", "2", *workers(one)) as weir,
    ):
        await all_ready(weir)
        clients = await _streams_on_all(weir, one)
        open_before = float(len(clients))
        in_flight = 'in_flight{class="default"}'
        await metrics_show(weir, **{in_flight: open_before})
        victim = _children(weir)[0]
        broken = _at_engine(victim, one)
        victim.kill()
        after = await metrics_show(weir, process_restarts_total=1.0, processes=2.0)
        assert after[f"weir_router_{in_flight}"] == open_before - broken
        assert after['weir_router_arrivals_total{class="default"}'] == open_before
        assert ended(after) == {"completed": 0, "failed": broken, "shed": 0, "cancelled": 0}
        go_on.set()
        ends = await asyncio.gather(*(_to_the_end(client) for client in clients))
        assert sum(end.count(b"[DONE]") for end in ends) == open_before - broken
        replies = [await weir.post(STREAM) for _ in range(10)]
        assert {reply.status for reply in replies} == {200}


async def test_no_new_connection_is_lost_to_a_process_that_dies() -> None:
    async with (
        engine(WHOLE) as one,
        process("--model", "m", "--workers", "2", *workers(one)) as weir,
    ):
        await all_ready(weir)
        for child in _children(weir):
            child.kill()
        replies = await asyncio.gather(*(weir.post(CHAT) for _ in range(20)))
        assert {reply.status for reply in replies} <= {200}
        await metrics_show(weir, process_restarts_total=2.0)


async def test_sigterm_lets_the_streams_of_all_processes_end_and_exits_0() -> None:
    go_on = asyncio.Event()
    async with (
        engine(held_stream(go_on)) as one,
        process("--model", "m", "--workers", "2", *workers(one)) as weir,
    ):
        await all_ready(weir)
        clients = await _streams_on_all(weir, one)
        children = _children(weir)
        weir.child.send_signal(signal.SIGTERM)
        async with asyncio.timeout(_DEADLINE_S):
            while (await weir.get("/readyz", control=True)).status != 503:
                await asyncio.sleep(0.02)
        go_on.set()
        for client in clients:
            assert (await client.chunks()).count(b"choices") == 200
        assert await weir.exit_code() == 0
        assert not any(child.is_running() for child in children)


async def test_processes_end_when_nobody_answers_for_them_any_more() -> None:
    async with (
        engine(WHOLE) as one,
        process("--model", "m", "--workers", "2", *workers(one)) as weir,
    ):
        children = _children(weir)
        weir.child.kill()
        await weir.exit_code()
        await _until(lambda: not any(child.is_running() for child in children))


async def test_room_at_engines_is_shared_by_all_processes() -> None:
    # The engine runs 4 sequences. By themselves two processes would send it 8.
    go_on = asyncio.Event()
    of_fleet = ("--fleet", "examples/fleets/agg.yaml", "--set")
    arguments = (*of_fleet, "spec.profiles.agg.max_sequences=4", "--workers", "2")
    async with engine(held_stream(go_on)) as one:
        at = ("--worker", f"agg=http://127.0.0.1:{one.worker.port}")
        async with process(*arguments, *at) as weir:
            await all_ready(weir)
            in_flight, queued = 'in_flight{class="all"}', 'queued{class="all"}'
            clients = []
            for _ in range(4):
                clients.append(await weir.connect())
                clients[-1].send(STREAM | {"model": "demo-model"})
                await clients[-1].head()
            await asyncio.sleep(2.0)  # far longer than it takes to tell each other
            for _ in range(12):
                clients.append(await weir.connect())
                clients[-1].send(STREAM | {"model": "demo-model"})
            await metrics_show(weir, **{in_flight: 4.0, queued: 12.0})
            go_on.set()
            await asyncio.gather(*(client.head() for client in clients[4:]))
            replies = await asyncio.gather(*(_to_the_end(client) for client in clients))
            assert all(reply.count(b"choices") >= 199 for reply in replies)
            await metrics_show(weir, **{in_flight: 0.0, queued: 0.0})


async def test_planners_see_one_router_over_grpc() -> None:
    grpc_address = f"127.0.0.1:{free_port()}"
    async with (
        engine(WHOLE) as one,
        process(
            *("--model", "m", "--workers", "2", "--grpc", grpc_address, "--id", "front"),
            *workers(one),
        ) as weir,
        grpc.aio.insecure_channel(grpc_address) as channel,
    ):
        await all_ready(weir)
        for _ in range(20):
            await weir.post(CHAT)
        stub = router_pb2_grpc.RouterStub(channel)  # type: ignore[no-untyped-call]
        arrivals, known = 0, 0
        async with asyncio.timeout(_DEADLINE_S):
            while arrivals < 20:
                answer = await stub.Traffic(router_pb2.TrafficRequest(after_sequence=known))
                for sample in answer.samples:
                    assert sample.router_id == "front"
                    assert sample.sequence > known
                    known = sample.sequence
                    arrivals += sum(traffic.arrivals for traffic in sample.classes)
                await asyncio.sleep(0.05)
        assert arrivals == 20
        route = await stub.Route(router_pb2.RouteRequest(model="m", isl_tokens=10))
        assert route.decode.worker_id == f"127.0.0.1:{one.worker.port}"
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Route(router_pb2.RouteRequest(model="m", isl_tokens=0))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def outcome(*arguments: str) -> tuple[int | None, str]:
    child = await asyncio.create_subprocess_exec(*WEIR, *arguments, stderr=subprocess.PIPE)
    _, error = await asyncio.wait_for(child.communicate(), _DEADLINE_S)
    return child.returncode, error.decode()


async def test_over_nats_planners_hear_one_router_and_all_processes_hear_them(
    nats: Server,
) -> None:
    samples: list[TrafficSample] = []

    def on_sample(data: bytes) -> None:
        samples.append(codec.decode_traffic(telemetry_pb2.TrafficSample.FromString(data)))

    bus = await Bus.connect(nats.url, name="test")
    await bus.subscribe(names.traffic_subject("agg"), on_sample)
    async with engine(WHOLE) as one:
        members = PoolMembers(pool_id=PoolId("agg"), version=1, workers=(one.worker,))
        value = codec.encode_members(members).SerializeToString()
        await bus.kv_put(names.members_bucket("agg"), "agg", value, timeout_s=30.0)
        fleet = ("--fleet", "examples/fleets/agg.yaml", "--nats", nats.url, "--id", "front")
        async with process(*fleet, "--workers", "2") as weir:
            await all_ready(weir)
            _children(weir)[0].kill()
            await metrics_show(weir, process_restarts_total=1.0, processes=2.0)
            await all_ready(weir)
            for _ in range(20):
                assert (await weir.post(CHAT | {"model": "demo-model"})).status == 200
            await _until(lambda: sum(s.classes[0].arrivals for s in samples) >= 20)
    await bus.close()
    assert {sample.router_id for sample in samples} == {"front"}
    assert [s.sequence for s in samples] == list(range(1, len(samples) + 1))
    assert sum(sample.classes[0].arrivals for sample in samples) == 20


async def test_a_port_of_somebody_else_is_exit_1_and_named() -> None:
    target = ("--model", "m", "--worker", "http://127.0.0.1:1")
    async with engine(WHOLE) as one, process("--workers", "1", *target) as weir:
        for port in (one.worker.port, weir.public.port):
            listen = ("--listen", f"127.0.0.1:{port}", "--workers", "2")
            code, error = await outcome(*listen, *target)
            assert code == 1
            assert f"127.0.0.1:{port}" in error
            assert "Traceback" not in error
