"""The clients that people use, against engines that answer in all the ways engines do."""

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from router.core.request import Outcome, Shed, ShedReason, WaitReason
from tests.integration.frontend.world import (
    CLASS,
    EVENT_STREAM,
    LAST,
    Behaviour,
    World,
    answers,
    chunk,
    engine,
    event,
    hangs_after,
    in_turn,
    refusing_worker,
    then_closes,
    whole,
    world,
)

QUESTION: Any = [{"role": "user", "content": "What is a weir?"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "level",
        "description": "The water's level",
        "parameters": {"type": "object", "properties": {"river": {"type": "string"}}},
    },
}
CALL = {
    "id": "call-1",
    "type": "function",
    "function": {"name": "level", "arguments": '{"river": "Isar \\u2013 upper"}'},
}


def choice(**fields: Any) -> dict[str, Any]:
    """A whole answer with this message."""
    message = {"role": "assistant", "content": None} | fields
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
    }


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    """One event of a stream."""
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": fields, "finish_reason": finish}],
    }


def streamed(*events: Any, done: bool = True) -> bytes:
    data = [chunk(event(each)) for each in events]
    return EVENT_STREAM + b"".join(data) + (chunk(event("[DONE]")) + LAST if done else b"")


WHOLE = whole(json.dumps(choice(content="a dam")).encode())
STREAM = streamed(
    delta(role="assistant", content=""), delta(content="a "), delta("stop", content="dam")
)


def asking(w: World, **settings: Any) -> openai.AsyncOpenAI:
    options: dict[str, Any] = {"timeout": 30.0, "max_retries": 0} | settings
    return openai.AsyncOpenAI(
        base_url=f"http://127.0.0.1:{w.port}/v1", api_key="secret-key", **options
    )


@asynccontextmanager
async def client(behaviour: Behaviour, **settings: Any) -> AsyncIterator[tuple[Any, Any, World]]:
    """An openai client, the engine that answers it, and what is between them."""
    async with engine(behaviour) as one, world([one]) as w, asking(w, **settings) as api:
        yield api.chat.completions, one, w


async def test_openai_async_gets_its_answer_and_keeps_its_connection() -> None:
    async with client(answers(WHOLE)) as (api, one, w):
        for _ in range(3):
            answer = await api.create(model="m", messages=QUESTION)
            assert answer.choices[0].message.content == "a dam"
            assert answer.usage.completion_tokens == 2
        assert answer._request_id == one.requests[-1].headers["x-request-id"]
        assert "authorization" not in one.requests[-1].headers
        assert (w.frontend.connections, one.connections) == (1, 1)


async def test_openai_async_reads_a_stream() -> None:
    async with client(answers(STREAM)) as (api, _, w):
        pieces = [
            piece.choices[0].delta.content
            async for piece in await api.create(model="m", messages=QUESTION, stream=True)
        ]
        assert pieces == ["", "a ", "dam"]
        assert (await w.ended()).output_tokens == 2


async def test_openai_sync_gets_an_answer_and_a_stream() -> None:
    def ask(port: int) -> tuple[str | None, list[str | None]]:
        with openai.OpenAI(
            base_url=f"http://127.0.0.1:{port}/v1", api_key="k", max_retries=0, timeout=30.0
        ) as api:
            answer = api.chat.completions.create(model="m", messages=QUESTION)
            stream = api.chat.completions.create(model="m", messages=QUESTION, stream=True)
            return answer.choices[0].message.content, [p.choices[0].delta.content for p in stream]

    async with engine(_by_stream(WHOLE, STREAM)) as one, world([one]) as w:
        assert await asyncio.to_thread(ask, w.port) == ("a dam", ["", "a ", "dam"])


def _by_stream(answer: bytes, stream: bytes) -> Behaviour:
    async def behave(reader: Any, writer: Any, request: Any) -> None:
        writer.write(stream if request.json.get("stream") else answer)

    return behave


async def test_many_openai_requests_at_once_get_their_own_answers() -> None:
    async def echo(reader: Any, writer: Any, request: Any) -> None:
        said = request.json["messages"][0]["content"]
        await asyncio.sleep(hash(said) % 5 / 1000)
        writer.write(whole(json.dumps(choice(content=said)).encode()))

    async def ask(api: Any, said: str) -> None:
        messages = [{"role": "user", "content": said}]
        answer = await api.create(model="m", messages=messages)
        assert answer.choices[0].message.content == said

    async with client(echo) as (api, _, _):
        await asyncio.gather(*(ask(api, f"question {number}") for number in range(60)))


