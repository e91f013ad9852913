"""Where pool planners see traffic and engines: a router's gRPC, a mock engine's /metrics, NATS."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgpack
import orjson
import pytest
from aiohttp import web

from poolplanner import meter
from poolplanner.core.observation import Observation
from poolplanner.core.observe import Telemetry
from poolplanner.core.replicas import Replica, ReplicaState
from poolplanner.meter import EngineMeter
from poolplanner.metrics import Metrics
from poolplanner.sources import Sources, Watched
from router.adapters.recent import RecentTraffic
from router.adapters.rpc import RouteServicer, register
from tests.integration.mocker_process import mocker
from tests.integration.nats_process import Server, eventually
from weir import fleet
from weir.domain.errors import FleetError
from weir.domain.ids import ClassName, PoolId, RouterId, WorkerId
from weir.domain.telemetry import ClassTraffic, ForwardPassSample, PoolTraffic, TrafficSample
from weir.runtime import rpc
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
  pools: [{name: chat, role: agg, model: m}]
"""
CHAT = PoolId("chat")
TELEMETRY = "spec.planner.telemetry"


class World:
    """One pool's telemetry, fed as `sets` want it."""

    def __init__(self, file: Path, nats: Server, bus: Bus) -> None:
        self._file = file
        self.nats = nats
        self.bus = bus
        self.clock = Clock()
        self.telemetry = Telemetry(pool_id=CHAT, stale_s=20.0)
        self.replicas: list[Replica] = []
        self.metrics = Metrics(CHAT)

    def seen(self) -> Observation:
        return self.telemetry.observe(self.clock.now_s())

    def errors(self) -> float:
        labels = {"pool": CHAT, "reason": "telemetry"}
        name = "weir_poolplanner_tick_errors_total"
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    @asynccontextmanager
    async def fed(self, *sets: str) -> AsyncIterator[None]:
        loaded = fleet.load(self._file, [f"{TELEMETRY}.{each}" for each in sets])
        watched = Watched(
            spec=loaded.fleet.pool(CHAT),
            telemetry=self.telemetry,
            metrics=self.metrics,
            replicas=lambda: self.replicas,
        )
        sources = Sources(pools=[watched], loaded=loaded, bus=self.bus, clock=self.clock)
        async with AsyncExitStack() as stack:
            await sources.open(stack)
            yield


@pytest.fixture
async def world(tmp_path: Path, nats: Server) -> AsyncIterator[World]:
    file = tmp_path / "fleet.yaml"
    file.write_text(FLEET)
    bus = await Bus.connect(nats.url, name="test")
    yield World(file, nats, bus)
    await bus.close()


def _sample(sequence: int, arrivals: int) -> TrafficSample:
    return TrafficSample(
        router_id=RouterId("a"),
        sequence=sequence,
        window_s=1.0,
        classes=(ClassTraffic(name=ClassName("small"), arrivals=arrivals),),
        pools=(PoolTraffic(pool_id=CHAT, arrivals=arrivals, in_flight=3),),
    )


async def test_routers_are_asked_over_grpc_and_a_router_begun_anew_is_heard(world: World) -> None:
    recent = RecentTraffic([])

    def never(*_: object) -> None:
        raise AssertionError

    servicer = RouteServicer(never, recent)  # type: ignore[arg-type]
    server = await rpc.serve("127.0.0.1:0", lambda server: register(server, servicer))
    for sequence in range(101, 104):
        recent.publish(_sample(sequence, 6))
    async with world.fed("source=grpc", f"routers=[127.0.0.1:{server.port}]"):
        await eventually(lambda: world.seen().rate_rps == pytest.approx(6.0))
        arrivals = world.telemetry.arrivals(world.clock.now_s())
        assert arrivals is not None and arrivals.window_s == pytest.approx(3.0)
        recent._samples.clear()
        recent.publish(_sample(1, 60))
        await eventually(lambda: (world.seen().rate_rps or 0.0) > 6.0)
        arrivals = world.telemetry.arrivals(world.clock.now_s())
        assert arrivals is not None and arrivals.rate_rps == pytest.approx(60.0)
        await server.close(0.0)
        world.telemetry.stale_s = 1.0
        await eventually(lambda: world.seen().rate_rps is None and world.errors() > 0)


