"""The public endpoint: what it offers, what it refuses, and how it goes down."""

import asyncio
import json
from typing import Any

import pytest

from router.core.flight import Flight
from router.core.request import Outcome, RequestProfile
from tests.integration.frontend.world import (
    CHAT,
    EVENT_STREAM,
    LAST,
    STREAM,
    World,
    answers,
    chunk,
    engine,
    event,
    hangs_after,
    whole,
    world,
)

ANSWER = whole(b'{"choices":[]}')
CHAT_PATH, COMPLETIONS = "/v1/chat/completions", "/v1/completions"


async def test_models_are_listed_with_their_aliases() -> None:
    async with engine(answers(ANSWER)) as one, world([one]) as w:
        listed = (await w.get("/v1/models")).json
        assert listed["object"] == "list"
        assert [model["id"] for model in listed["data"]] == ["m", "alias"]
        assert (await w.get("/v1/models/alias")).json["object"] == "model"
        assert (await w.get("/v1/models/none")).error["code"] == "model_not_found"


async def test_health_and_metrics_are_served() -> None:
    async with engine(answers(ANSWER)) as one, world([one]) as w:
        assert (await w.get("/livez")).status == 200
        assert (await w.get("/readyz")).status == 200
        w.service.missing = "no decode worker is ready"
        ready = await w.get("/readyz")
        assert (ready.status, ready.body) == (503, b"no decode worker is ready\n")
        metrics = await asyncio.gather(*(w.get("/metrics") for _ in range(5)))
        assert {reply.body for reply in metrics} == {b"weir_up 1\n"}


async def test_what_is_not_there_is_said_in_the_envelope() -> None:
    async with engine(answers(ANSWER)) as one, world([one]) as w:
        missing = await w.get("/v2/nothing")
        assert (missing.status, missing.error["code"]) == (404, "not_found")
        wrong = await w.get(CHAT_PATH)
        assert (wrong.status, wrong.headers["allow"]) == (405, "POST")
        assert wrong.error["code"] == "method_not_allowed"
        assert w.meter.rejections == [404, 405]


def deep(levels: int) -> Any:
    """An array in an array, and so on."""
    return [deep(levels - 1)] if levels else 1


