"""What engines hold, heard from their KV events: mock engines, and a router."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest

from router.adapters.kv_events import KvEventReader
from router.adapters.static import static_fleet, static_members
from router.core.pool import Pool
from router.core.reuse.holdings import Holdings, TokenChain
from router.core.workers.worker import Worker
from tests.integration.mocker_process import MockerProcess, mocker
from tests.integration.ports import free_port
from tests.integration.router_world import RouterWorld, router
from weir.domain.fleet import KvEvents
from weir.fleet import RouterSettings
from weir.local.ports import can_listen

zmq = pytest.importorskip("zmq.asyncio") and pytest.importorskip("zmq")

TOKENS, BLOCK = 1024, 16
EVENTS, REPLAY = 1, 2
"""Ports beyond the engine's own."""
KNOWN = "weir_router_kv_known_workers"
BLOCKS = "weir_router_kv_blocks"
_DEADLINE_S = 20.0


def _prompt(number: int, tokens: int = TOKENS) -> dict[str, Any]:
    ids = [number * 10_000 + at for at in range(tokens)]
    return {"model": "m", "prompt": ids, "max_tokens": 2}


def _port() -> int:
    while True:
        port = free_port()
        if can_listen(port + EVENTS) is None and can_listen(port + REPLAY) is None:
            return port


@contextmanager
def _engine(*arguments: str, port: int | None = None):  # type: ignore[no-untyped-def]
    port = port or _port()
    ports = ("--kv-events-port", str(port + EVENTS), "--kv-replay-port", str(port + REPLAY))
    listen = ("--listen", f"127.0.0.1:{port}", "--speed", "50")
    with mocker(*listen, *ports, *arguments) as engine:
        yield engine


@asynccontextmanager
async def _router(*engines: MockerProcess) -> AsyncIterator[RouterWorld]:
    fleet = static_fleet(["m"])
    told = KvEvents(port=EVENTS, replay_port=REPLAY, per_worker=True)
    fleet = replace(fleet, pools=tuple(replace(pool, kv_events=told) for pool in fleet.pools))
    workers = static_members([each.url for each in engines], None)
    settings = RouterSettings(explain=True)
    async with router(fleet=fleet, workers=workers, settings=settings) as weir:
        await weir.ready()
        yield weir


async def _compute(engine: MockerProcess, body: dict[str, Any]) -> None:
    """By another client, which the router knows nothing of."""
    status, _ = await asyncio.to_thread(engine.ask, "POST", "/v1/completions", body)
    assert status == 200


async def _ask(weir: RouterWorld, body: dict[str, Any]) -> tuple[str, int, dict[str, Any]]:
    """Where it went, what of it was cached there, and what the router says of its pool."""
    client = await weir.connect()
    client.send(body, "/v1/completions", headers="x-weir-explain: 1\r\n")
    reply = await client.reply()
    client.close()
    assert reply.status == 200
    told = json.loads(dict(reply.headers)["x-weir-explain"])
    cached = (reply.json["usage"]["prompt_tokens_details"] or {}).get("cached_tokens", 0)
    return told["decode"], cached, told["pools"][0]


async def _until(weir: RouterWorld, name: str, holds: Callable[[float], bool]) -> None:
    async with asyncio.timeout(_DEADLINE_S):
        while True:
            text = (await weir.get("/metrics")).body.decode()
            found = re.search(rf'^{name}{{pool="default"}} (\S+)$', text, re.MULTILINE)
            assert found, text
            if holds(float(found[1])):
                return
            await asyncio.sleep(0.02)


def _at(blocks: int) -> Callable[[float], bool]:
    return lambda value: value == blocks