async def test_tools_and_calls_pass_in_both_directions_as_they_are() -> None:
    answer = whole(json.dumps(choice(tool_calls=[CALL])).encode())
    calls = [
        {"index": 0, **CALL, "function": {"name": "level", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"river": '}},
        {"index": 0, "function": {"arguments": '"Isar"}'}},
    ]
    stream = streamed(*(delta(tool_calls=[each]) for each in calls), delta("tool_calls"))
    messages: Any = [
        *QUESTION,
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call-1", "content": "3 m"},
    ]
    asked: Any = {
        "model": "m",
        "messages": messages,
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "level"}},
        "parallel_tool_calls": False,
        "response_format": {"type": "json_object"},
        "extra_body": {"guided_json": {"type": "object"}},
    }
    async with client(_by_stream(answer, stream)) as (api, one, _):
        got = await api.create(**asked)
        assert got.choices[0].message.tool_calls[0].model_dump() == CALL
        pieces = [
            piece.choices[0].delta.tool_calls[0].function.arguments
            async for piece in await api.create(**asked, stream=True)
            if piece.choices[0].delta.tool_calls
        ]
        assert "".join(pieces) == '{"river": "Isar"}'
        for request in one.requests:
            seen = request.json
            assert (seen["messages"], seen["tools"]) == (messages, [TOOL])
            assert seen["tool_choice"] == asked["tool_choice"]
            assert seen["guided_json"] == {"type": "object"}
            assert not seen["parallel_tool_calls"]


SHED = Shed(
    request_class=CLASS,
    reason=ShedReason.QUEUE_FULL,
    waited_for=WaitReason.NO_ROOM,
    retry_after_s=1.0,
)
ERROR = b'{"error":{"message":"said by the engine","type":"t","param":"p","code":"c"}}'


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_engines_error_raises_what_openai_raises_for_it(
    status: int, kind: type[openai.APIStatusError], stream: bool
) -> None:
    async with client(answers(whole(ERROR, b"%d Error" % status))) as (api, _, _):
        with pytest.raises(kind) as raised:
            await api.create(model="m", messages=QUESTION, stream=stream)
        error = raised.value
        assert type(error) is kind
        assert error.status_code == status
        assert "said by the engine" in error.message
        assert (error.type, error.param, error.code) == ("t", "p", "c")
        assert error.request_id


async def test_the_routers_own_errors_raise_what_openai_raises_for_them() -> None:
    async with client(answers(WHOLE)) as (api, one, w):
        with pytest.raises(openai.NotFoundError) as missing:
            await api.create(model="none", messages=QUESTION)
        assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
        with pytest.raises(openai.BadRequestError) as wrong:
            await api.create(model="m", messages=QUESTION, max_tokens=0)
        assert wrong.value.param == "max_tokens"
        with pytest.raises(openai.BadRequestError) as empty:
            await api.create(model="m", messages=[])
        assert empty.value.type == "invalid_request_error"
        async with asking(w) as other:
            with pytest.raises(openai.NotFoundError):
                await other.embeddings.create(model="m", input="x")
            with pytest.raises(openai.NotFoundError) as unknown:
                await other.models.retrieve("none")
            assert unknown.value.code == "model_not_found"
            assert [model.id async for model in other.models.list()] == ["m", "alias"]
        assert not one.requests


async def test_a_body_over_the_limit_raises_its_status() -> None:
    async with (
        engine(answers(WHOLE)) as one,
        world([one], max_body_bytes=1000) as w,
        asking(w) as api,
    ):
        with pytest.raises(openai.APIStatusError) as raised:
            long: Any = [{"role": "user", "content": "x" * 100_000}]
            await api.chat.completions.create(model="m", messages=long)
        assert raised.value.status_code == 413


async def test_engines_that_cannot_be_reached_raise_a_server_error() -> None:
    async with world([refusing_worker()]) as w, asking(w) as api:
        with pytest.raises(openai.InternalServerError) as raised:
            await api.chat.completions.create(model="m", messages=QUESTION)
        assert (raised.value.status_code, raised.value.type) == (502, "upstream_error")
        assert "refusing" in raised.value.message


async def test_an_engine_that_does_not_begin_in_time_raises_a_server_error() -> None:
    async with (
        engine(hangs_after()) as one,
        world([one], first_byte_timeout_s=0.2) as w,
        asking(w) as api,
    ):
        with pytest.raises(openai.InternalServerError) as raised:
            await api.chat.completions.create(model="m", messages=QUESTION)
        assert (raised.value.status_code, raised.value.type) == (504, "upstream_timeout")


