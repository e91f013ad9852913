"""Prefill leg, decode leg, and what happens when a worker fails before the first byte."""

import asyncio
from typing import Any

import pytest

from router.core.request import Outcome, RetryReason, Shed, ShedReason, WaitReason
from tests.integration.frontend.world import (
    CHAT,
    CLASS,
    EVENT_STREAM,
    LAST,
    STREAM,
    Behaviour,
    answers,
    chunk,
    engine,
    event,
    in_turn,
    read_request,
    refusing_worker,
    then_closes,
    whole,
    world,
)
from weir.domain.ids import WorkerId
from weir.domain.planning import WorkerEndpoint

PARAMS = b'{"do_remote_prefill":true,"remote_block_ids":[1,2],"remote_host":"h","tp_size":2}'
PREFILLED = whole(b'{"id":"x","choices":[],"kv_transfer_params":%b}' % PARAMS)
STREAMED = EVENT_STREAM + chunk(event("t")) + chunk(event("[DONE]")) + LAST
ANSWER = whole(b'{"choices":[]}')


def fails(status: bytes) -> Behaviour:
    return answers(whole(b'{"error":{"message":"from the engine"}}', status))


async def test_the_prefill_leg_is_one_token_whole_and_keeps_its_kv() -> None:
    request = STREAM | {
        "stream_options": {"include_usage": True},
        "max_completion_tokens": 50,
        "min_tokens": 3,
        "temperature": 0.5,
    }
    async with (
        engine(answers(PREFILLED)) as pre,
        engine(answers(STREAMED)) as dec,
        world([dec], [pre]) as w,
    ):
        await w.post(request)
        sent = pre.requests[0].json
        assert sent.pop("kv_transfer_params") == {
            "do_remote_decode": True,
            "do_remote_prefill": False,
            "remote_engine_id": None,
            "remote_block_ids": None,
            "remote_host": None,
            "remote_port": None,
        }
        assert sent == CHAT | {
            "stream": False,
            "max_tokens": 1,
            "max_completion_tokens": 1,
            "temperature": 0.5,
        }
        assert (await w.ended()).calls == ["prefill_done", "first_token"]


async def test_the_decode_leg_is_the_original_body_with_the_engines_params() -> None:
    body = b'{ "model":"m", "prompt" : "a\\u00e4", "max_tokens":5,"stream":true }\n'
    async with (
        engine(answers(PREFILLED)) as pre,
        engine(answers(STREAMED)) as dec,
        world([dec], [pre]) as w,
    ):
        reply = await w.post(body, "/v1/completions")
        assert reply.status == 200
        head = body[: body.rindex(b"}")]
        assert dec.requests[0].body == head + b',"kv_transfer_params":' + PARAMS + b"}"
        assert dec.requests[0].path == pre.requests[0].path == "/v1/completions"


async def test_both_legs_carry_the_clients_request_id_and_so_does_the_reply() -> None:
    async with (
        engine(answers(PREFILLED)) as pre,
        engine(answers(STREAMED)) as dec,
        world([dec], [pre]) as w,
    ):
        given = await w.post(STREAM, headers="X-Request-Id: abc\r\n")
        assert given.headers["x-request-id"] == "abc"
        made = (await w.post(STREAM)).headers["x-request-id"]
        assert [r.headers["x-request-id"] for r in pre.requests] == ["abc", made]
        assert [r.headers["x-request-id"] for r in dec.requests] == ["abc", made]


async def test_a_prefill_reply_without_params_lets_decode_compute_and_is_counted() -> None:
    async with (
        engine(answers(ANSWER)) as pre,
        engine(answers(STREAMED)) as dec,
        world([dec], [pre]) as w,
    ):
        assert (await w.post(STREAM)).status == 200
        assert dec.requests[0].json == STREAM
        assert w.meter.recomputations == 1


@pytest.mark.parametrize("status", [b"400 Bad Request", b"422 X", b"429 X", b"500 X"])
async def test_other_errors_of_an_engine_are_the_clients_as_they_are(status: bytes) -> None:
    async with engine(fails(status)) as one, world([one]) as w:
        reply = await w.post(CHAT)
        assert reply.status == int(status[:3])
        assert reply.body == b'{"error":{"message":"from the engine"}}'
        assert (await w.ended()).outcome is Outcome.FAILED
        assert len(one.requests) == 1


