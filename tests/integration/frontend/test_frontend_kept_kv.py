"""KV that a prefill leg has left at its engine: fetched whatever happens, or else counted."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from router.core.request import (
    Leg,
    Outcome,
    RequestProfile,
    RetryReason,
    Route,
    Shed,
    ShedReason,
    Wait,
    WaitReason,
)
from router.frontend import delivery
from router.frontend.ports import KeptKv
from tests.integration.frontend.world import (
    CHAT,
    CLASS,
    EVENT_STREAM,
    LAST,
    STREAM,
    Behaviour,
    Received,
    ScriptedService,
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
from weir.domain.fleet import Stage
from weir.domain.ids import WorkerId

PARAMS = {"do_remote_prefill": True, "remote_host": "h", "remote_port": 1}
REPLY: dict[str, Any] = {"choices": [], "kv_transfer_params": PARAMS}
PREFILLED = answers(whole(json.dumps(REPLY).encode()))
STREAMED = answers(EVENT_STREAM + chunk(event("t")) + chunk(event("[DONE]")) + LAST)
ANSWER = answers(whole(b'{"choices":[]}'))
RELEASE = CHAT | {"stream": False, "max_tokens": 1, "kv_transfer_params": PARAMS}
SHED = Shed(
    request_class=CLASS,
    reason=ShedReason.QUEUE_TIMEOUT,
    waited_for=WaitReason.NO_ROOM,
    retry_after_s=1.0,
)


def fails(status: bytes) -> Behaviour:
    return answers(whole(b'{"error":{"message":"from the engine"}}', status))


def answers_when(asked: asyncio.Event, then: Behaviour) -> Behaviour:
    async def behave(reader: Any, writer: Any, request: Received) -> None:
        await asked.wait()
        await then(reader, writer, request)

    return behave


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10.0):
        while not holds():
            await asyncio.sleep(0.005)


async def leaves_when(w: World, holds: Callable[[], object], body: Any = STREAM) -> None:
    """A client that goes away at that moment."""
    client = await w.connect()
    client.send(body)
    await until(holds)
    client.close()
    assert (await w.ended()).outcome is Outcome.CANCELLED


class Holding(ScriptedService):
    """Whoever has been prefilled and needs another decode worker waits for ever, or is shed."""

    then: Shed | None = None

    async def place(
        self,
        flight: Any,
        exclude: frozenset[WorkerId] = frozenset(),
        prefilled: Leg | None = None,
    ) -> Route | Shed:
        if prefilled is None:
            return await super().place(flight, exclude, prefilled)
        self.placed.append((exclude, prefilled))
        if self.then is not None:
            return self.then
        await asyncio.Event().wait()
        raise AssertionError


class Shedding(Holding):
    then = SHED


class Nowhere(Shedding):
    def decide(
        self,
        profile: RequestProfile,
        now_s: float,
        exclude: frozenset[WorkerId] = frozenset(),
        prefilled: Leg | None = None,
    ) -> Route | Wait:
        return Wait(
            request_class=CLASS,
            isl_tokens=1,
            osl_tokens=1,
            reason=WaitReason.NO_WORKER,
            stage=Stage.DECODE,
        )


async def test_who_leaves_during_the_prefill_leg_leaves_nothing_behind() -> None:
    async with (
        engine(hangs_after()) as pre,
        engine(STREAMED) as dec,
        world([dec], [pre]) as w,
    ):
        await leaves_when(w, lambda: pre.requests)
        await asyncio.wait_for(pre.gone.wait(), 5.0)
        assert (dec.requests, w.meter.kept) == ([], [])


async def test_a_decode_leg_whose_client_leaves_is_broken_off_once_it_is_answered() -> None:
    asked = asyncio.Event()
    async with (
        engine(PREFILLED) as pre,
        engine(answers_when(asked, hangs_after(EVENT_STREAM))) as dec,
        world([dec], [pre]) as w,
    ):
        await leaves_when(w, lambda: dec.requests)
        await asyncio.sleep(0.05)
        assert not dec.gone.is_set()
        assert dec.requests[0].json == STREAM | {"kv_transfer_params": PARAMS}
        asked.set()
        await asyncio.wait_for(dec.gone.wait(), 5.0)
        await until(lambda: w.meter.kept == [KeptKv.RELEASED])
        assert len(pre.requests) == 1


async def test_a_decode_leg_that_does_not_stream_gets_some_time_to_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery, "_RELEASE_S", 0.2)
    async with (
        engine(PREFILLED) as pre,
        engine(hangs_after()) as dec,
        world([dec], [pre]) as w,
    ):
        await leaves_when(w, lambda: dec.requests, CHAT)
        await asyncio.sleep(0.05)
        assert not dec.gone.is_set()
        await asyncio.wait_for(dec.gone.wait(), 5.0)
        await until(lambda: w.meter.kept == [KeptKv.RELEASED])


async def test_a_leg_that_is_refused_after_its_client_left_goes_elsewhere() -> None:
    asked = asyncio.Event()
    async with (
        engine(PREFILLED) as pre,
        engine(answers_when(asked, fails(b"503 X")), "busy") as busy,
        engine(ANSWER, "free") as free,
        world([busy, free], [pre]) as w,
    ):
        await leaves_when(w, lambda: busy.requests)
        asked.set()
        await until(lambda: w.meter.kept == [KeptKv.RELEASED])
        assert free.requests[0].json == RELEASE


async def test_who_leaves_while_it_waits_for_another_decode_worker_has_its_kv_fetched() -> None:
    async with (
        engine(PREFILLED) as pre,
        engine(ANSWER) as dec,
        world([refusing_worker(), dec], [pre], service=Holding) as w,
    ):
        await leaves_when(w, lambda: len(w.service.placed) == 2)
        await until(lambda: w.meter.kept == [KeptKv.RELEASED])
        assert dec.requests[0].json == RELEASE
        assert dec.requests[0].headers["x-request-id"] == pre.requests[0].headers["x-request-id"]


async def test_a_request_that_is_shed_after_its_prefill_has_its_kv_fetched() -> None:
    async with (
        engine(PREFILLED) as pre,
        engine(ANSWER) as dec,
        world([refusing_worker(), dec], [pre], service=Shedding) as w,
    ):
        assert (await w.post(CHAT)).status == 503
        assert (await w.ended()).outcome is Outcome.SHED
        await until(lambda: w.meter.kept == [KeptKv.RELEASED])
        assert dec.requests[0].json == RELEASE


@pytest.mark.parametrize("decode", [fails(b"500 X"), fails(b"503 X"), then_closes()])
async def test_kv_that_no_decode_worker_fetches_is_counted_as_stranded(decode: Behaviour) -> None:
    async with (
        engine(PREFILLED) as pre,
        engine(decode) as dec,
        world([refusing_worker(), dec], [pre], service=Shedding) as w,
    ):
        assert (await w.post(CHAT)).status == 503
        await until(lambda: w.meter.kept == [KeptKv.STRANDED])


async def test_without_any_decode_worker_kv_is_counted_as_stranded() -> None:
    async with (
        engine(PREFILLED) as pre,
        world([refusing_worker()], [pre], service=Nowhere) as w,
    ):
        assert (await w.post(CHAT)).status == 503
        assert w.meter.kept == [KeptKv.STRANDED]


@pytest.mark.parametrize("decode", [fails(b"502 X"), fails(b"504 X"), fails(b"500 X")])
async def test_kv_that_is_computed_anew_may_be_stranded_at_the_first_engine(
    decode: Behaviour,
) -> None:
    async with (
        engine(PREFILLED) as pre,
        engine(in_turn(decode, STREAMED)) as dec,
        world([dec], [pre]) as w,
    ):
        assert (await w.post(STREAM)).status == 200
        assert len(pre.requests) == 2
        assert w.meter.kept == [KeptKv.STRANDED]


async def test_a_decode_leg_that_is_wrong_has_not_fetched_its_kv() -> None:
    async with (
        engine(PREFILLED) as pre,
        engine(fails(b"400 X")) as dec,
        world([dec], [pre]) as w,
    ):
        assert (await w.post(CHAT)).status == 400
        assert w.meter.kept == [KeptKv.STRANDED]


async def test_kv_of_a_request_that_is_served_or_that_names_none_is_nobodys_concern() -> None:
    async with (
        engine(in_turn(PREFILLED, PREFILLED, ANSWER)) as pre,
        engine(in_turn(STREAMED, ANSWER, hangs_after())) as dec,
        world([dec], [pre]) as w,
    ):
        assert (await w.post(STREAM)).status == 200
        assert (await w.post(CHAT)).status == 200
        await leaves_when(w, lambda: len(dec.requests) == 3)
        await asyncio.wait_for(dec.gone.wait(), 5.0)
        assert w.meter.kept == []
        assert w.meter.recomputations == 1


async def test_a_stream_that_is_left_after_it_began_has_its_kv() -> None:
    async with (
        engine(PREFILLED) as pre,
        engine(hangs_after(EVENT_STREAM, chunk(event("t")))) as dec,
        world([dec], [pre]) as w,
    ):
        client = await w.connect()
        client.send(STREAM)
        await client.head()
        client.close()
        assert (await w.ended()).outcome is Outcome.CANCELLED
        await asyncio.wait_for(dec.gone.wait(), 5.0)
        assert w.meter.kept == []


# Errors of the prefill leg.


@pytest.mark.parametrize("status", [b"400 X", b"404 X", b"422 X", b"429 X", b"500 X"])
async def test_other_errors_of_the_prefill_leg_are_not_retried(status: bytes) -> None:
    async with (
        engine(fails(status)) as pre,
        engine(ANSWER) as dec,
        world([dec], [pre]) as w,
    ):
        reply = await w.post(CHAT)
        assert (reply.status, reply.json) == (
            int(status[:3]),
            {"error": {"message": "from the engine"}},
        )
        assert (len(pre.requests), dec.requests, w.meter.kept) == (1, [], [])


@pytest.mark.parametrize("status", [b"502 X", b"503 X", b"504 X"])
async def test_a_prefill_worker_that_is_down_is_tried_again_with_a_pause_but_not_for_ever(
    status: bytes,
) -> None:
    at_s: list[float] = []

    async def notes(reader: Any, writer: Any, request: Received) -> None:
        at_s.append(asyncio.get_running_loop().time())
        await fails(status)(reader, writer, request)

    async with (
        engine(notes) as pre,
        engine(ANSWER) as dec,
        world([dec], [pre]) as w,
    ):
        reply = await w.post(CHAT)
        assert (reply.status, reply.json) == (
            int(status[:3]),
            {"error": {"message": "from the engine"}},
        )
        assert (await w.ended()).retries == [("w", RetryReason.STATUS)] * 2
        assert (len(at_s), dec.requests) == (3, [])
        assert at_s[2] - at_s[1] > 0.04


# What only the prefill leg knows.


async def test_tokens_that_the_prefill_worker_found_cached_are_in_the_answers_usage() -> None:
    told = {"prompt_tokens": 50, "prompt_tokens_details": {"cached_tokens": 32}}
    usage = {"prompt_tokens": 50, "completion_tokens": 3, "prompt_tokens_details": None}
    body = {"id": "d", "choices": [], "usage": usage}
    async with (
        engine(answers(whole(json.dumps(REPLY | {"usage": told}).encode()))) as pre,
        engine(answers(whole(json.dumps(body).encode()))) as dec,
        world([dec], [pre]) as w,
    ):
        reply = await w.post(CHAT)
        details = {"prompt_tokens_details": {"cached_tokens": 32}}
        assert reply.json == body | {"usage": usage | details}
        flight = await w.ended()
        assert (flight.prompt_tokens, flight.output_tokens) == (50, 3)


CACHED = {"prompt_tokens": 50, "prompt_tokens_details": {"cached_tokens": 32}}
WITH_USAGE = STREAM | {"stream_options": {"include_usage": True}}
TOKEN = event({"choices": [{"delta": {"content": '"usage" \u00e4'}}]})
LAST_USAGE = {"choices": [], "usage": {"prompt_tokens": 50, "completion_tokens": 1}}


@pytest.mark.parametrize("together", [True, False])
async def test_the_usage_at_the_end_of_a_stream_tells_of_cached_tokens_and_nothing_else_changes(
    together: bool,
) -> None:
    pieces = [TOKEN, event(LAST_USAGE), event("[DONE]")]
    chunks = [b"".join(map(chunk, pieces))] if together else [chunk(piece) for piece in pieces]
    async with (
        engine(answers(whole(json.dumps(REPLY | {"usage": CACHED}).encode()))) as pre,
        engine(answers(EVENT_STREAM, *chunks, LAST)) as dec,
        world([dec], [pre]) as w,
    ):
        reply = await w.post(WITH_USAGE)
        told = LAST_USAGE["usage"] | {"prompt_tokens_details": {"cached_tokens": 32}}
        text = reply.payload
        assert text.startswith(TOKEN)
        assert text.endswith(event("[DONE]"))
        last = text[len(TOKEN) : -len(event("[DONE]"))]
        assert json.loads(last.removeprefix(b"data: ")) == {"choices": [], "usage": told}
        flight = await w.ended()
        assert (flight.prompt_tokens, flight.output_tokens) == (50, 1)


async def test_a_stream_that_is_not_to_tell_its_usage_passes_as_it_is_framed() -> None:
    body = chunk(TOKEN) + chunk(event(LAST_USAGE)) + LAST
    async with (
        engine(answers(whole(json.dumps(REPLY | {"usage": CACHED}).encode()))) as pre,
        engine(answers(EVENT_STREAM + body)) as dec,
        world([dec], [pre]) as w,
    ):
        assert (await w.post(STREAM)).body == body
