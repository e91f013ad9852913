"""A router before a pair of mock engines: what a request touches, by their own counters."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from router.adapters.static import static_members
from tests.integration.mocker_process import MockerProcess, mocker
from tests.integration.router_world import FLEETS, RouterWorld, router
from weir import fleet

PREFILL_LEGS = "weir_mocker_prefill_legs_total"
DECODE_LEGS = "weir_mocker_decode_legs_total"
PROMPTS = "vllm:prompt_tokens_total"


@pytest.fixture(scope="module")
def prefill() -> Iterator[MockerProcess]:
    with mocker("--speed", "50", "--role", "prefill", "--kv-hold-s", "10000") as process:
        yield process


@pytest.fixture(scope="module")
def decode() -> Iterator[MockerProcess]:
    with mocker("--speed", "50", "--role", "decode") as process:
        yield process


@asynccontextmanager
async def weir(
    prefill_url: str, decode: MockerProcess, **rules: object
) -> AsyncIterator[RouterWorld]:
    sets = [f"spec.router.disaggregation.{name}={value}" for name, value in rules.items()]
    loaded = fleet.load(FLEETS / "disagg.yaml", [*sets, "spec.models.0.name=m", *_RENAMED])
    workers = [f"prefill={prefill_url}", f"decode={decode.url}"]
    fields = {"fleet": loaded.fleet, "settings": loaded.router}
    async with router(**fields, workers=static_members(workers, loaded.fleet)) as world:
        await world.ready()
        yield world


_RENAMED = ("spec.pools.0.model=m", "spec.pools.1.model=m")


def prompt(tokens: int) -> dict[str, Any]:
    return {"model": "m", "prompt": [7] * tokens, "max_tokens": 3, "stream": True}


async def ask(world: RouterWorld, tokens: int) -> int:
    return (await world.post(prompt(tokens), "/v1/completions")).status


async def metric(world: RouterWorld, line: str) -> None:
    assert line in (await world.get("/metrics")).body.decode().splitlines()


class Counters:
    """What both engines have counted since this was made, or asked last."""

    def __init__(self, *engines: MockerProcess) -> None:
        self._engines = engines
        self._before = self._now()

    async def grown(self) -> list[float]:
        now = await asyncio.to_thread(self._now)
        before, self._before = self._before, now
        return [a - b for a, b in zip(now, before, strict=True)]

    def _now(self) -> list[float]:
        return [e.metric(name) for e in self._engines for name in (PREFILL_LEGS, DECODE_LEGS)]


async def test_a_short_prompt_touches_only_the_decode_engine(
    prefill: MockerProcess, decode: MockerProcess
) -> None:
    seen, prompts = Counters(prefill, decode), decode.metric(PROMPTS)
    async with weir(prefill.url, decode, direct_below_tokens=100) as world:
        assert await ask(world, 99) == 200
        assert await seen.grown() == [0, 0, 0, 0]
        assert decode.metric(PROMPTS) == prompts + 99
        assert await ask(world, 100) == 200
        assert await seen.grown() == [1, 0, 0, 1]
        await metric(world, 'weir_router_routes_total{reason="direct"} 1.0')
        await metric(world, 'weir_router_pool_requests_total{pool="prefill"} 1.0')
        await metric(world, 'weir_router_pool_requests_total{pool="decode"} 2.0')
    async with weir(prefill.url, decode) as world:
        assert await ask(world, 1) == 200
        assert await seen.grown() == [1, 0, 0, 1]
    prefill.until("weir_mocker_kv_held", 0)


async def lose(world: RouterWorld, lost: MockerProcess) -> None:
    """The prefill engine dies while the router runs."""
    assert await ask(world, 500) == 200
    lost.process.kill()
    await asyncio.to_thread(lost.process.wait, 10)


async def test_without_prefill_engines_decode_engines_do_all_where_that_is_the_policy(
    decode: MockerProcess,
) -> None:
    with mocker("--speed", "50", "--role", "prefill") as lost:
        async with weir(lost.url, decode, without_prefill="run_on_decode") as world:
            await lose(world, lost)
            seen = Counters(decode)
            assert [await ask(world, 500) for _ in range(3)] == [200] * 3
            assert await seen.grown() == [0, 0]
            await metric(world, 'weir_router_without_prefill_total{policy="run_on_decode"} 3.0')
            await metric(world, 'weir_router_routes_total{reason="no_prefill"} 3.0')
            assert (await world.get("/readyz")).status == 200


async def test_without_prefill_engines_requests_are_refused_where_that_is_the_policy(
    decode: MockerProcess,
) -> None:
    with mocker("--speed", "50", "--role", "prefill") as lost:
        async with weir(lost.url, decode, without_prefill="refuse") as world:
            await lose(world, lost)
            seen = Counters(decode)
            reply = await world.post(prompt(500), "/v1/completions")
            assert reply.status == 503
            assert "no_prefill" in reply.error["message"]
            assert int(reply.headers["retry-after"]) >= 1
            assert await seen.grown() == [0, 0]
            await metric(world, 'weir_router_without_prefill_total{policy="refuse"} 1.0')
            assert (await world.get("/readyz")).status == 503


async def test_without_prefill_engines_requests_wait_by_default(decode: MockerProcess) -> None:
    with mocker("--speed", "50", "--role", "prefill") as lost:
        async with weir(lost.url, decode) as world:
            await lose(world, lost)
            client = await world.connect()
            client.send(prompt(500), "/v1/completions")
            waits = 'weir_router_queued{class="all"} 1.0'
            async with asyncio.timeout(10.0):
                while waits not in (await world.get("/metrics")).body.decode().splitlines():
                    await asyncio.sleep(0.02)
            text = (await world.get("/metrics")).body.decode()
            assert 'weir_router_without_prefill_total{policy="queue"} 0.0' not in text
            client.close()
