"""Framing and envelopes: inverse operations are inverse, and nothing else gets through."""

import itertools
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from router.frontend.bodies import decode_body, onward_body, prefill_body
from router.frontend.envelope import Endpoint, parse_envelope
from router.frontend.observe import StreamWatch, find_usage
from weir.domain.errors import RequestError
from weir.http1.chunked import ChunkError, ChunkReader


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({min(c, len(data)) for c in cuts} | {0, len(data)})
    return [data[low:high] for low, high in itertools.pairwise(edges)]


def chunked(pieces: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces if p) + b"0\r\n\r\n"


cut_lists = st.lists(st.integers(0, 300), max_size=8)


@given(st.lists(st.binary(max_size=40), max_size=6), cut_lists, st.binary(max_size=10))
@settings(max_examples=200)
def test_a_chunked_body_is_followed_through_any_cuts(
    pieces: list[bytes], cuts: list[int], after: bytes
) -> None:
    body = chunked(pieces)
    reader, payload, taken = ChunkReader(), list[bytes](), 0
    for piece in cut(body + after, cuts):
        end = reader.feed(piece, payload)
        taken += len(piece) if end < 0 else end
        if end >= 0:
            break
    assert taken == len(body)
    assert b"".join(payload) == b"".join(pieces)


@given(st.binary(max_size=80), cut_lists)
@settings(max_examples=200)
def test_any_bytes_are_chunks_or_refused_the_same_way_however_cut(
    data: bytes, cuts: list[int]
) -> None:
    def read(pieces: list[bytes]) -> tuple[str, int]:
        reader, taken = ChunkReader(), 0
        try:
            for piece in pieces:
                end = reader.feed(piece)
                if end >= 0:
                    return "ended", taken + end
                taken += len(piece)
        except ChunkError:
            return "refused", 0
        return "going on", taken

    assert read(cut(data, cuts)) == read([data])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)
known = st.sampled_from(
    ["model", "messages", "prompt", "stream", "stream_options", "n", "max_tokens", "tools"]
)
bodies = st.dictionaries(known | st.text(max_size=6), json_values, max_size=8)


@given(bodies | json_values, st.sampled_from(Endpoint))
@settings(max_examples=300)
def test_any_json_is_an_envelope_or_a_clear_refusal(body: Any, endpoint: Endpoint) -> None:
    try:
        envelope = parse_envelope(endpoint, json.dumps(body).encode())
    except RequestError as error:
        assert (error.status, bool(str(error))) == (400, True)
    else:
        assert envelope.model
        assert envelope.max_tokens is None or envelope.max_tokens >= 1
        assert envelope.prompt_bytes >= 0


@given(st.binary(max_size=60))
def test_any_bytes_are_an_envelope_or_a_clear_refusal(body: bytes) -> None:
    try:
        parse_envelope(Endpoint.CHAT, body)
    except RequestError as error:
        assert error.status == 400


@given(bodies, json_values, st.sampled_from([b"", b" ", b"\n\n", b"\t"]))
def test_both_legs_are_the_request_and_what_the_protocol_asks_for(
    fields: dict[str, Any], params: Any, space: bytes
) -> None:
    data = {"model": "m"} | fields
    original = onward_body(json.dumps(data).encode() + space, dict(data))
    decode = json.loads(decode_body(original, json.dumps(params).encode()))
    assert decode == data | {"kv_transfer_params": params}
    prefill = json.loads(prefill_body(original))
    assert (prefill["stream"], prefill["max_tokens"]) == (False, 1)
    own = {"stream", "max_tokens", "stream_options", "kv_transfer_params", "max_completion_tokens"}
    kept = {name: value for name, value in data.items() if name not in own | {"min_tokens"}}
    assert kept.items() <= prefill.items()


@given(st.lists(st.text(max_size=12), max_size=12), st.integers(0, 10**6), st.booleans())
def test_counting_events_agrees_with_parsing_them(
    texts: list[str], prompt_tokens: int, with_usage: bool
) -> None:
    events = [json.dumps({"choices": [{"text": text}]}) for text in texts]
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": len(texts)}
    if with_usage:
        events.append(json.dumps({"choices": [], "usage": usage}))
    watch = StreamWatch(chunked=True)
    for text in [*events, "[DONE]"]:
        line = b"data: %b\n\n" % text.encode()
        watch.see(b"%x\r\n%b\r\n" % (len(line), line))
    assert watch.usage() == (prompt_tokens if with_usage else None, len(texts))


@given(st.binary(max_size=200))
def test_usage_is_never_more_than_digits_in_the_bytes(data: bytes) -> None:
    for count in find_usage(data):
        assert count is None or str(count).encode() in data