async def test_an_error_of_the_prefill_leg_is_the_clients_as_it_is() -> None:
    async with (
        engine(fails(b"400 Bad Request")) as pre,
        engine(answers(ANSWER)) as dec,
        world([dec], [pre]) as w,
    ):
        reply = await w.post(CHAT)
        assert (reply.status, reply.json) == (400, {"error": {"message": "from the engine"}})
        assert not dec.requests
        assert (await w.ended()).blamed is None


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (fails(b"502 X"), RetryReason.STATUS),
        (fails(b"503 X"), RetryReason.STATUS),
        (fails(b"504 X"), RetryReason.STATUS),
        (then_closes(), RetryReason.CLOSED),
        (then_closes(EVENT_STREAM), RetryReason.CLOSED),
        (then_closes(ANSWER[:-3]), RetryReason.CLOSED),
        (answers(b"SMTP ready\r\n\r\n"), RetryReason.CLOSED),
    ],
)
async def test_a_worker_that_fails_before_the_first_byte_is_replaced(
    behaviour: Behaviour, reason: RetryReason
) -> None:
    async with (
        engine(behaviour, "bad") as bad,
        engine(answers(STREAMED), "good") as good,
        world([bad.worker, good.worker]) as w,
    ):
        assert (await w.post(STREAM)).status == 200
        flight = await w.ended()
        assert flight.retries == [("bad", reason)]
        assert flight.outcome is Outcome.COMPLETED
        assert w.service.placed[1] == (frozenset({"bad"}), None)


async def test_a_worker_that_refuses_connections_is_replaced() -> None:
    refusing = refusing_worker()
    async with engine(answers(STREAMED)) as one, world([refusing, one.worker]) as w:
        assert (await w.post(STREAM)).status == 200
        assert (await w.ended()).retries == [("refusing", RetryReason.CONNECT)]


async def test_a_prefill_worker_that_fails_is_replaced() -> None:
    async with (
        engine(then_closes(), "bad") as bad,
        engine(answers(PREFILLED), "good") as good,
        engine(answers(STREAMED)) as dec,
        world([dec], [bad.worker, good.worker]) as w,
    ):
        assert (await w.post(STREAM)).status == 200
        assert (await w.ended()).retries == [("bad", RetryReason.CLOSED)]
        assert len(dec.requests) == 1


async def test_when_all_attempts_fail_the_last_answer_is_the_clients() -> None:
    async with engine(fails(b"503 X")) as one, world([one], max_attempts=3) as w:
        reply = await w.post(CHAT)
        assert (reply.status, reply.json) == (503, {"error": {"message": "from the engine"}})
        flight = await w.ended()
        assert (len(one.requests), len(flight.retries)) == (3, 2)
        assert flight.outcome is Outcome.FAILED
        assert flight.blamed is not None


async def test_when_nobody_can_be_reached_the_client_is_told() -> None:
    async with world([refusing_worker("w7")]) as w:
        reply = await w.post(CHAT)
        assert reply.status == 502
        assert reply.error["type"] == "upstream_error"
        assert "w7" in reply.error["message"]
        assert (await w.ended()).outcome is Outcome.FAILED


@pytest.mark.parametrize("how", ["refuses", "says 503"])
async def test_kv_that_no_decode_worker_has_touched_is_used_by_the_next(how: str) -> None:
    async with (
        engine(answers(PREFILLED)) as pre,
        engine(fails(b"503 X")) as busy,
        engine(answers(STREAMED)) as dec,
        world([refusing_worker() if how == "refuses" else busy.worker, dec.worker], [pre]) as w,
    ):
        assert (await w.post(STREAM)).status == 200
        assert len(pre.requests) == 1
        leg = w.service.placed[1][1]
        assert leg is not None
        assert leg.worker == pre.worker


async def test_kv_that_may_be_gone_is_computed_again() -> None:
    async with (
        engine(answers(PREFILLED)) as pre,
        engine(then_closes(), "bad") as bad,
        engine(answers(STREAMED)) as dec,
        world([bad.worker, dec.worker], [pre]) as w,
    ):
        assert (await w.post(STREAM)).status == 200
        assert len(pre.requests) == 2
        assert w.service.placed[1][1] is None


async def test_a_decode_leg_that_could_not_fetch_its_kv_is_redone_once() -> None:
    async with (
        engine(answers(PREFILLED)) as pre,
        engine(in_turn(fails(b"500 X"), answers(STREAMED))) as dec,
        world([dec], [pre]) as w,
    ):
        assert (await w.post(STREAM)).status == 200
        assert len(pre.requests) == 2
    async with (
        engine(answers(PREFILLED)) as pre,
        engine(fails(b"500 X")) as dec,
        world([dec], [pre]) as w,
    ):
        assert (await w.post(STREAM)).status == 500
        assert len(pre.requests) == 2


