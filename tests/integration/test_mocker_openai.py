"""The mock engine's public surface, with the client that people use."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.integration.mocker_process import MockerProcess, mocker

HELLO = [{"role": "user", "content": "hello there"}]
"""4 tokens for the role, 3 for 11 bytes."""


@pytest.fixture(scope="module")
def engine() -> Iterator[MockerProcess]:
    with mocker(
        "--speed", "50", "--context-limit-tokens", "1000", "--max-body-bytes", "100000"
    ) as (process):
        yield process


@pytest.fixture(scope="module")
def client(engine: MockerProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{engine.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_a_chat_is_answered_whole(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="m", messages=HELLO, max_tokens=5)
    assert answer.choices[0].message.content == " tok" * 5
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 5)


def test_a_chat_is_streamed_token_by_token(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="m",
        messages=HELLO,
        max_completion_tokens=4,
        stream=True,
        stream_options={"include_usage": True},
    )
    first, *tokens, last = list(stream)
    assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "")
    assert [chunk.choices[0].delta.content for chunk in tokens] == [" tok"] * 4
    assert [chunk.choices[0].finish_reason for chunk in tokens] == [None] * 3 + ["length"]
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens == 11


def test_a_completion_takes_text_and_token_ids(client: openai.OpenAI) -> None:
    text = client.completions.create(model="m", prompt="hello", max_tokens=2)
    ids = client.completions.create(model="m", prompt=[1, 2, 3], max_tokens=2)
    assert (text.choices[0].text, text.usage.prompt_tokens) == (" tok tok", 2)
    assert ids.usage.prompt_tokens == 3
    chunks = list(client.completions.create(model="m", prompt=["one"], max_tokens=2, stream=True))
    assert [chunk.choices[0].text for chunk in chunks] == [" tok", " tok"]


def test_an_answer_stops_by_itself_at_the_same_length_each_time(client: openai.OpenAI) -> None:
    lengths = set()
    for _ in range(2):
        answer = client.chat.completions.create(model="m", messages=HELLO)
        assert answer.choices[0].finish_reason == "stop"
        lengths.add(answer.usage.completion_tokens)
    assert len(lengths) == 1


def test_the_length_of_the_output_can_be_told(client: openai.OpenAI) -> None:
    for told, limit, reason in ((3, 10, "stop"), (30, 10, "length")):
        answer = client.chat.completions.create(
            model="m",
            messages=HELLO,
            max_tokens=limit,
            extra_body={"vllm_xargs": {"mock_output_tokens": told}},
        )
        assert answer.usage.completion_tokens == min(told, limit)
        assert answer.choices[0].finish_reason == reason


def test_a_repeated_prompt_is_found_in_the_cache(client: openai.OpenAI) -> None:
    message = [{"role": "user", "content": "once upon a time " * 20}]
    usages = [
        client.chat.completions.create(model="m", messages=message, max_tokens=1).usage
        for _ in range(2)
    ]
    assert usages[0].prompt_tokens_details is None
    assert usages[0].prompt_tokens == 4 + 85
    assert usages[1].prompt_tokens_details.cached_tokens == 80


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["m"]


def test_errors_are_those_that_the_client_knows(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.chat.completions.create(model="other", messages=HELLO)
    with pytest.raises(openai.BadRequestError, match="maximum context length is 1000") as error:
        client.completions.create(model="m", prompt="x" * 4000, max_tokens=1)
    assert error.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="lower max_tokens"):
        client.chat.completions.create(model="m", messages=HELLO, max_tokens=994)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        ({}, "messages must be a non-empty array of messages, it is missing"),
        ({"messages": []}, "non-empty array"),
        ({"messages": ["hello"]}, "messages[0] must be an object"),
        ({"messages": [{"content": "a"}]}, "messages[0].role must be a string"),
        ({"messages": [{"role": "user"}]}, "messages[0].content must be a string or an array"),
        ({"messages": [{"role": "user", "content": [{"text": "a"}]}]}, "object with a type"),
        ({"messages": HELLO, "max_tokens": 0}, "max_tokens must be an integer of at least 1"),
        ({"messages": HELLO, "max_tokens": 1.5}, "not a number"),
        ({"messages": HELLO, "max_tokens": True}, "not a boolean"),
        ({"messages": HELLO, "temperature": "hot"}, "temperature must be a number"),
        ({"messages": HELLO, "top_p": 1.5}, "from 0 to 1"),
        ({"messages": HELLO, "stream": "yes"}, "stream must be true or false"),
        ({"messages": HELLO, "stop": [1]}, "stop must be a string"),
        ({"messages": HELLO, "n": 2}, "only n = 1"),
        ({"messages": HELLO, "model": 5}, "model must be a string, not an integer"),
        ({"messages": HELLO, "stream_options": {}}, "needs stream: true"),
        ({"messages": HELLO, "kv_transfer_params": []}, "must be an object, not an array"),
    ],
)
def test_bad_requests_are_told_what_to_mend(engine: MockerProcess, body: Any, says: str) -> None:
    status, answer = engine.ask("POST", "/v1/chat/completions", body)
    assert status == 400
    assert says in answer["error"]["message"]
    assert answer["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "prompt must be a string or an array of token ids, it is missing"),
        ({"prompt": ""}, "must not be empty"),
        ({"prompt": ["a", "b"]}, "a single one"),
        ({"prompt": [1, "b"]}, "array of token ids"),
        ({"prompt": [True]}, "array of token ids"),
        ({"prompt": [-1]}, "from 0 to"),
        ({"prompt": "a", "echo": True}, "echo is not supported"),
    ],
)
def test_bad_completions_are_told_what_to_mend(engine: MockerProcess, body: Any, says: str) -> None:
    status, answer = engine.ask("POST", "/v1/completions", body)
    assert status == 400
    assert says in answer["error"]["message"]


def test_what_is_not_there_and_what_is_too_large(engine: MockerProcess) -> None:
    assert engine.ask("GET", "/v1/nothing")[0] == 404
    assert engine.ask("GET", "/v1/chat/completions")[0] == 405
    assert engine.ask("POST", "/v1/completions", b" " * 100_001)[0] == 413


def test_a_stream_over_http_1_0_ends_with_the_connection(engine: MockerProcess) -> None:
    body = json.dumps({"model": "m", "prompt": "a", "max_tokens": 2, "stream": True}).encode()
    head = b"POST /v1/completions HTTP/1.0\r\ncontent-length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", engine.port), timeout=10) as connection:
        connection.sendall(head + body)
        received = b""
        while data := connection.recv(65536):
            received += data
    head, _, events = received.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert events.count(b"data: ") == 3
    assert events.endswith(b"data: [DONE]\n\n")


def test_metrics_carry_vllm_s_names(engine: MockerProcess) -> None:
    before = engine.metric("vllm:generation_tokens_total")
    lengths = engine.metric('vllm:request_success_total{finished_reason="length"}')
    body = {"model": "m", "messages": HELLO, "max_tokens": 6}
    assert engine.ask("POST", "/v1/chat/completions", body)[0] == 200
    assert engine.metric("vllm:generation_tokens_total") == before + 6
    assert engine.metric('vllm:request_success_total{finished_reason="length"}') == lengths + 1
    for name in (
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:kv_cache_usage_perc",
        "vllm:num_preemptions_total",
    ):
        assert engine.metric(name) == 0
    assert engine.metric("vllm:prompt_tokens_total") > 0
    assert engine.metric("vllm:time_to_first_token_seconds_count") > 0
    assert engine.metric("vllm:inter_token_latency_seconds_count") > 0
    assert engine.metric("vllm:e2e_request_latency_seconds_count") > 0
    assert engine.metric("vllm:prefix_cache_queries_total") > 0
    assert engine.metric("vllm:prefix_cache_hits_total") >= 0
    assert engine.metric('vllm:cache_config_info{block_size="16"}') == 1
