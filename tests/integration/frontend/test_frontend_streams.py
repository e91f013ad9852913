"""Responses through the router: bytes unchanged, in time, and ended honestly."""

import asyncio
import contextlib
import socket
from typing import Any

from router.core.request import Outcome
from tests.integration.frontend.world import (
    CHAT,
    EVENT_STREAM,
    LAST,
    STREAM,
    answers,
    chunk,
    engine,
    event,
    hangs_after,
    in_turn,
    then_closes,
    unchunk,
    whole,
    world,
)

TOKENS = [chunk(event({"choices": [{"delta": {"content": f"t{i}"}}]})) for i in range(5)]
DONE = chunk(event("[DONE]"))


async def test_a_stream_reaches_the_client_byte_for_byte() -> None:
    async with engine(answers(EVENT_STREAM, *TOKENS, DONE, LAST)) as one, world([one]) as w:
        reply = await w.post(STREAM)
        assert reply.status == 200
        assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert reply.body == b"".join([*TOKENS, DONE, LAST])
        flight = await w.ended()
        assert flight.outcome is Outcome.COMPLETED
        assert flight.calls == ["first_token"]
        assert flight.output_tokens == 5


async def test_chunks_cut_anywhere_arrive_unchanged() -> None:
    stream = b"".join([EVENT_STREAM, *TOKENS, DONE, LAST])
    cuts = [stream[i : i + 7] for i in range(0, len(stream), 7)]
    async with engine(answers(*cuts)) as one, world([one]) as w:
        client = await w.connect()
        for _ in range(2):  # the framing was followed to its end: both connections go on
            client.send(STREAM)
            assert (await client.reply()).body == b"".join([*TOKENS, DONE, LAST])
        assert one.connections == 1


async def test_each_chunk_is_passed_on_at_once() -> None:
    async with engine(hangs_after(EVENT_STREAM, TOKENS[0])) as one, world([one]) as w:
        client = await w.connect()
        client.send(STREAM)
        assert (await client.head()).status == 200
        assert await asyncio.wait_for(client.reader.readexactly(len(TOKENS[0])), 30) == TOKENS[0]
        client.close()


async def test_usage_in_the_last_event_counts_more_than_counted_events() -> None:
    usage = chunk(event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 11}}))
    async with engine(answers(EVENT_STREAM, *TOKENS, usage, DONE, LAST)) as one, world([one]) as w:
        await w.post(STREAM)
        flight = await w.ended()
        assert (flight.prompt_tokens, flight.output_tokens) == (7, 11)


async def test_a_whole_response_passes_with_its_length() -> None:
    body = b'{"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}'
    async with engine(answers(whole(body, extra=b"x-engine: yes\r\n"))) as one, world([one]) as w:
        reply = await w.post(CHAT)
        assert (reply.status, reply.body) == (200, body)
        assert reply.headers["content-length"] == str(len(body))
        assert reply.headers["x-engine"] == "yes"
        flight = await w.ended()
        assert flight.outcome is Outcome.COMPLETED
        assert (flight.prompt_tokens, flight.output_tokens) == (3, 4)


async def test_a_long_whole_response_is_not_held_back() -> None:
    body = b"x" * (3 << 20)
    async with engine(answers(whole(body))) as one, world([one]) as w:
        reply = await w.post(CHAT)
        assert (len(reply.body), reply.headers["content-length"]) == (len(body), str(len(body)))
        assert reply.body == body


async def test_a_response_that_ends_with_its_connection_is_framed_for_the_client() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    async with engine(then_closes(head, event("a"), event("[DONE]"))) as one, world([one]) as w:
        client = await w.connect()
        client.send(STREAM)
        reply = await client.reply()
        assert reply.headers["transfer-encoding"] == "chunked"
        assert reply.payload == event("a") + event("[DONE]")
        assert (await w.ended()).output_tokens == 1
        client.send(STREAM)  # the client's connection is still good
        assert (await client.reply()).status == 200


async def test_an_http_1_0_client_gets_plain_bytes_and_a_close() -> None:
    async with engine(answers(EVENT_STREAM, *TOKENS, DONE, LAST)) as one, world([one]) as w:
        client = await w.connect()
        body = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true}'
        client.writer.write(
            b"POST /v1/chat/completions HTTP/1.0\r\ncontent-length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        head, _, rest = (await client.rest()).partition(b"\r\n\r\n")
        assert b"transfer-encoding" not in head
        assert b"connection: close" in head
        assert rest == unchunk(b"".join([*TOKENS, DONE, LAST]))


async def test_a_slow_client_pauses_its_engine() -> None:
    block = chunk(event("x" * 65500))
    written = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: Any) -> None:
        nonlocal written
        buffers = writer.get_extra_info("socket")
        buffers.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        writer.write(EVENT_STREAM)
        for _ in range(600):
            writer.write(block)
            await writer.drain()
            written += 1
        writer.write(LAST)

    async with engine(endless) as one, world([one]) as w:
        client = await w.connect(receive_buffer=65536)
        client.send(STREAM)
        await client.head()
        stalled = -1
        while stalled != written:
            stalled = written
            await asyncio.sleep(0.2)
        assert written < 500, "32 MB are in flight between an engine and a client that stopped"
        body = await client.chunks()
        assert body == block * 600 + LAST
        assert (await w.ended()).outcome is Outcome.COMPLETED


