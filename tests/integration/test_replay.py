"""The replay's client against a server that answers well, badly, late or not at all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import orjson
import pytest

from weir.domain.ids import ModelName
from weir.http1.messages import Limits, Request
from weir.http1.openai import SSE_DONE, SSE_TYPE, error_headers, openai_error, sse_error, sse_event
from weir.http1.responder import Responder
from weir.http1.server import Server, serve
from weir.local.replay import Replay
from weir.local.scoring import Outcome
from weir.runtime.clock import Clock
from weir.runtime.lifecycle import Stop
from weir.workload import TraceRequest

Answer = Callable[[dict, Responder], Awaitable[None]]


class Upstream:
    """Answers by `answer`, remembers what it was asked."""

    def __init__(self) -> None:
        self.bodies: list[dict] = []
        self.answer: Answer = complete
        self._tasks: set[asyncio.Task[None]] = set()

    def handle(self, request: Request, responder: Responder) -> None:
        body = orjson.loads(request.body)
        self.bodies.append(body)
        task = asyncio.ensure_future(self.answer(body, responder))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def token(text: str) -> bytes:
    return sse_event(orjson.dumps({"choices": [{"delta": {"content": text}}]}))


def usage(tokens: int) -> bytes:
    return sse_event(orjson.dumps({"choices": [], "usage": {"completion_tokens": tokens}}))


def wanted(body: dict) -> int:
    return body["vllm_xargs"]["mock_output_tokens"]


async def stream(responder: Responder, *events: bytes) -> None:
    responder.start(200, [(b"content-type", SSE_TYPE)])
    for event in events:
        responder.write(event)
        await asyncio.sleep(0)
    responder.finish()


async def complete(body: dict, responder: Responder) -> None:
    tokens = wanted(body)
    await stream(responder, token(""), *[token(" tok")] * tokens, usage(tokens), SSE_DONE)


async def shed(body: dict, responder: Responder) -> None:
    responder.send(503, error_headers(3.0), openai_error(503, "no worker is ready"))


async def unavailable(body: dict, responder: Responder) -> None:
    responder.send(503, error_headers(), openai_error(503, "broken"))


async def in_band_error(body: dict, responder: Responder) -> None:
    await stream(responder, token(" tok"), sse_error(502, "the engine went away"))


async def cut_off(body: dict, responder: Responder) -> None:
    responder.start(200, [(b"content-type", SSE_TYPE)])
    responder.write(token(" tok"))
    await asyncio.sleep(0.05)
    responder.abort()


async def too_few(body: dict, responder: Responder) -> None:
    tokens = wanted(body) - 1
    await stream(responder, *[token(" tok")] * tokens, usage(tokens), SSE_DONE)


async def swallowed(body: dict, responder: Responder) -> None:
    tokens = wanted(body)
    await stream(responder, *[token(" tok")] * (tokens - 1), usage(tokens), SSE_DONE)


async def never(body: dict, responder: Responder) -> None:
    responder.start(200, [(b"content-type", SSE_TYPE)])
    responder.write(token(" tok"))


@pytest.fixture
async def upstream() -> AsyncIterator[tuple[Upstream, Server]]:
    behaviour = Upstream()
    server = await serve(behaviour.handle, "127.0.0.1", 0, limits=Limits())
    yield behaviour, server
    server.close()


def replay(server: Server, rows: int = 1, *, every_s: float = 0.0, speed: float = 1.0) -> Replay:
    requests = [
        TraceRequest(timestamp_s=index * every_s, isl_tokens=50, osl_tokens=5)
        for index in range(rows)
    ]
    return Replay(
        host="127.0.0.1",
        port=server.port,
        model=ModelName("m"),
        requests=requests,
        clock=Clock(speed=speed, origin_s=Clock.wall_s()),
    )


async def test_a_request_carries_the_rows_lengths(upstream: tuple[Upstream, Server]) -> None:
    behaviour, server = upstream
    await replay(server).run(Stop())
    (body,) = behaviour.bodies
    assert wanted(body) == 5
    # 46 tokens of four bytes each and four for the chat template make 50.
    assert len(body["messages"][0]["content"]) == 46 * 4
    assert body["stream_options"] == {"include_usage": True}


async def test_a_complete_stream_is_timed_to_its_first_real_token(
    upstream: tuple[Upstream, Server],
) -> None:
    behaviour, server = upstream

    async def slow(body: dict, responder: Responder) -> None:
        responder.start(200, [(b"content-type", SSE_TYPE)])
        responder.write(token(""))
        await asyncio.sleep(0.1)
        for _ in range(5):
            responder.write(token(" tok"))
        await asyncio.sleep(0.05)
        responder.write(usage(5) + SSE_DONE)
        responder.finish()

    behaviour.answer = slow
    run = replay(server, speed=10.0)
    began_s = Clock.wall_s()
    await run.run(Stop())
    took_s = Clock.wall_s() - began_s
    (record,) = run.records
    assert record.outcome is Outcome.COMPLETED
    assert record.first_token_s is not None
    assert record.end_s is not None
    # A tenth of a wall second is one model second at speed 10.
    assert record.first_token_s > 0.9
    assert record.first_token_s + 0.4 < record.end_s <= took_s * 10.0


@pytest.mark.parametrize(
    ("answer", "outcome", "reason"),
    [
        (shed, Outcome.SHED, "status 503: no worker is ready"),
        (unavailable, Outcome.FAILED, "status 503: broken"),
        (in_band_error, Outcome.FAILED, "error in the stream: the engine went away"),
        (cut_off, Outcome.FAILED, "the connection was lost"),
        (too_few, Outcome.FAILED, "4 of 5 tokens"),
        (swallowed, Outcome.FAILED, "5 tokens claimed, 6 events received"),
    ],
)
async def test_what_is_not_a_complete_answer_is_told_apart(
    upstream: tuple[Upstream, Server], answer: Answer, outcome: Outcome, reason: str
) -> None:
    behaviour, server = upstream
    behaviour.answer = answer
    run = replay(server)
    await run.run(Stop())
    assert [record.outcome for record in run.records] == [outcome]
    assert next(iter(run.progress.reasons)).startswith(reason)


async def test_nobody_listening_is_a_failure_not_an_end(upstream: tuple[Upstream, Server]) -> None:
    _, server = upstream
    server.close()
    run = replay(server, rows=3)
    await run.run(Stop())
    assert [record.outcome for record in run.records] == [Outcome.FAILED] * 3


async def test_arrivals_follow_the_trace_and_end_with_the_submission(
    upstream: tuple[Upstream, Server],
) -> None:
    _, server = upstream
    run = replay(server, rows=100, every_s=0.1, speed=2.0)
    started_s = Clock.wall_s()
    await run.run(Stop(), for_s=0.5, drain_s=1000.0)
    # One request every 50 wall ms, the first at once: ten in half a second.
    assert run.progress.sent == 10
    assert run.submission_s == pytest.approx(1.0, abs=1e-3)
    assert 0.5 <= Clock.wall_s() - started_s < 100.0


async def test_what_does_not_end_within_the_drain_is_cancelled(
    upstream: tuple[Upstream, Server],
) -> None:
    behaviour, server = upstream
    behaviour.answer = never
    run = replay(server, rows=2)
    await run.run(Stop(), for_s=0.1, drain_s=0.2)
    assert [record.outcome for record in run.records] == [Outcome.CANCELLED] * 2
    assert run.progress.in_flight == 0


async def test_what_the_user_stops_is_told_apart(upstream: tuple[Upstream, Server]) -> None:
    behaviour, server = upstream
    behaviour.answer = never
    run, stop = replay(server, rows=100, every_s=0.01), Stop()
    asyncio.get_running_loop().call_later(0.2, stop.set)
    await run.run(stop)
    outcomes = {record.outcome for record in run.records}
    assert outcomes == {Outcome.STOPPED}
    assert len(run.records) == run.progress.sent
