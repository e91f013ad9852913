import json

from router.frontend.bodies import (
    decode_body,
    onward_body,
    prefill_body,
    transfer_params,
)


def test_params_go_in_before_the_last_brace_and_the_rest_keeps_its_bytes() -> None:
    original = b'{"model": "m", "x": {"y": "}"}} \n'
    assert decode_body(original, b'{"a":1}') == (
        b'{"model": "m", "x": {"y": "}"},"kv_transfer_params":{"a":1}}'
    )
    assert decode_body(original, None) is original


def test_params_are_handed_on_whatever_is_in_them() -> None:
    params = {"remote_block_ids": [[1, 2], None], "big": 2**63, "deep": {"x": 0.1}}
    reply = json.dumps({"id": "x", "kv_transfer_params": params}).encode()
    assert json.loads(transfer_params(reply) or b"") == params


def test_a_reply_that_says_nothing_about_kv_has_no_params() -> None:
    for reply in (b"{}", b"[]", b"3", b"oops", b'{"kv_transfer_params":null}', b""):
        assert transfer_params(reply) is None
    assert transfer_params(b'{"kv_transfer_params":{}}') is None
    assert transfer_params(b'{"kv_transfer_params":"x"}') is None


def test_the_prefill_leg_asks_for_one_whole_token() -> None:
    data = {"model": "m", "prompt": "p", "max_tokens": 9, "stream": True, "min_tokens": 2}
    sent = json.loads(prefill_body(json.dumps(data).encode()))
    assert (sent["max_tokens"], sent["stream"], sent["prompt"]) == (1, False, "p")
    assert "min_tokens" not in sent
    assert "max_completion_tokens" not in sent


def test_a_client_cannot_say_where_kv_comes_from() -> None:
    body = b'{"model":"m","kv_\\u0074ransfer_params":{"remote_host":"evil"}}'
    data = json.loads(body)
    assert json.loads(onward_body(body, data)) == {"model": "m"}
    assert onward_body(b'{"model":"m"}', {"model": "m"}) == b'{"model":"m"}'


def test_a_body_is_sent_on_with_the_model_that_is_asked_for_instead() -> None:
    data = {"model": "m", "prompt": "p", "kv_transfer_params": {}}
    sent = json.loads(onward_body(b"", data, "other"))
    assert sent == {"model": "other", "prompt": "p"}
