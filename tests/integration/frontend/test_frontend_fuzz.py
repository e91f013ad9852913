"""Bytes without sense from either side: the router answers in HTTP, counts it, and goes on."""

import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.core.request import Outcome
from tests.integration.frontend.strict import take_responses
from tests.integration.frontend.world import (
    CHAT,
    EVENT_STREAM,
    LAST,
    STREAM,
    Behaviour,
    answers,
    chunk,
    engine,
    event,
    in_turn,
    whole,
    world,
)
from tests.integration.router_world import FLEETS, PREFILLED, RouterWorld, router
from weir import fleet
from weir.domain.ids import PoolId
from weir.domain.planning import PoolMembers

GOOD = whole(b'{"choices":[]}')
_SHARED = [HealthCheck.function_scoped_fixture]

cut_lists = st.lists(st.integers(0, 400), max_size=5)
status_lines = st.one_of(
    st.sampled_from(
        b"HTTP/1.1 200 OK|HTTP/1.1 200|HTTP/1.0 200 OK|HTTP/1.1 204 No|HTTP/1.1 100 Go on|"
        b"HTTP/1.1 304 X|HTTP/1.1 400 Bad|HTTP/1.1 500 Oh|HTTP/1.1 503 Busy|HTTP/1.1 999 X|"
        b"HTTP/3.0 200 OK|200 OK|".split(b"|")
    ),
    st.binary(max_size=12),
)
fields = st.tuples(
    st.sampled_from(
        b"content-length transfer-encoding connection content-type x-request-id upgrade x".split()
    ),
    st.one_of(
        st.sampled_from([b"0", b"3", b"13", b"2000000", b"chunked", b"close", b"keep-alive"]),
        st.sampled_from([b"text/event-stream", b"application/json", b"gzip", b""]),
        st.binary(max_size=6),
    ),
)
heads = st.builds(
    lambda line, lines: b"\r\n".join(
        [line, *(name + b": " + value for name, value in lines), b"", b""]
    ),
    status_lines,
    st.lists(fields, max_size=4),
)
bodies = st.one_of(
    st.sampled_from(
        [b"", b"abc", b"3\r\nabc\r\n", b"0\r\n\r\n", b"d\r\ndata: {...}\n\n\r\n", LAST]
    ),
    st.sampled_from([b"data: [DONE]\n\n", b'{"choices":[]}', b'{"error":{}}', GOOD, EVENT_STREAM]),
    st.binary(max_size=20),
)
engine_bytes = st.lists(st.one_of(heads, bodies), max_size=6).map(b"".join)
requests = st.sampled_from(
    [(STREAM, b"1.1"), (CHAT, b"1.1"), (STREAM, b"1.0"), (CHAT, b"1.0")],
)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({min(c, len(data)) for c in cuts} | {0, len(data)})
    return [data[low:high] for low, high in itertools.pairwise(edges)]


def post(body: Any, version: bytes = b"1.1", fields: bytes = b"") -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = b"POST /v1/chat/completions HTTP/%b\r\nhost: t\r\n%bcontent-length: %d\r\n\r\n%b"
    return head % (version, fields, len(data), data)


@given(engine_bytes, cut_lists, requests)
@settings(max_examples=200, deadline=None)
async def test_whatever_an_engine_says_its_client_gets_one_response(
    said: bytes, cuts: list[int], request: tuple[Any, bytes]
) -> None:
    nonsense = _at_once(*cut(said, cuts))
    behaviour = in_turn(nonsense, nonsense, nonsense, answers(GOOD))
    async with engine(behaviour) as one, world([one], max_attempts=3) as w:
        client = await w.connect()
        client.writer.write(post(request[0], request[1], b"connection: close\r\n"))
        taken = take_responses(await client.rest(), closed=True)
        assert len(taken) == 1
        flight = await w.ended()
        assert flight.outcome in (Outcome.COMPLETED, Outcome.FAILED)
        assert taken[0].complete or flight.outcome is Outcome.FAILED
        client.close()
        w.service.flights.clear()
        one.behaviour = answers(GOOD)
        assert (await w.post(CHAT)).status == 200


def _at_once(*pieces: bytes) -> Behaviour:
    """Each piece in a write of its own, without waiting, and then the end."""

    async def behave(reader: Any, writer: Any, request: Any) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        raise ConnectionError

    return behave


events = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from([b"data: {}\n\n", b"data:\n\n", b": ping\n\n", b"\n", b"data: \r\n\r\n"]),
        st.sampled_from([b'data: {"error":{}}\n\n', b"data: [DONE]\n\n", b"event: x\ndata: y\n\n"]),
        st.sampled_from(
            [b'"usage":{"prompt_tokens":3,"completion_tokens":99999999999}', b'"usage"']
        ),
    ),
    max_size=12,
)


