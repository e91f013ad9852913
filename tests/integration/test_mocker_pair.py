"""Two mock engines hand KV over: a prefill leg on one, the decode leg on the other."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.mocker_process import MockerProcess, mocker

BODY = {
    "model": "m",
    "messages": [{"role": "user", "content": "x" * 400}],
    "vllm_xargs": {"mock_output_tokens": 6},
}
PROMPT_TOKENS = 4 + 100
PREFILL_LEG = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    "remote_engine_id": None,
    "remote_block_ids": None,
    "remote_host": None,
    "remote_port": None,
}
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def prefill() -> Iterator[MockerProcess]:
    with mocker("--speed", "50", "--role", "prefill", "--kv-hold-s", "10000") as process:
        yield process


@pytest.fixture(scope="module")
def decode() -> Iterator[MockerProcess]:
    with mocker("--speed", "50", "--role", "decode") as process:
        yield process


def prefill_leg(engine: MockerProcess) -> dict[str, Any]:
    """The params that a prefill leg answers with."""
    leg = {"max_tokens": 1, "stream": False, "kv_transfer_params": PREFILL_LEG}
    status, answer = engine.ask("POST", CHAT, BODY | leg)
    assert status == 200
    assert answer["usage"]["completion_tokens"] == 1
    params: dict[str, Any] = answer["kv_transfer_params"]
    return params


def test_a_request_in_two_legs_touches_both_engines(
    prefill: MockerProcess, decode: MockerProcess
) -> None:
    params = prefill_leg(prefill)
    assert params["do_remote_prefill"] and not params["do_remote_decode"]
    assert params["remote_port"] == prefill.port
    assert len(params["remote_block_ids"]) == 7
    assert prefill.metric("weir_mocker_kv_held") == 1
    assert prefill.metric("vllm:kv_cache_usage_perc") > 0

    status, answer = decode.ask("POST", CHAT, BODY | {"kv_transfer_params": params})
    assert status == 200
    usage = answer["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (PROMPT_TOKENS, 6)
    prefill.until("weir_mocker_kv_held", 0)
    assert prefill.metric("vllm:kv_cache_usage_perc") == 0
    assert prefill.metric("weir_mocker_prefill_legs_total") == 1
    assert prefill.metric("vllm:generation_tokens_total") == 1
    assert prefill.metric('weir_mocker_kv_handovers_total{result="fetched"}') == 1
    assert decode.metric("weir_mocker_decode_legs_total") == 1
    assert decode.metric('weir_mocker_kv_pulls_total{result="ok"}') == 1
    assert decode.metric("vllm:generation_tokens_total") == 6


def test_a_decode_leg_streams(prefill: MockerProcess, decode: MockerProcess) -> None:
    leg = {"kv_transfer_params": prefill_leg(prefill), "stream": True}
    status, text = decode.ask("POST", CHAT, BODY | leg)
    assert status == 200
    assert text.count('"content":" tok"') == 6
    assert text.endswith("data: [DONE]\n\n")


def test_kv_can_be_fetched_once_only(prefill: MockerProcess, decode: MockerProcess) -> None:
    leg = {"kv_transfer_params": prefill_leg(prefill), "stream": True}
    assert decode.ask("POST", CHAT, BODY | leg)[0] == 200
    status, answer = decode.ask("POST", CHAT, BODY | leg)
    assert status == 500
    assert "does not hold the KV" in answer["error"]["message"]
    assert answer["error"]["type"] == "server_error"


def test_unknown_params_fail_before_any_byte(prefill: MockerProcess, decode: MockerProcess) -> None:
    params = prefill_leg(prefill) | {"remote_request_id": "of-somebody-else"}
    status, answer = decode.ask("POST", CHAT, BODY | {"kv_transfer_params": params, "stream": True})
    assert (status, answer["error"]["type"]) == (500, "server_error")
    assert prefill.metric('weir_mocker_kv_handovers_total{result="unknown"}') >= 1


def test_params_of_an_engine_that_is_gone_fail(decode: MockerProcess) -> None:
    with mocker("--speed", "50") as gone:
        params = prefill_leg(gone)
    status, answer = decode.ask("POST", CHAT, BODY | {"kv_transfer_params": params})
    assert status == 500
    assert "cannot connect" in answer["error"]["message"]
    assert decode.metric('weir_mocker_kv_pulls_total{result="unreachable"}') == 1


def test_kv_of_another_prompt_is_not_taken(prefill: MockerProcess, decode: MockerProcess) -> None:
    other = {"messages": [{"role": "user", "content": "short"}]}
    params = prefill_leg(prefill)
    status, answer = decode.ask("POST", CHAT, BODY | other | {"kv_transfer_params": params})
    assert status == 500
    assert f"KV of {PROMPT_TOKENS} tokens" in answer["error"]["message"]


def test_kv_that_nobody_fetches_expires(decode: MockerProcess) -> None:
    with mocker("--speed", "50", "--kv-hold-s", "10") as prefill:
        params = prefill_leg(prefill)
        prefill.until("weir_mocker_kv_held", 0)
        assert prefill.metric('weir_mocker_kv_handovers_total{result="expired"}') == 1
        assert decode.ask("POST", CHAT, BODY | {"kv_transfer_params": params})[0] == 500


def test_a_decode_leg_without_params_prefills_itself(decode: MockerProcess) -> None:
    legs = decode.metric("weir_mocker_decode_legs_total")
    assert decode.ask("POST", CHAT, BODY)[0] == 200
    assert decode.ask("POST", CHAT, BODY | {"kv_transfer_params": None})[0] == 200
    assert decode.metric("weir_mocker_decode_legs_total") == legs


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"remote_port": None}, "kv_transfer_params.remote_port must be the port"),
        ({"remote_port": 70000}, "remote_port"),
        ({"remote_host": 5}, "remote_host must be a string"),
        ({"remote_request_id": "a b"}, "remote_request_id must be the string"),
    ],
)
def test_params_that_no_engine_gave_are_refused(
    decode: MockerProcess, wrong: dict[str, Any], says: str
) -> None:
    params = {
        "do_remote_prefill": True,
        "remote_engine_id": "e",
        "remote_request_id": "r",
        "remote_host": "127.0.0.1",
        "remote_port": 1,
    }
    status, answer = decode.ask("POST", CHAT, BODY | {"kv_transfer_params": params | wrong})
    assert status == 400
    assert says in answer["error"]["message"]


def test_a_prefill_leg_cannot_be_streamed(prefill: MockerProcess) -> None:
    leg = {"kv_transfer_params": PREFILL_LEG, "stream": True}
    assert prefill.ask("POST", CHAT, BODY | leg)[0] == 400


def test_nothing_is_kept_when_the_answer_was_complete(prefill: MockerProcess) -> None:
    held = prefill.metric("weir_mocker_kv_held")
    leg = {"max_tokens": 10, "kv_transfer_params": PREFILL_LEG}
    _, answer = prefill.ask("POST", CHAT, BODY | leg)
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["kv_transfer_params"] is None
    assert prefill.metric("weir_mocker_kv_held") == held
