"""Hints, canaries and explanations through a whole router."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from router.adapters.static import static_members
from tests.integration.frontend.world import (
    CHAT,
    STREAM,
    Behaviour,
    Client,
    Engine,
    Reply,
    answers,
    engine,
    then_closes,
    whole,
)
from tests.integration.router_world import STREAMED, RouterWorld, router
from weir.fleet import LoadedFleet, loads

ANSWER = answers(whole(b'{"choices":[{}]}', extra=b"x-weir-explain: forged\r\n"))
FLEET = """\
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {name: hints}
spec:
  models:
    - {name: m, aliases: [alias], canary: {next: 0.5}}
    - {name: next}
  classes:
    - {name: chat, ttft_ms: 2000, itl_ms: 100}
    - {name: batch, isl: {max: 1000}, ttft_ms: 60000, itl_ms: 900, on_request: true}
  budget: {gpus: 4}
  pools:
    - {name: main, role: agg, model: m}
    - {name: canary, role: agg, model: next, context_limit_tokens: 500}
"""


def _loaded(*sets: str) -> LoadedFleet:
    return loads(FLEET, ["router.explain=true", *sets])


@asynccontextmanager
async def _served(
    loaded: LoadedFleet, **behaviours: Behaviour
) -> AsyncIterator[tuple[RouterWorld, dict[str, Engine]]]:
    """A router, and an engine for each of these pools."""
    async with AsyncExitStack() as stack:
        engines = {
            name: await stack.enter_async_context(engine(behaviour, name))
            for name, behaviour in behaviours.items()
        }
        urls = [f"{name}=http://127.0.0.1:{e.worker.port}" for name, e in engines.items()]
        fields = {
            "fleet": loaded.fleet,
            "settings": loaded.router,
            "workers": static_members(urls, loaded.fleet),
        }
        yield await stack.enter_async_context(router(**fields)), engines


async def _ask(world: RouterWorld, body: Any, **headers: str) -> Reply:
    lines = "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in headers.items())
    client: Client = await world.connect()
    client.send(body, headers=lines)
    reply = await client.reply()
    client.close()
    return reply


def _told(reply: Reply) -> Any:
    return json.loads(reply.headers["x-weir-explain"])


@pytest.mark.parametrize("body", [CHAT, STREAM])
async def test_a_client_that_asks_is_told_in_a_header_and_the_body_is_untouched(body: Any) -> None:
    async with _served(
        _loaded("models.m.canary={}"), main=STREAMED if "stream" in body else ANSWER
    ) as (world, engines):
        plain = await _ask(world, body)
        reply = await _ask(world, body, x_weir_explain="1", x_slo_ttft_ms="500")
        assert "x-weir-explain" not in plain.headers
        assert (reply.status, reply.payload) == (200, plain.payload)
        told = _told(reply)
        assert (told["class"], told["why"], told["decode"][:5]) == ("chat", "share", "main/")
        # Tighter than the class: not without leave of the document.
        assert told["ttft_target_ms"] == 2000.0
        assert told["ignored"] == {"x-slo-ttft-ms": "not_allowed"}
        assert "x-weir-explain" not in engines["main"].requests[-1].headers


async def test_nobody_is_told_where_the_document_does_not_allow_it() -> None:
    loaded = _loaded("router.explain=false", "models.m.canary={}")
    async with _served(loaded, main=ANSWER) as (world, _):
        reply = await _ask(world, CHAT, x_weir_explain="1")
        assert (reply.status, "x-weir-explain" in reply.headers) == (200, False)
        metrics = (await world.get("/metrics")).payload.decode()
        labels = '{hint="x-weir-explain",reason="not_allowed"}'
        assert f"weir_router_hints_ignored_total{labels} 1.0" in metrics


async def test_who_is_shed_or_fails_is_told_why() -> None:
    shortly = "router.queue_timeout_s=0.05", "router.no_endpoints_timeout_s=0.05"
    loaded = _loaded(*shortly, "models.m.canary={}")
    async with _served(loaded) as (world, _):
        reply = await _ask(world, CHAT, x_weir_explain="1")
        assert (reply.status, _told(reply)["why"]) == (503, "no_endpoints")
        assert reply.headers["x-weir-dropped-reason"] == "no_endpoints"
        assert reply.headers["x-llm-d-request-dropped-reason"] == "rejected-no-endpoints"
        metrics = (await world.get("/metrics")).payload.decode()
        assert 'weir_router_shed_total{class="chat",reason="no_endpoints"} 1.0' in metrics
        assert _told(reply)["pools"] == [{"pool": "main", "verdict": "no_worker", "share": 0.0}]
    async with _served(loaded, main=answers(whole(b"{}", b"400 No"))) as (world, _):
        reply = await _ask(world, CHAT, x_weir_explain="1")
        assert (reply.status, _told(reply)["routes"]) == (400, 1)
    async with _served(loaded, main=then_closes()) as (world, _):
        reply = await _ask(world, CHAT, x_weir_explain="1")
        assert (reply.status, _told(reply)["why"]) == (503, "queue_timeout")


async def test_who_is_too_long_for_every_pool_is_told_what_it_was_taken_for() -> None:
    long = CHAT | {"messages": [{"role": "user", "content": "word " * 900_000}]}
    async with _served(_loaded("models.m.canary={}"), main=ANSWER) as (world, engines):
        reply = await _ask(world, long, x_weir_explain="1")
        told = _told(reply)
        assert (reply.status, told["why"]) == (400, "context_length_exceeded")
        assert told["class"] == "chat"
        assert told["pools"] == [{"pool": "main", "verdict": "too_short", "share": 1.0}]
        assert "x-weir-explain" not in (await _ask(world, long)).headers
        assert not engines["main"].requests
        missing = await _ask(world, CHAT | {"model": "nope"}, x_weir_explain="1")
        assert (missing.status, "x-weir-explain" in missing.headers) == (404, False)


async def test_hints_in_the_body_count_and_reach_the_engine() -> None:
    nvext = {"router": {"ttft_target": 9000, "itl_target": "x"}, "agent_hints": {"osl": 17}}
    async with _served(_loaded("models.m.canary={}"), main=ANSWER) as (world, engines):
        reply = await _ask(world, CHAT | {"nvext": nvext}, x_weir_explain="1")
        told = _told(reply)
        assert (told["ttft_target_ms"], told["itl_target_ms"], told["osl"]) == (9000, 100, 17)
        assert told["ignored"] == {"nvext.router.itl_target": "malformed"}
        assert engines["main"].requests[-1].json["nvext"] == nvext


async def test_a_request_gets_the_class_that_it_asks_for() -> None:
    async with _served(_loaded("models.m.canary={}"), main=ANSWER) as (world, _):
        asked = {"x_weir_explain": "1", "x_llm_d_inference_objective": "batch"}
        assert _told(await _ask(world, CHAT, **asked))["class"] == "batch"
        asked["x_llm_d_inference_objective"] = "nope"
        told = _told(await _ask(world, CHAT, **asked))
        assert told["class"] == "chat"
        assert told["ignored"] == {"x-llm-d-inference-objective": "not_allowed"}


async def test_a_canary_gets_its_share_under_its_own_name() -> None:
    async with _served(_loaded(), main=ANSWER, canary=ANSWER) as (world, engines):
        one, two = engines["main"], engines["canary"]
        for model in ("m", "alias", "m", "alias"):
            assert (await world.post(CHAT | {"model": model})).status == 200
        assert [r.json["model"] for r in one.requests] == ["m", "m"]
        assert [r.json["model"] for r in two.requests] == ["next", "next"]


async def test_what_a_canary_cannot_hold_is_for_the_model_itself() -> None:
    long = CHAT | {"messages": [{"role": "user", "content": "x" * 6000}], "max_tokens": 9}
    loaded = _loaded("models.m.canary={next: 1}")
    async with _served(loaded, main=ANSWER, canary=ANSWER) as (world, engines):
        one, two = engines["main"], engines["canary"]
        assert (await world.post(long)).status == 200
        assert (await world.post(CHAT)).status == 200
        assert (len(one.requests), len(two.requests)) == (1, 1)
        assert (await world.post(long | {"model": "next"})).status == 400


async def test_a_gateway_may_ask_for_another_model() -> None:
    loaded = _loaded("models.m.canary={}")
    async with _served(loaded, main=ANSWER, canary=ANSWER) as (world, engines):
        one, two = engines["main"], engines["canary"]
        await _ask(world, CHAT, x_llm_d_model_name_rewrite="next")
        assert two.requests[-1].json == CHAT | {"model": "next"}
        assert "x-llm-d-model-name-rewrite" not in two.requests[-1].headers
        assert (await _ask(world, CHAT, x_llm_d_model_name_rewrite="nope")).status == 200
        assert one.requests[-1].json == CHAT
        metrics = (await world.get("/metrics")).payload.decode()
        labels = '{hint="x-llm-d-model-name-rewrite",reason="unknown"}'
        assert f"weir_router_hints_ignored_total{labels} 1.0" in metrics