async def test_a_prompt_goes_where_another_client_had_it_computed_until_it_is_gone() -> None:
    blocks = TOKENS // BLOCK
    with _engine() as one, _engine() as other:
        async with _router(one, other) as weir:
            for number, engine in enumerate((one, other, one, other)):
                await _compute(engine, _prompt(number))
            await _until(weir, BLOCKS, _at(4 * blocks))
            for number, engine in enumerate((one, other, one, other)):
                went, cached, view = await _ask(weir, _prompt(number))
                assert went == f"default/127.0.0.1:{engine.port}"
                assert cached == view["cached"] == TOKENS - BLOCK
                assert view["cached_by"] == "engine"
            status, _ = await asyncio.to_thread(one.ask, "POST", "/reset_prefix_cache")
            assert status == 200
            await _until(weir, BLOCKS, _at(2 * blocks))
            _, cached, view = await _ask(weir, _prompt(0))
            assert cached == 0 and "cached" not in view and view["cached_by"] == "engine"


async def test_a_prompt_that_was_evicted_is_not_looked_for_any_more(tmp_path: Path) -> None:
    profile = tmp_path / "small.json"
    profile.write_text(json.dumps({"kv_tokens": 2 * TOKENS + 10 * BLOCK, "block_tokens": BLOCK}))
    with _engine("--profile", str(profile)) as one, _engine() as other:
        async with _router(one, other) as weir:
            await _compute(one, _prompt(0))
            await _until(weir, BLOCKS, _at(TOKENS // BLOCK))
            went, cached, _ = await _ask(weir, _prompt(0))
            assert went == f"default/127.0.0.1:{one.port}" and cached == TOKENS - BLOCK
            for number in (1, 2):
                await _compute(one, _prompt(number))
            await _compute(other, _prompt(0, BLOCK * 20))
            await _until(weir, BLOCKS, lambda value: value > 2 * TOKENS // BLOCK + 20)
            went, cached, view = await _ask(weir, _prompt(0))
            assert went == f"default/127.0.0.1:{other.port}"
            assert cached == view["cached"] == BLOCK * 20


async def test_a_router_that_starts_later_has_told_again_what_it_missed() -> None:
    with _engine() as one, _engine() as other:
        await _compute(other, _prompt(5))
        async with _router(one, other) as weir:
            await _until(weir, BLOCKS, _at(TOKENS // BLOCK))
            went, cached, _ = await _ask(weir, _prompt(5))
            assert went == f"default/127.0.0.1:{other.port}" and cached == TOKENS - BLOCK


async def test_an_engine_that_ends_is_forgotten_and_known_anew_when_it_is_back() -> None:
    port = _port()
    with _engine() as other, _engine(port=port) as one:
        async with _router(one, other) as weir:
            await _compute(one, _prompt(0))
            await _until(weir, BLOCKS, _at(TOKENS // BLOCK))
            one.process.kill()
            one.process.wait()
            await _until(weir, BLOCKS, _at(0))
            with _engine(port=port) as again:
                await _compute(again, _prompt(1, 512))
                await _until(weir, BLOCKS, _at(512 // BLOCK))


class _Publisher:
    """An engine that says what a test wants, and keeps it to be asked for again."""

    def __init__(self) -> None:
        self.context = zmq.asyncio.Context()
        self.events = self.context.socket(zmq.PUB)
        self.replays = self.context.socket(zmq.ROUTER)
        self.port = self.events.bind_to_random_port("tcp://127.0.0.1")
        self.replay_port = self.replays.bind_to_random_port("tcp://127.0.0.1")
        self.number = 0
        self.kept: list[tuple[bytes, bytes]] = []
        self.answering = asyncio.create_task(self._answer())

    async def say(self, payload: bytes, *, heard: bool = True) -> None:
        number = self.number.to_bytes(8, "big")
        self.number += 1
        self.kept.append((number, payload))
        if heard:
            await self.events.send_multipart((b"any topic", number, payload))

    async def _answer(self) -> None:
        while True:
            client, _, first = await self.replays.recv_multipart()
            for number, payload in self.kept:
                if number >= first:
                    await self.replays.send_multipart((client, b"", number, payload))
            await self.replays.send_multipart((client, b"", b"\xff" * 8, b""))


@asynccontextmanager
async def _heard(
    *, replays: bool
) -> AsyncIterator[tuple[_Publisher, Holdings[Worker], Worker, Callable[[], int]]]:
    """An engine whose events are heard: its cache is clear. And how much of zeros it holds."""
    engine = _Publisher()
    told = KvEvents(port=engine.port, replay_port=engine.replay_port if replays else None)
    pool = Pool(replace(static_fleet(["m"]).pools[0], kv_events=told))
    pool.apply(static_members(["http://127.0.0.1:9"], None)[0])
    (worker,) = pool.workers.values()
    assert pool.reuse is not None and pool.reuse.holdings is not None
    holdings = pool.reuse.holdings
    chain = TokenChain(bytes(4 * 3 * BLOCK))
    running = asyncio.create_task(KvEventReader([pool]).run())
    try:
        async with asyncio.timeout(_DEADLINE_S):
            while not holdings.complete(worker):
                await engine.say(CLEARED)
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.1)
        yield engine, holdings, worker, lambda: holdings.tokens(worker, chain)
    finally:
        for task in (running, engine.answering):
            task.cancel()
        await asyncio.gather(running, engine.answering, return_exceptions=True)
        engine.context.destroy(linger=0)


async def test_what_is_missing_and_not_told_again_costs_what_was_known() -> None:
    async with _heard(replays=False) as (engine, holdings, worker, held):
        await engine.say(_batch([_stored(1)]))
        await _becomes(lambda: held() == BLOCK)
        before = holdings.gaps["forgotten"]
        await engine.say(_batch([["BlockRemoved", [1]]]), heard=False)
        await engine.say(_batch([]))
        await _becomes(lambda: not held())
        assert not holdings.complete(worker) and holdings.gaps["forgotten"] == before + 1


async def test_what_is_missing_is_asked_for_and_taken_in_order() -> None:
    async with _heard(replays=True) as (engine, holdings, worker, held):
        await engine.say(_batch([_stored(1)]), heard=False)
        await engine.say(_batch([_stored(2, 1)]), heard=False)
        await engine.say(_batch([_stored(3, 2), ["BlockRemoved", [3]]]))
        await _becomes(lambda: held() == 2 * BLOCK)
        assert holdings.complete(worker)
        assert holdings.gaps["replayed"] == 1 and not holdings.gaps["forgotten"]
        await engine.say(_batch([["BlockRemoved", [2]]]))
        await _becomes(lambda: held() == BLOCK)


@pytest.mark.parametrize("replays", [False, True])
async def test_what_nobody_understands_costs_what_was_known(replays: bool) -> None:
    async with _heard(replays=replays) as (engine, holdings, worker, held):
        for count, payload in enumerate((b"\xc1", _batch([["Unheard"]]), b"\x90"), 1):
            await engine.say(CLEARED)
            await engine.say(_batch([_stored(1)]))
            await _becomes(lambda: held() == BLOCK and holdings.complete(worker))
            await engine.say(payload)
            await _becomes(lambda count=count: holdings.malformed == count)  # type: ignore[misc]
            assert not held() and not holdings.complete(worker)
        await engine.events.send_multipart((b"alone",))
        await _becomes(lambda: holdings.malformed == 4)


async def test_an_engine_whose_numbers_begin_anew_is_forgotten() -> None:
    async with _heard(replays=False) as (engine, holdings, worker, held):
        await engine.say(_batch([_stored(1)]))
        await _becomes(lambda: held() == BLOCK)
        engine.number, restarts = 0, holdings.restarts
        await engine.say(_batch([_stored(7, 6)]))
        await _becomes(lambda: not held())
        assert holdings.complete(worker) and holdings.restarts == restarts + 1


def _batch(events: list[Any]) -> bytes:
    packed: bytes = msgpack.packb([1.0, events])
    return packed


CLEARED = _batch([["AllBlocksCleared"]])


def _stored(block: int, parent: int | None = None) -> list[Any]:
    """As versions say it that do not name fields."""
    return ["BlockStored", [block], parent, [0] * BLOCK, BLOCK, None]


async def _becomes(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(_DEADLINE_S):
        while not true():
            await asyncio.sleep(0.01)
