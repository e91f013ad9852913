from typing import Any

import orjson
import pytest

from weir.domain.errors import RequestError
from weir.mocker.generation import FetchKv, Generation, KeepKv, Model, parse_chat, parse_completion

MODEL = Model(names=("m", "alias"), context_limit_tokens=100, block_tokens=4)


def completion(**fields: Any) -> Generation:
    return parse_completion(orjson.dumps({"prompt": [1, 2, 3, 4, 5], **fields}), MODEL)


def test_an_alias_names_the_model_too() -> None:
    assert completion(model="alias").prompt_tokens == 5
    with pytest.raises(RequestError) as caught:
        completion(model="M")
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")


def test_without_end_of_sequence_the_limit_is_the_length() -> None:
    told = completion(max_tokens=9, ignore_eos=True)
    assert (told.output_tokens, told.finish_reason) == (9, "length")


def test_the_context_ends_an_answer_that_has_no_limit() -> None:
    told = completion(ignore_eos=True)
    assert (told.output_tokens, told.finish_reason) == (95, "length")


def test_an_answer_is_at_least_as_long_as_asked() -> None:
    assert completion(min_tokens=90, max_tokens=95).output_tokens >= 90


def test_the_newer_name_of_the_limit_wins() -> None:
    body = {"messages": [{"role": "user", "content": "a"}], "ignore_eos": True}
    limits = {"max_tokens": 3, "max_completion_tokens": 7}
    assert parse_chat(orjson.dumps(body | limits), MODEL).output_tokens == 7


def test_parts_that_are_not_text_count_nothing() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:..."}}
    text = {"type": "text", "text": "abcd"}
    body = {"messages": [{"role": "user", "content": [image, text]}]}
    assert parse_chat(orjson.dumps(body), MODEL).prompt_tokens == 5


def test_a_leg_is_told_by_its_flags() -> None:
    assert completion(kv_transfer_params={"do_remote_decode": True}).leg == KeepKv()
    assert completion(kv_transfer_params={}).leg is None
    told = {"remote_engine_id": "e", "remote_request_id": "r", "remote_host": "h"}
    fetch = completion(kv_transfer_params={"do_remote_prefill": True, "remote_port": 9, **told})
    assert fetch.leg == FetchKv(engine_id="e", request_id="r", host="h", port=9)


def test_an_error_never_repeats_the_prompt() -> None:
    with pytest.raises(RequestError) as caught:
        parse_completion(orjson.dumps({"prompt": {"secret": "plan"}}), MODEL)
    assert "secret" not in str(caught.value)
