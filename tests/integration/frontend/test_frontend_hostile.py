"""Requests and responses that want to be read in two ways: smuggling and response splitting."""

import asyncio
import json

import pytest

from router.core.request import Outcome
from tests.integration.frontend.strict import Taken, take_responses
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
    then_closes,
    whole,
    world,
)

ANSWER = whole(b'{"choices":[]}')
BODY = json.dumps(CHAT).encode()
PATH = b"/v1/chat/completions"
SMUGGLED = b"POST %b HTTP/1.1\r\nhost: t\r\nx-smuggled: 1\r\ncontent-length: %d\r\n\r\n%b" % (
    PATH,
    len(BODY),
    BODY,
)
CHUNKED = b"transfer-encoding: chunked\r\n"


def post(fields: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    return b"POST %b HTTP/%b\r\nhost: t\r\n%b\r\n%b" % (PATH, version, fields, body)


def length(body: bytes) -> bytes:
    return b"content-length: %d\r\n" % len(body)


CHUNKS = b"%x\r\n%b\r\n" % (len(BODY), BODY)
END = b"0\r\n\r\n"

AMBIGUOUS = {
    "a length, then chunked": post(length(END) + CHUNKED, END),
    "chunked, then a length": post(CHUNKED + length(BODY), BODY),
    "chunked twice": post(CHUNKED * 2, CHUNKS + END),
    "chunked and another coding": post(CHUNKED + b"transfer-encoding: x\r\n", CHUNKS + END),
    "another coding after chunked": post(b"transfer-encoding: chunked, x\r\n", CHUNKS + END),
    "another coding before chunked": post(b"transfer-encoding: x, chunked\r\n", CHUNKS + END),
    "a coding like chunked": post(b"transfer-encoding: xchunked\r\n", CHUNKS + END),
    "identity": post(b"transfer-encoding: identity\r\n" + length(BODY), BODY),
    "a quoted coding": post(b'transfer-encoding: "chunked"\r\n', CHUNKS + END),
    "a coding with a parameter": post(b"transfer-encoding: chunked;q=1\r\n", CHUNKS + END),
    "a vertical tab before the coding": post(b"transfer-encoding: \x0bchunked\r\n", CHUNKS + END),
    "a tab after the coding": post(b"transfer-encoding: chunked\t\r\n", CHUNKS + END),
    "a space before the colon": post(b"transfer-encoding : chunked\r\n", CHUNKS + END),
    "a line feed before the colon": post(b"transfer-encoding\n: chunked\r\n", CHUNKS + END),
    "a folded coding": post(b"transfer-encoding:\r\n chunked\r\n", CHUNKS + END),
    "a folded line": post(b"x: a\r\n transfer-encoding: chunked\r\n", CHUNKS + END),
    "a bare line feed between fields": post(b"x: a\ntransfer-encoding: chunked\r\n", CHUNKS + END),
    "a bare return between fields": post(b"x: a\rtransfer-encoding: chunked\r\n", CHUNKS + END),
    "a NUL in a name": post(b"transfer-encoding\0: chunked\r\n", CHUNKS + END),
    "a field without a name": post(b": chunked\r\n", CHUNKS + END),
    "a field without a colon": post(b"transfer-encoding chunked\r\n", CHUNKS + END),
    "chunked in HTTP/1.0": post(CHUNKED, CHUNKS + END, b"1.0"),
    "chunked in HTTP/1.0, kept": post(CHUNKED + b"connection: keep-alive\r\n", END, b"1.0"),
    "two lengths": post(b"content-length: 0\r\n" + length(BODY), BODY),
    "one length twice": post(length(BODY) * 2, BODY),
    "a list of lengths": post(b"content-length: 0, %d\r\n" % len(BODY), BODY),
    "a signed length": post(b"content-length: +%d\r\n" % len(BODY), BODY),
    "a negative length": post(b"content-length: -1\r\n", BODY),
    "a hexadecimal length": post(b"content-length: 0x10\r\n", BODY),
    "a length with underscores": post(b"content-length: 1_0\r\n", BODY),
    "no length in the length": post(b"content-length: \r\n", BODY),
    "a length beyond all numbers": post(b"content-length: %d\r\n" % 2**64, BODY),
    "lines that end with a line feed": post(length(BODY), BODY).replace(b"\r\n", b"\n"),
    "a line before the first field": b"POST %b HTTP/1.1\r\n x: y\r\nhost: t\r\n\r\n" % PATH,
    "two hosts": post(b"host: other\r\n" + length(BODY), BODY),
    "a target with a space": b"POST %b x HTTP/1.1\r\nhost: t\r\n\r\n" % PATH,
    "a version with more behind it": b"POST %b HTTP/1.1x\r\nhost: t\r\n\r\n" % PATH,
    "HTTP/0.9": b"POST %b\r\n\r\n" % PATH,
    "HTTP/2 with prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a size with a prefix": post(CHUNKED, b"0x" + CHUNKS + END),
    "a size with a sign": post(CHUNKED, b"+" + CHUNKS + END),
    "a size behind a space": post(CHUNKED, b" " + CHUNKS + END),
    "a size before a space": post(CHUNKED, CHUNKS.replace(b"\r\n", b" \r\n", 1) + END),
    "a size beyond all numbers": post(CHUNKED, b"1" + b"0" * 16 + CHUNKS + END),
    "no size": post(CHUNKED, b"\r\n" + CHUNKS + END),
    "a size ended by a line feed": post(CHUNKED, CHUNKS.replace(b"\r\n", b"\n", 1) + END),
    "a size ended by two returns": post(CHUNKED, CHUNKS.replace(b"\r\n", b"\r\r\n", 1) + END),
    "a line feed in an extension": post(CHUNKED, CHUNKS.replace(b"\r\n", b";a\nb\r\n", 1) + END),
    "a chunk longer than its size": post(CHUNKED, CHUNKS[:-2] + b"XX" + END),
    "a chunk ended by a line feed": post(CHUNKED, CHUNKS[:-2] + b"\n" + END),
    "a line feed in a trailer": post(CHUNKED, CHUNKS + b"0\r\nx: a\n\r\n"),
    "a return in a trailer": post(CHUNKED, CHUNKS + b"0\r\nx: a\ry: b\r\n\r\n"),
}


async def talk(w: World, data: bytes) -> list[Taken]:
    """Everything that the router says to `data`; it is the one who closes."""
    client = await w.connect()
    client.writer.write(data)
    try:
        return take_responses(await client.rest(), closed=True)
    finally:
        client.close()


@pytest.mark.parametrize("data", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
async def test_what_can_be_read_in_two_ways_is_refused_and_nothing_after_it_is_read(
    data: bytes,
) -> None:
    async with engine(answers(ANSWER)) as one, world([one]) as w:
        (refused,) = await talk(w, data + SMUGGLED)
        assert refused.status in (400, 501, 505)
        assert refused.headers["connection"] == "close"
        assert set(json.loads(refused.payload)["error"]) == {"message", "type", "param", "code"}
        assert not one.requests


@pytest.mark.parametrize("method", [b"GET", b"POST", b"HEAD", b"PUT", b"OPTIONS"])
@pytest.mark.parametrize("path", [b"/livez", b"/metrics", b"/v1/models", b"/nothing"])
async def test_a_body_that_nobody_wants_is_not_a_request(method: bytes, path: bytes) -> None:
    async with engine(answers(ANSWER)) as one, world([one]) as w:
        client = await w.connect()
        head = b"%b %b HTTP/1.1\r\nhost: t\r\nconnection: close\r\n" % (method, path)
        client.writer.write(head + length(SMUGGLED) + b"\r\n" + SMUGGLED)
        answer = await client.rest()
        assert answer.count(b"HTTP/1.1 ") == 1
        assert not one.requests
        client.close()


async def test_an_engine_gets_one_length_and_no_other_framing_whatever_the_client_sent() -> None:
    # What `Connection` names must not take away what the router itself has to say.
    hops = b"connection: content-length, transfer-encoding, host, x-request-id, te\r\n"
    extras = hops + b"te: trailers\r\ntrailer: x\r\nx-request-id: mine\r\ncontent_length: 1\r\n"
    sent = [
        post(extras + length(BODY), BODY),
        post(extras + CHUNKED, CHUNKS + b"0\r\nHost: evil\r\nx-request-id: evil\r\n\r\n"),
        post(extras + b"Transfer-Encoding: CHUNKED\r\n", CHUNKS + END),
    ]
    async with engine(answers(ANSWER)) as one, world([one]) as w:
        client = await w.connect()
        for data in sent:
            client.writer.write(data)
            assert (await client.reply()).status == 200
        client.close()
        for request in one.requests:
            assert request.body == BODY
            assert request.headers["content-length"] == str(len(BODY))
            assert request.headers["x-request-id"] == "mine"
            assert request.headers["host"] == f"127.0.0.1:{one.worker.port}"
            assert not {"transfer-encoding", "te", "trailer", "connection"} & set(request.headers)
        assert len(one.requests) == len(sent)


REFLECTED = [
    b"POST /v1/%0d%0aset-cookie:%20evil HTTP/1.1\r\nhost: t\r\ncontent-length: 0\r\n\r\n",
    b"GET /v1/models/%0d%0aset-cookie:%20evil HTTP/1.1\r\nhost: t\r\n\r\n",
    post(length(b'{"model":"a\\r\\nset-cookie: evil","messages":[]}'))
    + b'{"model":"a\\r\\nset-cookie: evil","messages":[]}',
    post(b"x-request-id: a\xe4set-cookie: evil\r\n" + length(BODY), BODY),
    post(b"x-request-id: %b set-cookie: evil\r\n" % (b"a" * 300) + length(BODY), BODY),
    post(b"x-slo-ttft-ms: set-cookie: evil\r\n" + length(BODY), BODY),
    post(b"x-llm-d-inference-fairness-id: set-cookie: evil\r\n" + length(BODY), BODY),
    post(b"content-encoding: set-cookie: evil\r\n" + length(BODY), BODY),
]


@pytest.mark.parametrize("data", REFLECTED)
async def test_nothing_that_a_client_sends_becomes_a_header_of_its_answer(data: bytes) -> None:
    async with engine(answers(ANSWER)) as one, world([one]) as w:
        client = await w.connect()
        client.writer.write(data + post(b"connection: close\r\n" + length(BODY), BODY))
        first, second = take_responses(await client.rest(), closed=True)
        assert "set-cookie" not in first.headers
        assert not any("evil" in value for value in first.headers.values())
        assert second.status == 200
        client.close()


def head(fields: bytes, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"%b\r\n%b\r\n" % (line, fields)


EVIL = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nx-evil: 1\r\n\r\nevil"
TWO_WAYS = {
    "a bare line feed in a field": head(b"x: a\nx-evil: 1\r\ncontent-length: 0\r\n"),
    "a bare return in a field": head(b"x: a\rx-evil: 1\r\ncontent-length: 0\r\n"),
    "a head ended by line feeds": head(b"content-length: 0\r\nx: y\n\n" + EVIL),
    "a folded field": head(b"x: a\r\n x-evil: 1\r\ncontent-length: 0\r\n"),
    "a NUL in a field": head(b"x: a\0evil\r\ncontent-length: 0\r\n"),
    "a space before the colon": head(b"content-length : 0\r\n"),
    "a field without a colon": head(b"x-evil\r\ncontent-length: 0\r\n"),
    "two lengths": head(b"content-length: 0\r\ncontent-length: 4\r\n") + b"evil",
    "a list of lengths": head(b"content-length: 0, 4\r\n") + b"evil",
    "a negative length": head(b"content-length: -1\r\n"),
    "a length beyond all numbers": head(b"content-length: %d\r\n" % 10**30),
    "a length, then chunked": head(b"content-length: 4\r\n" + CHUNKED) + END,
    "chunked, then a length": head(CHUNKED + b"content-length: 4\r\n") + END,
    "chunked twice": head(CHUNKED * 2) + END,
    "chunked in HTTP/1.0": head(CHUNKED, b"HTTP/1.0 200 OK") + END,
    "another coding": head(b"transfer-encoding: gzip, chunked\r\n") + END,
    "status 000": head(b"content-length: 0\r\n", b"HTTP/1.1 000 OK") + EVIL,
    "status 99": head(b"content-length: 0\r\n", b"HTTP/1.1 99 OK"),
    "status 2000": head(b"content-length: 0\r\n", b"HTTP/1.1 2000 OK"),
    "an unasked switch of protocols": head(
        b"upgrade: x\r\nconnection: upgrade\r\n", b"HTTP/1.1 101 X"
    ),
    "HTTP/2.0": head(b"content-length: 0\r\n", b"HTTP/2.0 200 OK"),
    "HTTP/0.9": head(b"content-length: 0\r\n", b"HTTP/0.9 200 OK"),
    "only line ends": b"\r\n\r\n",
}


@pytest.mark.parametrize("answer", TWO_WAYS.values(), ids=TWO_WAYS.keys())
async def test_an_answer_that_can_be_read_in_two_ways_is_nobodys(answer: bytes) -> None:
    async with engine(answers(answer)) as one, world([one]) as w:
        (refused,) = await talk(w, post(b"connection: close\r\n" + length(BODY), BODY))
        assert refused.status == 502
        assert "x-evil" not in refused.headers
        assert json.loads(refused.payload)["error"]["type"] == "upstream_error"
        assert (await w.ended()).outcome is Outcome.FAILED


TOKEN = chunk(event({"choices": []}))
BAD_CHUNKS = {
    "longer than its size": b"4\r\n" + b"evil" * 2 + b"\r\n" + LAST,
    "ended by a line feed": b"4\r\nevil\n" + LAST,
    "a size with a prefix": b"0x4\r\nevil\r\n" + LAST,
    "a size that is none": b"evil\r\n" + LAST,
    "a line feed in an extension": b"4;a\nb\r\nevil\r\n" + LAST,
    "trailers ended by line feeds": b"0\r\nx: y\n\n" + EVIL + b"\r\n\r\n",
    "a trailer without a colon": b"0\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
}


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("bad", BAD_CHUNKS.values(), ids=BAD_CHUNKS.keys())
async def test_a_body_that_can_be_read_in_two_ways_ends_its_response(
    bad: bytes, streaming: bool
) -> None:
    kind = EVENT_STREAM if streaming else EVENT_STREAM.replace(b"text/event-stream", b"text/x")
    async with engine(then_closes(kind + TOKEN, bad)) as one, world([one]) as w:
        body = json.dumps(STREAM if streaming else CHAT).encode()
        data = post(length(body), body)
        taken = await talk(w, data + data)
        assert len(taken) == 1, "the client saw another end than the router"
        assert taken[0].status == 200
        assert taken[0].payload.startswith(event({"choices": []}))
        assert (await w.ended()).outcome is Outcome.FAILED


async def test_an_error_event_is_not_put_behind_the_length_of_a_stream() -> None:
    # A client that counts would take the surplus for its next response.
    long = 2 << 20
    start = head(b"content-type: text/event-stream\r\ncontent-length: %d\r\n" % long)
    async with engine(then_closes(start + b"data: x\n\n" * 1000)) as one, world([one]) as w:
        (cut,) = await talk(w, post(length(BODY), BODY))
        assert not cut.complete
        assert b"error" not in cut.payload
        assert (await w.ended()).outcome is Outcome.FAILED


async def test_a_body_in_tiny_chunks_is_read_whole() -> None:
    async with engine(answers(ANSWER)) as one, world([one]) as w:
        client = await w.connect()
        body = json.dumps(CHAT | {"padding": "x" * 20_000}).encode()
        client.writer.write(post(CHUNKED))
        for start in range(0, len(body), 2):
            client.writer.write(chunk(body[start : start + 2]))
            if start % 2000 == 0:
                await asyncio.sleep(0)
        client.writer.write(LAST)
        assert (await client.reply()).status == 200
        assert one.requests[0].body == body
        client.close()