async def test_openai_retries_what_was_shed_when_it_was_told_to() -> None:
    async with engine(answers(WHOLE)) as one, world([one], shed=SHED) as w:
        async with asking(w) as api:
            with pytest.raises(openai.InternalServerError) as raised:
                await api.chat.completions.create(model="m", messages=QUESTION)
            assert raised.value.code == "overloaded"
            assert raised.value.response.headers["retry-after"] == "1"
        async with asking(w, max_retries=1) as patient:
            asked = asyncio.create_task(
                patient.chat.completions.create(model="m", messages=QUESTION)
            )
            await (await _flight(w, 2)).done.wait()
            w.service._shed = None
            assert (await asked).choices[0].message.content == "a dam"
        assert [flight.outcome for flight in w.service.flights] == [
            *[Outcome.SHED] * 2,
            Outcome.COMPLETED,
        ]


async def test_openai_waits_as_long_as_an_engine_says() -> None:
    busy = whole(ERROR, b"429 Too Many Requests", extra=b"retry-after: 2\r\n")
    async with client(in_turn(answers(busy), answers(WHOLE)), max_retries=1) as (api, one, _):
        began_s = time.monotonic()
        assert (await api.create(model="m", messages=QUESTION)).choices[0].message.content
        assert time.monotonic() - began_s >= 2.0
        assert len(one.requests) == 2


async def _flight(w: World, number: int) -> Any:
    async with asyncio.timeout(30.0):
        while len(w.service.flights) < number:
            await asyncio.sleep(0.002)
    return w.service.flights[number - 1]


async def test_a_stream_that_breaks_raises_with_the_routers_words_after_what_came() -> None:
    async with client(then_closes(streamed(delta(content="a "), done=False))) as (api, _, w):
        got = []
        with pytest.raises(openai.APIError, match="the engine's stream broke"):
            async for piece in await api.create(model="m", messages=QUESTION, stream=True):
                got.append(piece.choices[0].delta.content)
        assert got == ["a "]
        assert (await w.ended()).outcome is Outcome.FAILED


async def test_a_stream_that_breaks_inside_of_a_chunk_is_no_end_either() -> None:
    cut = then_closes(streamed(delta(content="a "), done=False) + b"40\r\ndata: {")
    async with client(cut) as (api, _, w):
        with pytest.raises(openai.APIConnectionError):
            async for _ in await api.create(model="m", messages=QUESTION, stream=True):
                pass
        assert (await w.ended()).outcome is Outcome.FAILED


async def test_an_error_event_of_an_engine_raises_its_message() -> None:
    data = streamed(delta(content="a "), {"error": {"message": "out of memory", "code": 500}})
    async with client(answers(data)) as (api, _, w):
        with pytest.raises(openai.APIError, match="out of memory"):
            async for _ in await api.create(model="m", messages=QUESTION, stream=True):
                pass
        assert (await w.ended()).outcome is Outcome.FAILED


async def test_a_stream_that_openai_leaves_frees_its_engine() -> None:
    token = chunk(event(delta(content="a ")))
    async with client(hangs_after(EVENT_STREAM + token)) as (api, one, w):
        stream = await api.create(model="m", messages=QUESTION, stream=True)
        async for _ in stream:
            break
        await stream.close()
        await asyncio.wait_for(one.gone.wait(), 30.0)
        assert (await w.ended()).outcome is Outcome.CANCELLED


async def test_a_timeout_of_openai_frees_its_engine() -> None:
    async with client(hangs_after(), timeout=0.2) as (api, one, w):
        with pytest.raises(openai.APITimeoutError):
            await api.create(model="m", messages=QUESTION)
        await asyncio.wait_for(one.gone.wait(), 30.0)
        assert (await w.ended()).outcome is Outcome.CANCELLED


# curl.

BODY = json.dumps({"model": "m", "messages": QUESTION})
STREAMING = json.dumps({"model": "m", "messages": QUESTION, "stream": True})
_MARK = "\n--\n"


async def curl(w: World, body: str, *options: str, urls: int = 1) -> tuple[int, str, list[str]]:
    """curl's exit code, its output, and status and connections made of each transfer."""
    process = await asyncio.create_subprocess_exec(
        *("curl", "-sS", "--max-time", "30", "-H", "content-type: application/json"),
        *("-w", _MARK + "%{http_code} %{num_connects}\n", *options),
        *[f"http://127.0.0.1:{w.port}/v1/chat/completions"] * urls,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(body.encode()), 60.0)
    text, *told = out.decode().split(_MARK)
    assert process.returncode is not None
    return process.returncode, text, [each.split("\n")[0] for each in told]


