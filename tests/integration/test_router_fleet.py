"""A router of a fleet: members and plan from NATS, traffic to it, decisions over gRPC."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from router.adapters.static import static_members
from router.config import parse_address
from tests.integration.frontend.world import STREAM, Engine, engine
from tests.integration.nats_process import Server, eventually
from tests.integration.ports import free_port
from tests.integration.router_world import (
    FLEETS,
    PREFILLED,
    STREAMED,
    RouterWorld,
    router,
)
from weir import codec, fleet
from weir.api.v1 import router_pb2, router_pb2_grpc, telemetry_pb2
from weir.domain.fleet import Stage
from weir.domain.ids import ClassName, PoolId
from weir.domain.planning import PoolMembers, RoutingPlan
from weir.domain.telemetry import TrafficSample
from weir.fleet import LoadedFleet
from weir.runtime import names
from weir.runtime.bus import Bus

BODY = STREAM | {"model": "demo-model"}


@asynccontextmanager
async def _bus(nats: Server) -> AsyncIterator[Bus]:
    bus = await Bus.connect(nats.url, name="test")
    try:
        yield bus
    finally:
        await bus.close()


async def _announce(bus: Bus, name: str, pool: str, version: int, *engines: Engine) -> None:
    members = PoolMembers(
        pool_id=PoolId(pool), version=version, workers=tuple(e.worker for e in engines)
    )
    value = codec.encode_members(members).SerializeToString()
    await bus.kv_put(names.members_bucket(name), pool, value)


def _disagg() -> LoadedFleet:
    return fleet.load(FLEETS / "disagg.yaml", ["spec.router.sample_interval_s=0.1"])


def _fields(loaded: LoadedFleet, nats: Server) -> dict[str, object]:
    return {"fleet": loaded.fleet, "settings": loaded.router, "nats_url": nats.url}


async def test_requests_go_where_the_planners_say_the_workers_are(nats: Server) -> None:
    loaded = _disagg()
    async with (
        engine(PREFILLED, "p1") as p1,
        engine(STREAMED, "d1") as d1,
        _bus(nats) as bus,
        router(**_fields(loaded, nats)) as weir,
    ):
        assert (await weir.get("/readyz")).status == 503
        await _announce(bus, "disagg", "prefill", 1, p1)
        await _announce(bus, "disagg", "decode", 1, d1)
        await weir.ready()
        reply = await weir.post(BODY)
        assert reply.status == 200
        assert [len(p1.requests), len(d1.requests)] == [1, 1]
        assert d1.requests[0].json["kv_transfer_params"] == {"do_remote_prefill": True}
        assert (await weir.get("/readyz", control=True)).status == 200


async def test_a_request_that_comes_too_early_waits_for_the_first_worker(nats: Server) -> None:
    loaded = _disagg()
    async with (
        engine(PREFILLED, "p1") as p1,
        engine(STREAMED, "d1") as d1,
        _bus(nats) as bus,
        router(**_fields(loaded, nats)) as weir,
    ):
        asked = asyncio.create_task(weir.post(BODY))
        await _announce(bus, "disagg", "prefill", 1, p1)
        await asyncio.sleep(0.2)
        assert not asked.done()
        await _announce(bus, "disagg", "decode", 1, d1)
        assert (await asyncio.wait_for(asked, 30.0)).status == 200


async def test_the_plan_moves_the_shares(nats: Server) -> None:
    loaded = fleet.load(FLEETS / "demo.yaml")
    async with (
        engine(PREFILLED, "a") as a,
        engine(PREFILLED, "b") as b,
        engine(STREAMED, "d") as d,
        _bus(nats) as bus,
        router(**_fields(loaded, nats)) as weir,
    ):
        await _announce(bus, "demo", "prefill-a", 1, a)
        await _announce(bus, "demo", "prefill-b", 1, b)
        await _announce(bus, "demo", "decode-a", 1, d)
        shares = {
            Stage.PREFILL: {PoolId("prefill-b"): 1.0},
            Stage.DECODE: {PoolId("decode-a"): 1.0},
        }
        classes = [ClassName(c.name) for c in loaded.fleet.classes]
        plan = RoutingPlan(term=1, version=1, shares=dict.fromkeys(classes, shares))
        value = codec.encode_plan(plan).SerializeToString()
        await bus.kv_put(names.plan_bucket("demo"), names.PLAN_KEY, value)
        await weir.ready()
        await _metric(weir, "weir_router_plan_version 1.0")
        for _ in range(6):
            assert (await weir.post(BODY)).status == 200
        assert [len(a.requests), len(b.requests)] == [0, 6]


async def _metric(weir: RouterWorld, line: str) -> None:
    async with asyncio.timeout(30.0):
        while line not in (await weir.get("/metrics")).body.decode().splitlines():
            await asyncio.sleep(0.05)


async def test_traffic_is_told_each_interval_and_its_counters_add_up(nats: Server) -> None:
    loaded = _disagg()
    samples: list[TrafficSample] = []
    async with (
        engine(PREFILLED, "p1") as p1,
        engine(STREAMED, "d1") as d1,
        _bus(nats) as bus,
        router(**_fields(loaded, nats)) as weir,
    ):

        def on_sample(payload: bytes) -> None:
            message = telemetry_pb2.TrafficSample.FromString(payload)
            samples.append(codec.decode_traffic(message))

        await bus.subscribe(names.traffic_subject("disagg"), on_sample)
        await _announce(bus, "disagg", "prefill", 1, p1)
        await _announce(bus, "disagg", "decode", 1, d1)
        await weir.ready()
        await eventually(lambda: len(samples) >= 3)
        assert all(sample.classes[0].arrivals == 0 for sample in samples)
        for _ in range(3):
            await weir.post(BODY)
        await eventually(lambda: sum(s.classes[0].completed for s in samples) == 3)
    assert sum(s.classes[0].arrivals for s in samples) == 3
    assert sum(s.classes[0].osl_tokens for s in samples) == 9
    assert sum(s.classes[0].ttft_s.total for s in samples) == 3
    assert {s.router_id for s in samples} == {"r1"}
    legs = {p.pool_id: p for s in samples for p in s.pools if p.arrivals}
    assert set(legs) == {"prefill", "decode"}


async def test_the_router_serves_on_while_nats_is_away_and_hears_it_when_back(
    nats: Server,
) -> None:
    loaded = _disagg()
    async with (
        engine(PREFILLED, "p1") as p1,
        engine(PREFILLED, "p2") as p2,
        engine(STREAMED, "d1") as d1,
        router(**_fields(loaded, nats)) as weir,
    ):
        async with _bus(nats) as bus:
            await _announce(bus, "disagg", "prefill", 1, p1)
            await _announce(bus, "disagg", "decode", 1, d1)
            await weir.ready()
        nats.kill()
        await _metric(weir, "weir_router_nats_connected 0.0")
        assert (await weir.post(BODY)).status == 200
        assert (await weir.get("/readyz")).status == 200
        nats.start()
        async with _bus(nats) as bus:
            await _announce(bus, "disagg", "prefill", 2, p2)
            async with asyncio.timeout(30.0):
                while not p2.requests:
                    assert (await weir.post(BODY)).status == 200


async def test_a_dead_worker_is_passed_over_and_its_requests_are_not_lost(nats: Server) -> None:
    loaded = _disagg()
    async with (
        engine(PREFILLED, "p1") as p1,
        engine(STREAMED, "d1") as d1,
        engine(STREAMED, "d2") as d2,
        _bus(nats) as bus,
        router(**_fields(loaded, nats)) as weir,
    ):
        dead = Engine(d2.behaviour, replace(d2.worker, port=free_port()))
        await _announce(bus, "disagg", "prefill", 1, p1)
        await _announce(bus, "disagg", "decode", 1, dead, d1)
        await weir.ready()
        replies = [await weir.post(BODY) for _ in range(6)]
        assert {reply.status for reply in replies} == {200}
        assert len(d1.requests) == 6
        await _metric(weir, 'weir_router_pool_workers{pool="decode",state="ejected"} 1.0')


@asynccontextmanager
async def _route_channel(weir_fields: dict[str, object]) -> AsyncIterator[grpc.aio.Channel]:
    address = f"127.0.0.1:{free_port()}"
    async with (
        router(**weir_fields, grpc=parse_address("--grpc", address)),
        grpc.aio.insecure_channel(address) as channel,
    ):
        yield channel


def _static(workers: Sequence[str]) -> dict[str, object]:
    loaded = _disagg()
    return {"fleet": loaded.fleet, "workers": static_members(workers, loaded.fleet)}


async def test_route_says_where_a_request_would_go() -> None:
    workers = ["prefill=http://127.0.0.1:7001", "decode=http://127.0.0.1:7002"]
    async with _route_channel(_static(workers)) as channel:
        stub = router_pb2_grpc.RouterStub(channel)
        request = router_pb2.RouteRequest(model="demo-model", isl_tokens=100, max_tokens=10)
        route = await stub.Route(request, timeout=20.0)
        assert (route.class_name, route.isl_tokens, route.osl_tokens) == ("all", 100, 10)
        assert (route.prefill.pool_id, route.prefill.url) == ("prefill", "http://127.0.0.1:7001")
        assert (route.decode.pool_id, route.decode.url) == ("decode", "http://127.0.0.1:7002")
        health = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(
            health_pb2.HealthCheckRequest(service="weir.api.v1.Router"), timeout=20.0
        )
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model": "other", "isl_tokens": 1}, "does not exist"),
        ({"model": "demo-model"}, "isl_tokens"),
        ({"model": "demo-model", "isl_tokens": 5, "max_tokens": 0}, "max_tokens"),
        ({"model": "demo-model", "isl_tokens": 5, "ttft_ms": float("nan")}, "ttft_ms"),
        ({"model": "demo-model", "isl_tokens": 65_000, "max_tokens": 1000}, "65536"),
    ],
)
async def test_route_refuses_what_cannot_be_served(fields: dict[str, object], words: str) -> None:
    async with _route_channel(_static(["prefill=http://127.0.0.1:7001"])) as channel:
        stub = router_pb2_grpc.RouterStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Route(router_pb2.RouteRequest(**fields), timeout=20.0)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert words in (refused.value.details() or "")


async def test_route_is_unavailable_while_a_stage_has_no_worker() -> None:
    async with _route_channel(_static(["prefill=http://127.0.0.1:7001"])) as channel:
        stub = router_pb2_grpc.RouterStub(channel)
        request = router_pb2.RouteRequest(model="demo-model", isl_tokens=1)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Route(request, timeout=20.0)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "decode" in (refused.value.details() or "")
