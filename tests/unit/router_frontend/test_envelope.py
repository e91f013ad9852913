import json
from typing import Any

import pytest

from router.frontend.envelope import Endpoint, Envelope, parse_envelope
from weir.domain.errors import RequestError

MESSAGES = [{"role": "user", "content": "hi"}]


def chat(**fields: Any) -> Envelope:
    body = {"model": "m", "messages": MESSAGES} | fields
    return parse_envelope(Endpoint.CHAT, json.dumps(body).encode())


def completion(**fields: Any) -> Envelope:
    return parse_envelope(Endpoint.COMPLETIONS, json.dumps({"model": "m"} | fields).encode())


def test_null_is_the_same_as_absent() -> None:
    envelope = chat(max_tokens=None, stream=None, stream_options=None, n=None, priority=None)
    assert (envelope.max_tokens, envelope.streaming, envelope.priority) == (None, False, None)


def test_the_newer_name_of_the_output_limit_goes_first() -> None:
    assert chat(max_tokens=5, max_completion_tokens=7).max_tokens == 7
    assert chat(max_tokens=5).max_tokens == 5
    assert completion(prompt="x", max_tokens=5, max_completion_tokens=7).max_tokens == 5


def test_prompt_bytes_are_those_of_all_text() -> None:
    assert chat().prompt_bytes == 2
    messages = [{"role": "user", "content": [{"type": "text", "text": "äb"}, "c"]}]
    assert chat(messages=messages).prompt_bytes == 4
    assert chat(messages=[{"role": "assistant", "content": None}]).prompt_bytes == 0
    assert chat(tools=[{"a": 1}]).prompt_bytes == 2 + len('[{"a":1}]')
    assert completion(prompt=["ab", "ä"]).prompt_bytes == 4


def test_token_ids_are_counted_exactly() -> None:
    assert completion(prompt=[1, 2, 3]).prompt_tokens == 3
    assert completion(prompt=[[1, 2], [3]]).prompt_tokens == 3
    assert completion(prompt="x").prompt_tokens is None


@pytest.mark.parametrize("prompt", [[1, 2.5], [[1], "a"], [[1], [True]], [None], [{}]])
def test_mixed_prompts_are_refused(prompt: Any) -> None:
    with pytest.raises(RequestError) as caught:
        completion(prompt=prompt)
    assert (caught.value.param or "").startswith("prompt")


def test_fields_that_only_engines_understand_are_left_to_them() -> None:
    assert chat(temperature="hot", vllm_xargs=[1], anything={"x": 1}).model == "m"


def test_a_body_may_be_nested_as_deep_as_it_can_be_written_again() -> None:
    def body(levels: int) -> bytes:
        deep = b"[" * (levels - 1) + b"]" * (levels - 1)
        return b'{"model":"m","prompt":"x","tools":%b}' % deep

    assert parse_envelope(Endpoint.COMPLETIONS, body(254)).model == "m"
    with pytest.raises(RequestError, match="at most 254 levels"):
        parse_envelope(Endpoint.COMPLETIONS, body(255))
    brackets_in_text = json.dumps({"model": "m", "prompt": "[" * 1000}).encode()
    assert parse_envelope(Endpoint.COMPLETIONS, brackets_in_text).prompt_bytes == 1000


@pytest.mark.parametrize(
    "field",
    [
        '"messages":[{"role":"user","content":"x"}],"extra":%s',
        '"messages":[{"role":"user","content":"x"}],"extra":{"x":%s}',
        '"messages":[{"role":"user","content":"x","extra":%s}]',
        '"messages":[{"role":"user","content":"x"}' + ',{"role":"user","extra":%s}' * 17 + "]",
        '"messages":[%s]',
    ],
)
def test_long_bodies_may_be_nested_no_deeper_wherever_it_is(field: str) -> None:
    long = '{"model":"m","user":"%s",' % ("u" * 10_000)
    body = long + field.replace("%s", "[" * 255 + "]" * 255) + "}"
    with pytest.raises(RequestError, match="at most 254 levels"):
        parse_envelope(Endpoint.CHAT, body.encode())
