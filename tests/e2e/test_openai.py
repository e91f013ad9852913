"""OpenAI clients against a running fleet, and the processes that their requests touch."""

import http.client
import json
import subprocess
from contextlib import suppress
from typing import Any

import openai
import pytest

from tests.e2e.conftest import Fleet

QUESTION: list[Any] = [{"role": "user", "content": "What is a weir?"}]


def client(endpoint: str) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"http://{endpoint}/v1", api_key="none", timeout=30.0, max_retries=0
    )


def curl(endpoint: str, path: str, body: str, *options: str) -> tuple[int, str]:
    """Status and body of a POST."""
    done = subprocess.run(
        [
            *("curl", "-sS", "--no-buffer", "--max-time", "30", "-w", "\n%{http_code}"),
            *("-H", "content-type: application/json", "--data-binary", "@-", *options),
            f"http://{endpoint}{path}",
        ],
        input=body, capture_output=True, text=True, check=True, timeout=40,
    )  # fmt: skip
    text, _, status = done.stdout.rpartition("\n")
    return int(status), text


def post(endpoint: str, body: str) -> http.client.HTTPResponse:
    """The answer to a chat completion request."""
    host, _, port = endpoint.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    with suppress(BrokenPipeError, ConnectionResetError):  # refused before all of it was sent
        connection.request("POST", "/v1/chat/completions", body)
    return connection.getresponse()


def chat(**changes: Any) -> str:
    return json.dumps({"model": "demo", "messages": QUESTION, "max_tokens": 8, **changes})


def test_the_models_are_listed_with_their_aliases(endpoint: str) -> None:
    names = {model.id for model in client(endpoint).models.list()}
    assert names
    assert "demo" in names


def test_chat_without_streaming(endpoint: str) -> None:
    answer = client(endpoint).chat.completions.create(
        model="demo", messages=QUESTION, max_tokens=20
    )
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 20


def test_chat_with_streaming_and_usage(endpoint: str) -> None:
    chunks = list(
        client(endpoint).chat.completions.create(
            model="demo",
            messages=QUESTION,
            max_tokens=20,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    pieces = [c.choices[0].delta.content for c in chunks if c.choices]
    assert len([piece for piece in pieces if piece]) == 20
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 20


def test_completions_with_and_without_streaming(endpoint: str) -> None:
    api = client(endpoint).completions
    whole = api.create(model="demo", prompt="A weir is", max_tokens=5)
    assert whole.choices[0].text
    chunks = list(api.create(model="demo", prompt="A weir is", max_tokens=5, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)


@pytest.mark.needs("curl")
def test_curl_with_and_without_streaming(endpoint: str) -> None:
    status, text = curl(endpoint, "/v1/chat/completions", chat())
    assert status == 200
    assert json.loads(text)["usage"]["completion_tokens"] == 8
    status, text = curl(endpoint, "/v1/chat/completions", chat(stream=True))
    assert status == 200
    assert text.startswith("data: {")
    assert text.rstrip().endswith("data: [DONE]")


def test_a_request_touches_one_prefill_and_one_decode_process(serving: Fleet) -> None:
    prefills = "weir_mocker_prefill_legs_total"
    decodes = "weir_mocker_decode_legs_total"
    before = {name: serving.engine_counter(name) for name in (prefills, decodes)}
    client(serving.endpoint).chat.completions.create(
        model="demo", messages=[{"role": "user", "content": "legs " * 50}], max_tokens=4
    )
    after = {name: serving.engine_counter(name) for name in (prefills, decodes)}
    touched = {
        name: [w for w in after[name] if after[name][w] > before[name].get(w, 0.0)]
        for name in before
    }
    assert len(touched[prefills]) == 1
    assert touched[prefills][0].startswith("prefill")
    assert len(touched[decodes]) == 1
    assert touched[decodes][0].startswith("decode")


def test_health_and_metrics_are_public(serving: Fleet) -> None:
    assert serving.get("/livez")[0] == 200
    assert serving.get("/readyz")[0] == 200
    status, text = serving.get("/metrics")
    assert status == 200
    assert "weir_router_requests_total" in text


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("{", 400, "JSON"),
        ("[]", 400, ""),
        (chat(messages="hello"), 400, "messages"),
        (chat(max_tokens="ten"), 400, "max_tokens"),
        (chat(model=7), 400, "model"),
        (chat(model="no-such-model"), 404, "no-such-model"),
        (chat(messages=[{"role": "user", "content": "x" * 400_000}]), 400, "context"),
    ],
    ids=["malformed", "not-an-object", "messages", "max_tokens", "model", "unknown", "long"],
)
def test_bad_requests_get_a_clear_4xx(endpoint: str, body: str, status: int, said: str) -> None:
    response = post(endpoint, body)
    assert response.status == status
    error = json.loads(response.read())["error"]
    assert said in error["message"]
    assert {"message", "type", "param", "code"} <= set(error)


def test_a_prompt_beyond_every_pool_raises_what_openai_raises_for_it(endpoint: str) -> None:
    long: list[Any] = [{"role": "user", "content": "x" * 400_000}]
    with pytest.raises(openai.BadRequestError) as raised:
        client(endpoint).chat.completions.create(model="demo", messages=long, max_tokens=8)
    assert raised.value.code == "context_length_exceeded"


def test_a_20_mb_body_is_refused_with_413(endpoint: str) -> None:
    response = post(endpoint, chat(messages=[{"role": "user", "content": "x" * 20_000_000}]))
    assert response.status == 413
    assert "larger than" in json.loads(response.read())["error"]["message"]