async def test_engines_are_asked_what_they_do(world: World) -> None:
    with mocker("--pool", "chat") as engine:
        world.replicas = [
            Replica(
                id=WorkerId("chat-0"), state=ReplicaState.READY, host="127.0.0.1", port=engine.port
            ),
            Replica(id=WorkerId("chat-1"), state=ReplicaState.STARTING, host="127.0.0.1", port=1),
        ]
        async with world.fed("engines=scrape"):
            await eventually(lambda: world.seen().engines is not None)
            engines = world.seen().engines
            assert engines is not None
            assert (engines.workers, engines.running, engines.waiting) == (1, 0, 0)
            assert engines.kv_used_tokens == 0 and (engines.kv_total_tokens or 0) > 0
            (sample,) = world.telemetry.passes()
            assert (sample.waiting_tokens, sample.iterations, sample.busy_s) == (0, None, None)
        assert world.errors() == 0


async def test_dynamos_passes_come_as_one_sample_a_second(world: World) -> None:
    subject = "namespace.prod-chat.component.backend.forward-pass-metrics"
    async with world.fed("engines=dynamo", "namespace=prod-chat"):
        await asyncio.sleep(0.2)
        world.bus.publish(subject, b"rubbish")
        began_s = Clock.wall_s()
        for number in range(1, 200):
            scheduled = {"num_decode_requests": 5, "sum_decode_kv_tokens": 5000}
            one = {
                "version": 1,
                "worker_id": "w",
                "counter_id": number,
                "wall_time": 0.01,
                "scheduled_requests": scheduled,
            }
            event = {"publisher_id": 1, "topic": "t", "payload": msgpack.packb(one)}
            world.bus.publish(subject, msgpack.packb(event))
            await asyncio.sleep(0.01)
        await eventually(lambda: world.seen().engines is not None)
        took_s = Clock.wall_s() - began_s
        engines = world.seen().engines
        assert engines is not None and (engines.workers, engines.running) == (1, 5)
        assert (engines.kv_used_tokens, engines.kv_total_tokens) == (5000, 262_144)
        samples = world.telemetry.passes()
        assert 1 <= len(samples) <= took_s + 1.0
        assert sum(sample.iterations or 0 for sample in samples) > 5 * len(samples)
    assert world.errors() == 1


async def test_a_pool_without_a_dynamo_namespace_is_refused(world: World) -> None:
    with pytest.raises(FleetError, match=r"telemetry\.namespace"):
        async with world.fed("engines=dynamo"):
            pass


async def test_a_meter_beside_an_engine_publishes_each_second(world: World, tmp_path: Path) -> None:
    loaded = fleet.load(tmp_path / "fleet.yaml")
    stop = Stop()
    with mocker("--pool", "chat") as engine:
        url, url_of_nats = f"{engine.url}/metrics", world.nats.url
        beside = EngineMeter(pool="chat", worker="chat-0", url=url, nats=url_of_nats)
        work = asyncio.create_task(meter.run(beside, loaded, Clock(), stop))
        async with world.fed():
            began_s = Clock.wall_s()
            samples: list[ForwardPassSample] = []

            def heard(count: int) -> bool:
                samples.extend(world.telemetry.passes())
                return len(samples) >= count

            await eventually(lambda: heard(1))
            first = len(samples)
            await eventually(lambda: heard(first + 2))
            assert {sample.worker_id for sample in samples} == {"chat-0"}
            took_s = Clock.wall_s() - began_s
            assert 1.0 < sum(sample.window_s for sample in samples[first:]) <= took_s
            assert (samples[-1].decode_tokens, samples[-1].completed) == (0, 0)
        stop.set()
        async with asyncio.timeout(30.0):
            await work


async def test_a_meter_of_no_pool_is_refused(world: World, tmp_path: Path) -> None:
    beside = EngineMeter(pool="nope", worker="w", url="http://127.0.0.1:1", nats=world.nats.url)
    with pytest.raises(FleetError, match="no pool 'nope'"):
        await meter.run(beside, fleet.load(tmp_path / "fleet.yaml"), Clock(), Stop())


