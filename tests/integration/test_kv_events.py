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
from router.core.holdings import Holdings, TokenChain
from router.core.pool import Pool
from router.core.workers import Worker
from tests.integration.mocker_process import MockerProcess, mocker
from tests.integration.ports import free_port
from tests.integration.router_world import RouterWorld, router
from weir.domain.fleet import KvEvents
from weir.fleet import RouterSettings
from weir.local.ports import can_listen

zmq = pytest.importorskip("zmq")

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


async def test_gaps_and_what_nobody_understands_cost_what_was_known() -> None:
    context = zmq.Context()
    socket = context.socket(zmq.PUB)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    pool = Pool(replace(static_fleet(["m"]).pools[0], kv_events=KvEvents(port=port)))
    pool.apply(static_members(["http://127.0.0.1:9"], None)[0])
    (worker,) = pool.workers.values()
    assert pool.reuse is not None and pool.reuse.holdings is not None
    holdings = pool.reuse.holdings
    chain = TokenChain(bytes(4 * 3 * BLOCK))
    running = asyncio.create_task(KvEventReader([pool]).run())
    try:
        await _hears(socket, holdings, worker)

        def say(number: int, payload: bytes) -> None:
            socket.send_multipart((b"topic", number.to_bytes(8, "big"), payload))

        number = 1_000
        for payload in (_batch([_stored(1)]), b"\xc1", _batch([["Unheard"]]), b"\x90"):
            say(number + 1, _batch([["AllBlocksCleared"]]))
            say(number + 2, _batch([_stored(1)]))
            await _becomes(
                lambda: holdings.complete(worker) and holdings.tokens(worker, chain) == BLOCK
            )
            number += 3 if payload != _batch([_stored(1)]) else 4  # leaves one out, or says it
            say(number, payload)
            await _becomes(lambda: not holdings.complete(worker))
        assert holdings.malformed == 3 and holdings.gaps["forgotten"] >= 1
        socket.send_multipart((b"alone",))
        await _becomes(lambda: holdings.malformed == 4)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        context.destroy(linger=0)


def _batch(events: list[Any]) -> bytes:
    packed: bytes = msgpack.packb([1.0, events])
    return packed


def _stored(block: int) -> list[Any]:
    """As versions say it that do not name fields."""
    return ["BlockStored", [block], None, [0] * BLOCK, BLOCK, None]


async def _hears(socket: Any, holdings: Holdings[Worker], worker: Worker) -> None:
    """Until it does, nothing that is said here is heard."""
    async with asyncio.timeout(_DEADLINE_S):
        for number in range(1000):
            message = (b"", number.to_bytes(8, "big"), _batch([["AllBlocksCleared"]]))
            socket.send_multipart(message)
            await asyncio.sleep(0.02)
            if holdings.complete(worker):
                return


async def _becomes(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(_DEADLINE_S):
        while not true():
            await asyncio.sleep(0.01)