@given(events, cut_lists, st.booleans())
@settings(max_examples=100, deadline=None)
async def test_a_stream_of_anything_arrives_unchanged_and_ends_once(
    pieces: list[bytes], cuts: list[int], ended: bool
) -> None:
    sent = [piece for piece in pieces if piece]
    wire = b"".join(map(chunk, sent)) + (LAST if ended else b"")
    async with engine(_at_once(EVENT_STREAM, *cut(wire, cuts))) as one, world([one]) as w:
        client = await w.connect()
        client.writer.write(post(STREAM, fields=b"connection: close\r\n"))
        (taken,) = take_responses(await client.rest(), closed=True)
        flight = await w.ended()
        if ended:
            assert taken.payload == b"".join(sent)
            assert taken.complete
        elif wire:
            assert taken.payload.startswith(b"".join(sent))
            assert b'"upstream_error"' in taken.payload[len(b"".join(sent)) :]
            assert flight.outcome is Outcome.FAILED
        assert flight.output_tokens is None or flight.output_tokens >= 0
        client.close()


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)
names = st.sampled_from(
    ["model", "messages", "prompt", "stream", "stream_options", "n", "max_tokens", "tools", "user"]
)
changes = st.dictionaries(names | st.text(max_size=6), json_values, max_size=4)
header_names = st.sampled_from(
    b"x-slo-ttft-ms x-slo-tpot-ms x-llm-d-slo-ttft-ms x-request-id connection content-encoding "
    b"x-gateway-inference-fairness-id x-llm-d-inference-fairness-id authorization x-weir-explain "
    b"x-prefiller-host-port content-type".split()
)
header_values = st.one_of(
    st.sampled_from([b"1", b"0", b"1e-300", b"1e300", b"nan", b"-1", b"1_0", b"close", b"inf"]),
    st.text("aZ09 -_;,=\xe4", max_size=12).map(lambda text: text.encode("latin-1")),
)
headers = st.lists(st.tuples(header_names, header_values), max_size=4)


@pytest.fixture
async def whole_router() -> AsyncIterator[RouterWorld]:
    """All of a router, its decisions included, in front of two engines that work."""
    loaded = fleet.load(FLEETS / "disagg.yaml")
    async with engine(PREFILLED, "p1") as prefill, engine(_decode(), "d1") as decode:
        members = tuple(
            PoolMembers(pool_id=PoolId(pool), version=0, workers=(one.worker,))
            for pool, one in (("prefill", prefill), ("decode", decode))
        )
        async with router(fleet=loaded.fleet, settings=loaded.router, workers=members) as weir:
            yield weir


def _decode() -> Behaviour:
    async def behave(reader: Any, writer: Any, request: Any) -> None:
        if request.json.get("stream"):
            await _quick(EVENT_STREAM + chunk(event({"choices": [{}]})) + LAST)(
                reader, writer, request
            )
        else:
            await _quick(GOOD)(reader, writer, request)

    return behave


def _quick(data: bytes) -> Behaviour:
    async def behave(reader: Any, writer: Any, request: Any) -> None:
        writer.write(data)

    return behave


@given(changes, headers, st.sampled_from(["chat/completions", "completions"]))
@settings(max_examples=200, deadline=None, suppress_health_check=_SHARED)
async def test_any_json_and_any_headers_are_served_or_refused_as_the_clients_fault(
    whole_router: RouterWorld,
    changed: dict[str, Any],
    fields: list[tuple[bytes, bytes]],
    path: str,
) -> None:
    body = {"model": "demo-model", "prompt": "hi", "messages": CHAT["messages"]} | changed
    lines = b"".join(b"%b: %b\r\n" % each for each in fields) + b"connection: close\r\n"
    client = await whole_router.connect()
    client.writer.write(post(body, fields=lines).replace(b"chat/completions", path.encode(), 1))
    (taken,) = take_responses(await client.rest(), closed=True)
    client.close()
    assert taken.complete
    assert taken.status == 200 or 400 <= taken.status < 500, taken.payload
    if taken.status != 200:
        assert set(json.loads(taken.payload)["error"]) == {"message", "type", "param", "code"}


@given(st.one_of(st.binary(max_size=60), json_values.map(lambda v: json.dumps(v).encode())))
@settings(max_examples=100, deadline=None, suppress_health_check=_SHARED)
async def test_any_body_is_refused_without_a_crash(whole_router: RouterWorld, body: bytes) -> None:
    client = await whole_router.connect()
    client.send(body)
    reply = await client.reply()
    assert 400 <= reply.status < 500
    client.send({"model": "demo-model", "messages": CHAT["messages"]})
    assert (await client.reply()).status == 200
    client.close()