class FakePrometheus:
    """Answers with `body`; remembers what it was asked and by whom."""

    def __init__(self) -> None:
        self.body = b""
        self.status = 200
        self.asked: list[tuple[str, str | None]] = []

    async def query(self, request: web.Request) -> web.Response:
        form = await request.post()
        self.asked.append((str(form["query"]), request.headers.get("Authorization")))
        return web.Response(body=self.body, status=self.status)

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/api/v1/query", self.query)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]
        await runner.cleanup()


async def test_a_token_is_read_for_every_question_and_bad_answers_are_unknown(
    world: World, tmp_path: Path
) -> None:
    token, prometheus = tmp_path / "token", FakePrometheus()
    token.write_text("one\n")
    async with prometheus.served() as url:
        sets = ("source=prometheus", f"url={url}", f"token_file={token}")
        async with world.fed(*sets, "namespace=prod-chat", "scrape_s=1.5"):
            await eventually(lambda: world.errors() > 0)
            token.write_text("two\n")
            prometheus.status, prometheus.body = 503, b'{"status":"error","error":"busy"}'
            await eventually(lambda: prometheus.asked[-1][1] == "Bearer two")
        assert prometheus.asked[0][1] == "Bearer one"
        question = prometheus.asked[0][0]
        assert 'dynamo_namespace="prod_chat"' in question and question.endswith("[6s]")
    assert world.seen().rate_rps is None


async def test_a_prometheus_that_cannot_be_reached_is_unknown(world: World) -> None:
    async with world.fed("source=prometheus", "url=http://127.0.0.1:1", "namespace=x"):
        await eventually(lambda: world.errors() > 0)
        assert world.seen().age_s is None


PAIR = FLEET.replace(
    "[{name: chat, role: agg, model: m}]",
    "[{name: chat, role: prefill, model: m}, {name: write, role: decode, model: m}]",
)


def _answer(metrics: str, requests: int) -> bytes:
    """What was scraped now and ten seconds ago: so many requests of up to 1024 tokens since."""
    now_s = time.time()
    prefix = f"dynamo_{metrics}_"
    counters: dict[str, dict[str, str]] = {
        "requests_started_total": {},
        "input_sequence_tokens_bucket": {"le": "1024"},
    }
    result: list[dict[str, object]] = [
        {
            "metric": {"__name__": prefix + name, "instance": "r:1"} | labels,
            "values": [[now_s - 10.0, "0"], [now_s, str(requests)]],
        }
        for name, labels in counters.items()
    ]
    return orjson.dumps({"status": "success", "data": {"result": result}})


@pytest.mark.parametrize("metrics", ["router", "frontend"])
async def test_what_prometheus_tells_of_a_pair_is_offered_once(
    world: World, tmp_path: Path, metrics: str
) -> None:
    prefix = {"router": "component_router", "frontend": "frontend"}[metrics]
    prometheus = FakePrometheus()
    heard: list[TrafficSample] = []
    file = tmp_path / "pair.yaml"
    file.write_text(PAIR)
    async with prometheus.served() as url:
        sets = ("source=prometheus", f"url={url}", f"metrics={metrics}", "scrape_s=1.5")
        loaded = fleet.load(file, [f"{TELEMETRY}.{each}" for each in (*sets, "namespace=x")])
        pools = [
            Watched(
                spec=spec,
                telemetry=Telemetry(pool_id=spec.id, stale_s=20.0),
                metrics=Metrics(spec.id),
                replicas=list,
            )
            for spec in loaded.fleet.pools
        ]
        sources = Sources(
            pools=pools, loaded=loaded, bus=world.bus, clock=world.clock, heard=heard.append
        )
        prometheus.body = _answer(prefix, 0)
        async with AsyncExitStack() as stack:
            await sources.open(stack)
            await eventually(lambda: len(prometheus.asked) >= 4)
            prometheus.body = _answer(prefix, 30)
            await eventually(lambda: all(p.telemetry.totals for p in pools))
            await asyncio.sleep(1.0)
    assert {sample.router_id for sample in heard} == {"chat prometheus r:1"}
    assert [c.arrivals for sample in heard for c in sample.classes] == [30]