BAD = [
    (CHAT_PATH, b"", None),
    (CHAT_PATH, b"{", None),
    (CHAT_PATH, b'{"model":"m"} x', None),
    (CHAT_PATH, b"\xff\xfe", None),
    (CHAT_PATH, b"[]", None),
    (CHAT_PATH, b"null", None),
    (CHAT_PATH, b"[" * 5000, None),
    (CHAT_PATH, CHAT | {"tools": [deep(300)]}, None),
    (CHAT_PATH, {"messages": CHAT["messages"]}, "model"),
    (CHAT_PATH, CHAT | {"model": 3}, "model"),
    (CHAT_PATH, CHAT | {"model": ""}, "model"),
    (CHAT_PATH, {"model": "m"}, "messages"),
    (CHAT_PATH, CHAT | {"messages": []}, "messages"),
    (CHAT_PATH, CHAT | {"messages": "hi"}, "messages"),
    (CHAT_PATH, CHAT | {"messages": ["hi"]}, "messages[0]"),
    (CHAT_PATH, CHAT | {"messages": [{"content": "hi"}]}, "messages[0].role"),
    (CHAT_PATH, CHAT | {"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    (CHAT_PATH, CHAT | {"max_tokens": 0}, "max_tokens"),
    (CHAT_PATH, CHAT | {"max_tokens": "9"}, "max_tokens"),
    (CHAT_PATH, CHAT | {"max_tokens": True}, "max_tokens"),
    (CHAT_PATH, CHAT | {"max_tokens": 1.5}, "max_tokens"),
    (CHAT_PATH, CHAT | {"max_completion_tokens": -1}, "max_completion_tokens"),
    (CHAT_PATH, CHAT | {"stream": "yes"}, "stream"),
    (CHAT_PATH, CHAT | {"stream": 1}, "stream"),
    (CHAT_PATH, CHAT | {"stream_options": {}}, "stream_options"),
    (CHAT_PATH, STREAM | {"stream_options": []}, "stream_options"),
    (CHAT_PATH, CHAT | {"n": 0}, "n"),
    (CHAT_PATH, CHAT | {"n": 1000}, "n"),
    (CHAT_PATH, CHAT | {"tools": {}}, "tools"),
    (COMPLETIONS, {"model": "m"}, "prompt"),
    (COMPLETIONS, {"model": "m", "prompt": 3}, "prompt"),
    (COMPLETIONS, {"model": "m", "prompt": []}, "prompt"),
    (COMPLETIONS, {"model": "m", "prompt": [1, "a"]}, "prompt"),
    (COMPLETIONS, {"model": "m", "prompt": [True]}, "prompt"),
    (COMPLETIONS, {"model": "m", "prompt": [1, -1]}, "prompt"),
    (COMPLETIONS, {"model": "m", "prompt": [[1], []]}, "prompt[1]"),
]


async def test_bad_input_gets_a_400_that_names_the_field() -> None:
    async with engine(answers(ANSWER)) as one, world([one]) as w:
        client = await w.connect()  # a refused request leaves its connection in order
        for path, body, param in BAD:
            client.send(body, path)
            reply = await client.reply()
            assert (reply.status, reply.error["param"]) == (400, param), body
            assert reply.error["type"] == "invalid_request_error"
            assert "x-request-id" in reply.headers
        assert w.meter.rejections == [400] * len(BAD)
        assert not one.requests


async def test_an_unknown_model_is_a_404() -> None:
    async with engine(answers(ANSWER)) as one, world([one]) as w:
        reply = await w.post(CHAT | {"model": "nope"})
        assert (reply.status, reply.error["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("value", ["", "abc", "-5", "0", "nan", "inf"])
async def test_a_target_that_is_no_number_is_ignored_and_counted(value: str) -> None:
    async with engine(answers(ANSWER)) as one, world([one]) as w:
        reply = await w.post(CHAT, headers=f"x-slo-ttft-ms: {value}\r\n")
        assert (reply.status, w.flight.profile.ttft_s) == (200, None)
        assert [name for name, _ in w.meter.ignored_hints] == ["x-slo-ttft-ms"]


async def test_the_profile_says_what_the_request_says() -> None:
    headers = (
        "x-llm-d-slo-ttft-ms: 500\r\nx-slo-ttft-ms: 9\r\nx-slo-tpot-ms: 30\r\n"
        "x-gateway-inference-fairness-id: team-a\r\n"
    )
    parts = [{"type": "text", "text": "\u00e4b"}, {"type": "image_url", "image_url": {}}]
    request = STREAM | {
        "messages": [{"role": "system", "content": "abc"}, {"role": "user", "content": parts}],
        "max_tokens": 5,
        "max_completion_tokens": 6,
        "priority": 2,
    }
    async with engine(answers(ANSWER)) as one, world([one]) as w:
        await w.post(request, headers=headers)
        profile = w.flight.profile
        assert (profile.model, profile.prompt_bytes, profile.streaming) == ("m", 6, True)
        assert (profile.max_tokens, profile.priority, profile.tenant) == (6, 2, "team-a")
        assert (profile.ttft_s, profile.itl_s) == (0.5, 0.03)
        await w.post({"model": "m", "prompt": [5, 6, 7]}, COMPLETIONS)
        profile = w.flight.profile
        assert (profile.isl_tokens, profile.isl_exact, profile.max_tokens) == (3, True, None)


async def test_a_compressed_request_is_refused() -> None:
    async with engine(answers(ANSWER)) as one, world([one]) as w:
        assert (await w.post(CHAT, headers="content-encoding: gzip\r\n")).status == 415


async def test_draining_fails_readiness_first_and_finishes_what_runs() -> None:
    release = asyncio.Event()

    async def behave(reader: Any, writer: asyncio.StreamWriter, request: Any) -> None:
        writer.write(EVENT_STREAM + chunk(event("a")))
        await release.wait()
        writer.write(chunk(event("[DONE]")) + LAST)

    async with engine(behave) as one, world([one]) as w:
        busy, idle = await w.connect(), await w.connect()
        busy.send(STREAM)
        await busy.head()
        drain = asyncio.create_task(w.frontend.drain(30.0, notice_s=1.0))
        await asyncio.sleep(0.02)
        assert (await w.get("/readyz")).body == b"draining\n"
        assert await idle.rest() == b""
        with pytest.raises(ConnectionError):
            await w.connect()
        release.set()
        assert await drain
        assert (await busy.rest()).endswith(LAST)
        assert (await w.ended()).outcome is Outcome.COMPLETED


def closes_with(w: World, number: int, monkeypatch: pytest.MonkeyPatch) -> list[asyncio.Task[None]]:
    """Close the frontend while it takes this request, before any task has its next step."""
    opened = w.service.open
    closing: list[asyncio.Task[None]] = []

    def open_and_close(profile: RequestProfile, now_s: float) -> Flight:
        flight = opened(profile, now_s)
        if len(w.service.flights) == number:
            closing.append(asyncio.create_task(w.frontend.close()))
        return flight

    monkeypatch.setattr(w.service, "open", open_and_close)
    return closing


async def test_a_request_that_comes_right_before_the_end_gets_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with engine(answers(ANSWER)) as one, world([one]) as w:
        closing = closes_with(w, 1, monkeypatch)
        assert (await w.post(CHAT)).status == 503
        assert (await w.ended()).outcome is Outcome.FAILED
        assert not one.requests
        await closing[0]


async def test_nothing_is_added_to_a_stream_that_ends_as_the_router_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = (chunk(event("t")), chunk(event("[DONE]")) + LAST)
    async with engine(answers(EVENT_STREAM, *stream)) as one, world([one]) as w:
        # The second request is taken in the very step in which the first one's answer ends.
        closing = closes_with(w, 2, monkeypatch)
        client = await w.connect()
        client.send(STREAM)
        client.send(STREAM)
        assert (await client.reply()).body == b"".join(stream)
        assert (await client.reply()).status == 503
        await closing[0]
        outcomes = [flight.outcome for flight in w.service.flights]
        assert outcomes == [Outcome.COMPLETED, Outcome.FAILED]


async def test_what_does_not_finish_draining_in_time_is_broken_off() -> None:
    async with engine(hangs_after(EVENT_STREAM, chunk(event("a")))) as one, world([one]) as w:
        client = await w.connect()
        client.send(STREAM)
        await client.head()
        assert not await w.frontend.drain(0.2)
        assert b'data: {"error":{"message":"the router is shutting down"' in await client.rest()
        assert (await w.ended()).outcome is Outcome.FAILED
        await asyncio.wait_for(one.gone.wait(), 30)


async def test_requests_on_one_connection_are_answered_in_order() -> None:
    async def behave(reader: Any, writer: asyncio.StreamWriter, request: Any) -> None:
        size = len(request.json["messages"][0]["content"])
        await asyncio.sleep(0.05 / size)  # the first one is the slowest
        writer.write(whole(json.dumps({"size": size}).encode()))

    async with engine(behave) as one, world([one]) as w:
        client = await w.connect()
        for size in range(1, 6):
            client.send(CHAT | {"messages": [{"role": "user", "content": "x" * size}]})
        sizes = [(await client.reply()).json["size"] for _ in range(5)]
        assert sizes == [1, 2, 3, 4, 5]


async def test_a_body_over_the_limit_gets_a_413_that_can_be_read() -> None:
    async with engine(answers(ANSWER)) as one, world([one]) as w:
        reply = await w.post(b"x" * 20_000_000)  # written in full before the answer is read
        assert reply.status == 413
        assert "16777216" in reply.error["message"]
        assert reply.headers["connection"] == "close"
        assert w.meter.rejections == [413]
