"""Conversations through a router to mock engines that keep what they have computed."""

import asyncio
import re
from typing import Any

from router.adapters.static import static_fleet, static_members
from tests.integration.mocker_process import MockerProcess, mocker
from tests.integration.router_world import FLEETS, RouterWorld, router
from weir.fleet import load

SPEED = ("--speed", "50")
PREFILL_LEGS, DECODE_LEGS = (f"weir_mocker_{leg}_legs_total" for leg in ("prefill", "decode"))
PROMPTS = "vllm:prompt_tokens_total"


def _turn(conversation: int, turns: int) -> dict[str, Any]:
    messages = [{"role": "system", "content": f"You are number {conversation}. " * 100}]
    for turn in range(turns):
        messages.append({"role": "user", "content": f"Question {turn} of {conversation}. " * 80})
        messages.append({"role": "assistant", "content": f"Answer {turn}. " * 80})
    return {"model": "m", "messages": messages[:-1], "max_tokens": 4}


async def _ask(weir: RouterWorld, body: dict[str, Any], header: str = "") -> tuple[int, int]:
    """Prompt tokens, and those of them that the engine had."""
    client = await weir.connect()
    client.send(body, headers=header)
    reply = await client.reply()
    client.close()
    assert reply.status == 200
    usage = reply.json["usage"]
    return usage["prompt_tokens"], (usage["prompt_tokens_details"] or {}).get("cached_tokens", 0)


def _metric(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, name
    return float(found[1])


async def test_a_conversations_next_turn_finds_the_last_one_at_its_engine() -> None:
    with mocker(*SPEED) as one, mocker(*SPEED) as other:
        async with router(**_workers(one, other)) as weir:
            await weir.ready()
            await asyncio.gather(*(_ask(weir, _turn(n, 1)) for n in range(6)))
            assert one.metric(PROMPTS) and other.metric(PROMPTS)
            for turns in (2, 3):
                for n in range(6):
                    prompt, cached = await _ask(weir, _turn(n, turns))
                    assert cached > 0.5 * prompt
            text = (await weir.get("/metrics")).body.decode()
    expected = _metric(text, 'weir_router_cached_tokens_total{kind="expected",pool="default"}')
    actual = _metric(text, 'weir_router_cached_tokens_total{kind="actual",pool="default"}')
    assert 0.8 < expected / actual < 1.2


async def test_a_session_stays_at_its_engine() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
    with mocker(*SPEED) as one, mocker(*SPEED) as other:
        async with router(**_workers(one, other)) as weir:
            await weir.ready()
            for _ in range(8):
                await _ask(weir, body, "x-session-id: me\r\n")
            counts = {each.metric("vllm:request_success_total") for each in (one, other)}
            text = (await weir.get("/metrics")).body.decode()
    assert 0.0 in counts
    assert _metric(text, 'weir_router_session_requests_total{pool="default",went="kept"}') == 7.0


def _workers(*engines: MockerProcess) -> dict[str, Any]:
    """A router's settings: these, and no Fleet document."""
    fleet = static_fleet(["m"])
    return {"fleet": fleet, "workers": static_members([e.url for e in engines], None)}


async def test_the_next_turn_goes_straight_to_the_decode_engine_of_the_last_one() -> None:
    rules = ["spec.router.disaggregation.direct_below_tokens=600", "spec.models.0.name=m"]
    rules += [f"spec.pools.{n}.model=m" for n in (0, 1)]
    loaded = load(FLEETS / "disagg.yaml", [*rules, "spec.classes.0.itl_ms=1000"])
    decode = (*SPEED, "--role", "decode")
    with (
        mocker(*SPEED, "--role", "prefill") as head,
        mocker(*decode) as one,
        mocker(*decode) as two,
    ):
        urls = [f"prefill={head.url}", f"decode={one.url}", f"decode={two.url}"]
        workers = static_members(urls, loaded.fleet)
        async with router(fleet=loaded.fleet, settings=loaded.router, workers=workers) as weir:
            await weir.ready()
            for n in range(4):
                await _ask(weir, _chat(n, 1))
            assert head.metric(PREFILL_LEGS) == 4.0
            fetched = one.metric(DECODE_LEGS), two.metric(DECODE_LEGS)
            assert min(fetched) > 0.0
            assert sum(fetched) == 4.0
            for turns in (2, 3):
                for n in range(4):
                    prompt, cached = await _ask(weir, _chat(n, turns))
                    assert prompt - cached < 300
            assert head.metric(PREFILL_LEGS) == 4.0
            assert (one.metric(DECODE_LEGS), two.metric(DECODE_LEGS)) == fetched
            text = (await weir.get("/metrics")).body.decode()
    expected = _metric(text, 'weir_router_cached_tokens_total{kind="expected",pool="decode"}')
    actual = _metric(text, 'weir_router_cached_tokens_total{kind="actual",pool="decode"}')
    assert 0.8 < expected / actual <= 1.0
    assert _metric(text, 'weir_router_routes_total{reason="direct"}') == 8.0


def _chat(conversation: int, turns: int) -> dict[str, Any]:
    """Long instructions, then short questions and answers."""
    instructions = f"You are number {conversation}. " * 800
    messages = [{"role": "system", "content": instructions}]
    for turn in range(turns):
        messages.append({"role": "user", "content": f"Question {turn} of {conversation}. " * 10})
        messages.append({"role": "assistant", "content": f"Answer {turn}. " * 10})
    return {"model": "m", "messages": messages[:-1], "max_tokens": 4}