FORMS = {
    "plainly": ("--data-binary", "@-"),
    "in chunks": ("--data-binary", "@-", "-H", "transfer-encoding: chunked"),
    "asking first": ("--data-binary", "@-", "-H", "expect: 100-continue"),
    "in HTTP/1.0": ("--data-binary", "@-", "--http1.0"),
    "offering HTTP/2": ("--data-binary", "@-", "--http2"),
    "taking compression": ("--data-binary", "@-", "--compressed"),
    "through a proxy": ("--data-binary", "@-", "-H", "via: 1.1 x", "-H", "x-forwarded-for: ::1"),
}


@pytest.mark.needs("curl")
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
async def test_curl_asks_in_any_form_and_gets_the_same(form: tuple[str, ...]) -> None:
    async with engine(_by_stream(WHOLE, STREAM)) as one, world([one]) as w:
        code, text, told = await curl(w, BODY, *form)
        assert (code, told) == (0, ["200 1"])
        assert json.loads(text) == choice(content="a dam")
        code, text, told = await curl(w, STREAMING, "--no-buffer", *form)
        assert (code, told) == (0, ["200 1"])
        assert [line for line in text.splitlines() if line][-1] == "data: [DONE]"
        assert [request.body.decode() for request in one.requests] == [BODY, STREAMING]


@pytest.mark.needs("curl")
async def test_curl_is_told_to_go_on_before_it_sends_a_large_body() -> None:
    large = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 3_000_000}]})
    expecting = ("--data-binary", "@-", "-H", "expect: 100-continue", "--expect100-timeout", "29")
    async with engine(answers(WHOLE)) as one, world([one]) as w:
        code, text, told = await curl(w, large, *expecting, "-i")
        assert (code, told) == (0, ["200 1"])
        assert text.startswith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")
        assert one.requests[0].body.decode() == large
        assert "expect" not in one.requests[0].headers
    async with engine(answers(WHOLE)) as one, world([one], max_body_bytes=1_000_000) as w:
        code, text, told = await curl(w, large, *expecting, "-i")
        assert (code, told) == (0, ["413 1"])
        assert "100 Continue" not in text
        assert not one.requests


@pytest.mark.needs("curl")
@pytest.mark.parametrize(("path", "status"), [("v1/models", 200), ("metrics", 200), ("none", 404)])
async def test_curl_asks_for_the_head_alone(path: str, status: int) -> None:
    async with world([refusing_worker()]) as w:
        url = f"http://127.0.0.1:{w.port}/{path}"
        process = await asyncio.create_subprocess_exec(
            *("curl", "-sS", "--max-time", "30", "--head", url, url),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await asyncio.wait_for(process.communicate(), 60.0)
        assert process.returncode == 0
        heads = [head for head in out.decode().split("\r\n\r\n") if head]
        assert [head.split(" ")[1] for head in heads] == [str(status)] * 2
        assert "content-length: " in heads[0]


@pytest.mark.needs("curl")
async def test_curl_gets_what_an_engine_compressed() -> None:
    packed = gzip.compress(json.dumps(choice(content="a dam")).encode())
    asked: list[str | None] = []

    async def compress(reader: Any, writer: Any, request: Any) -> None:
        asked.append(request.headers.get("accept-encoding"))
        plain = whole(json.dumps(choice(content="a dam")).encode())
        writer.write(whole(packed, extra=b"content-encoding: gzip\r\n") if asked[-1] else plain)

    async with engine(compress) as one, world([one]) as w:
        code, text, told = await curl(w, BODY, "--data-binary", "@-", "--compressed")
        assert (code, told) == (0, ["200 1"])
        assert json.loads(text) == choice(content="a dam")


@pytest.mark.needs("curl")
async def test_curl_uses_one_connection_for_several_requests() -> None:
    async with engine(answers(WHOLE)) as one, world([one]) as w:
        code, _, told = await curl(w, "", "--data-binary", BODY, urls=3)
        assert code == 0
        assert [each.split()[0] for each in told] == ["200"] * 3
        assert [each.split()[1] for each in told] == ["1", "0", "0"]


@pytest.mark.needs("curl")
async def test_curl_sees_a_broken_response_as_broken() -> None:
    cut = then_closes(EVENT_STREAM + chunk(event(delta(content="a "))) + b"40\r\ndata: {")
    async with engine(cut) as one, world([one]) as w:
        code, text, _ = await curl(w, STREAMING, "--data-binary", "@-")
        assert code in (18, 56)  # partial file, receive error
        assert text.startswith("data: ")


@pytest.mark.needs("curl")
async def test_curl_with_fail_fails_at_an_error() -> None:
    async with engine(answers(WHOLE)) as one, world([one]) as w:
        code, _, told = await curl(w, "{", "--data-binary", "@-", "--fail-with-body")
        assert (code, told) == (22, ["400 1"])