async def test_a_client_that_leaves_takes_its_decode_leg_along() -> None:
    async with engine(hangs_after(EVENT_STREAM, TOKENS[0])) as one, world([one]) as w:
        client = await w.connect()
        client.send(STREAM)
        await client.head()
        client.close()
        await asyncio.wait_for(one.gone.wait(), 30)
        assert (await w.ended()).outcome is Outcome.CANCELLED


async def test_a_client_that_leaves_takes_its_prefill_leg_along() -> None:
    async with (
        engine(hangs_after()) as pre,
        engine(answers(whole(b"{}"))) as dec,
        world([dec], [pre]) as w,
    ):
        client = await w.connect()
        client.send(STREAM)
        while not pre.requests:
            await asyncio.sleep(0.005)
        client.close()
        await asyncio.wait_for(pre.gone.wait(), 30)
        assert (await w.ended()).outcome is Outcome.CANCELLED
        assert not dec.requests


async def test_a_client_that_leaves_while_its_request_queues_is_cancelled() -> None:
    async with engine(answers(whole(b"{}"))) as one, world([one]) as w:
        w.service.hold = asyncio.Event()
        client = await w.connect()
        client.send(CHAT)
        while not w.service.placed:
            await asyncio.sleep(0.005)
        client.close()
        assert (await w.ended()).outcome is Outcome.CANCELLED
        assert not one.requests


async def test_a_client_that_leaves_at_once_is_cancelled() -> None:
    async with engine(hangs_after()) as one, world([one]) as w:
        client = await w.connect()
        client.send(CHAT)
        client.writer.write_eof()
        while not w.service.flights:
            await asyncio.sleep(0.005)
        assert (await w.ended()).outcome is Outcome.CANCELLED


async def test_a_stream_that_breaks_between_chunks_ends_with_an_error_event() -> None:
    async with engine(then_closes(EVENT_STREAM, *TOKENS[:2])) as one, world([one]) as w:
        client = await w.connect()
        client.send(STREAM)
        reply = await client.reply()
        events = reply.payload.split(b"\n\n")
        assert reply.body.startswith(b"".join(TOKENS[:2]))
        assert events[2].startswith(b'data: {"error":{')
        assert await client.rest() == b""  # and the connection is closed
        flight = await w.ended()
        assert flight.outcome is Outcome.FAILED
        assert flight.blamed is not None


async def test_a_stream_that_breaks_inside_of_a_chunk_is_cut_off() -> None:
    async with (
        engine(then_closes(EVENT_STREAM, TOKENS[0], TOKENS[1][:-9])) as one,
        world([one]) as w,
    ):
        client = await w.connect()
        client.send(STREAM)
        await client.head()
        rest = b""
        with contextlib.suppress(ConnectionError):
            rest = await client.rest()
        assert LAST not in rest
        assert (await w.ended()).outcome is Outcome.FAILED


async def test_an_error_event_of_the_engine_makes_the_request_failed() -> None:
    broken = chunk(event({"error": {"message": "out of memory"}}))
    async with engine(answers(EVENT_STREAM, TOKENS[0], broken, LAST)) as one, world([one]) as w:
        assert broken in (await w.post(STREAM)).body
        assert (await w.ended()).outcome is Outcome.FAILED


async def test_silence_within_a_stream_has_a_deadline() -> None:
    async with (
        engine(hangs_after(EVENT_STREAM, TOKENS[0])) as one,
        world([one], idle_timeout_s=0.2) as w,
    ):
        reply = await w.post(STREAM)
        assert b'data: {"error":{' in reply.payload
        assert (await w.ended()).outcome is Outcome.FAILED


async def test_silence_before_the_first_byte_has_a_deadline() -> None:
    async with (
        engine(hangs_after(EVENT_STREAM)) as one,
        world([one], first_byte_timeout_s=0.2) as w,
    ):
        reply = await w.post(STREAM)
        assert reply.status == 504
        assert reply.error["type"] == "upstream_timeout"
        flight = await w.ended()
        assert (flight.outcome, flight.blamed is not None) == (Outcome.FAILED, True)


async def test_bytes_after_the_end_of_a_response_never_reach_a_client() -> None:
    smuggled = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    stream = EVENT_STREAM + DONE + LAST + smuggled
    async with (
        engine(in_turn(answers(stream), answers(whole(b"{}")))) as one,
        world([one]) as w,
    ):
        client = await w.connect()
        client.send(STREAM)
        assert (await client.reply()).body == DONE + LAST
        client.send(CHAT)
        assert (await client.reply()).body == b"{}"
        assert one.connections == 2


async def test_a_response_without_a_body_passes() -> None:
    async with engine(answers(b"HTTP/1.1 204 No Content\r\n\r\n")) as one, world([one]) as w:
        client = await w.connect()
        client.send(CHAT)
        reply = await client.head()
        assert (reply.status, "content-length" in reply.headers) == (204, False)
        client.send(CHAT)
        assert (await client.head()).status == 204