async def test_a_redone_prefill_goes_to_another_decode_worker() -> None:
    async with (
        engine(answers(PREFILLED), "pre") as pre,
        engine(fails(b"500 X"), "deaf") as deaf,
        engine(answers(STREAMED), "good") as good,
        world([deaf, good], [pre]) as w,
    ):
        assert (await w.post(STREAM)).status == 200
        assert (await w.ended()).retries == [("deaf", RetryReason.STATUS)]
        assert w.service.placed == [(frozenset(), None), (frozenset({"deaf"}), None)]
        assert len(pre.requests) == 2


async def test_a_decode_worker_that_died_over_a_request_may_have_fetched_its_kv() -> None:
    async def answer_one_and_die(reader: asyncio.StreamReader, writer: Any) -> None:
        await read_request(reader)
        writer.write(ANSWER)
        await read_request(reader)
        server.close()
        writer.close()

    server = await asyncio.start_server(answer_one_and_die, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    dies = WorkerEndpoint(id=WorkerId("dies"), host="127.0.0.1", port=port)
    async with (
        engine(answers(PREFILLED)) as pre,
        engine(answers(ANSWER), "good") as good,
        world([dies, dies, good], [pre]) as w,
    ):
        for _ in range(2):
            assert (await w.post(CHAT)).status == 200
        assert (await w.ended()).retries == [("dies", RetryReason.CLOSED)]
        assert len(pre.requests) == 3
        assert len(good.requests) == 1


async def test_a_kept_connection_that_has_died_is_replaced_unseen() -> None:
    async def closes_later(reader: Any, writer: asyncio.StreamWriter, request: Any) -> None:
        writer.write(ANSWER)
        await writer.drain()
        raise ConnectionError

    async with engine(closes_later) as one, world([one]) as w:
        for _ in range(3):
            assert (await w.post(CHAT)).status == 200
            assert (await w.ended()).retries == []


async def test_a_shed_request_is_told_when_to_come_back() -> None:
    shed = Shed(
        request_class=CLASS,
        reason=ShedReason.QUEUE_TIMEOUT,
        waited_for=WaitReason.NO_WORKER,
        retry_after_s=7.2,
    )
    async with engine(answers(ANSWER)) as one, world([one], shed=shed) as w:
        reply = await w.post(CHAT)
        assert (reply.status, reply.headers["retry-after"]) == (503, "7")
        assert reply.error["code"] == "overloaded"
        assert reply.headers["x-weir-dropped-reason"] == "queue_timeout"
        assert reply.headers["x-llm-d-request-dropped-reason"] == "rejected-ttl-expired"
        assert (await w.ended()).outcome is Outcome.SHED
        assert not one.requests


async def test_what_a_client_must_not_decide_does_not_reach_engines() -> None:
    headers = (
        "Authorization: Bearer secret\r\nCookie: a=b\r\nX-Prefiller-Host-Port: evil:1\r\n"
        "X-Data-Parallel-Host-Port: evil:1\r\nX-KV-Cache-Source-Host-Port: evil:1\r\n"
        "X-Encoder-Hosts-Ports: evil:1\r\nAccept-Encoding: gzip\r\nTE: trailers\r\n"
        "Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\nTraceparent: 00-a-b-01\r\n"
    )
    body = CHAT | {"kv_transfer_params": {"do_remote_prefill": True, "remote_host": "evil"}}
    async with engine(answers(ANSWER)) as one, world([one]) as w:
        await w.post(body, headers=headers)
        sent = one.requests[0]
        assert set(sent.headers) == {"host", "traceparent", "x-request-id", "content-length"}
        assert sent.headers["host"] == f"127.0.0.1:{one.worker.port}"
        assert sent.json == CHAT


async def test_hop_headers_of_engines_do_not_reach_clients() -> None:
    extra = b"connection: keep-alive\r\nkeep-alive: timeout=5\r\nx-request-id: own\r\nserver: e\r\n"
    async with engine(answers(whole(b"{}", extra=extra))) as one, world([one]) as w:
        reply = await w.post(CHAT, headers="x-request-id: mine\r\n")
        assert reply.headers == {
            "content-type": "application/json",
            "content-length": "2",
            "server": "e",
            "x-request-id": "mine",
        }
