import json

from router.frontend.bodies import (
    decode_body,
    onward_body,
    prefill_body,
    prefill_reply,
    release_body,
    with_cached_tokens,
    with_cached_tokens_last,
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
    assert json.loads(prefill_reply(reply)[0] or b"") == params


def test_numbers_of_params_stay_exact_however_long_they_are() -> None:
    params = {"a": 2**64 - 1, "b": -(2**63), "c": 2**127 + 1, "d": 0.1}
    reply = json.dumps({"kv_transfer_params": params}).encode()
    raw = prefill_reply(reply)[0] or b""
    assert json.loads(raw) == params
    assert b"%d" % (2**127 + 1) in raw


def test_a_reply_that_says_nothing_about_kv_has_no_params() -> None:
    for reply in (b"{}", b"[]", b"3", b"oops", b'{"kv_transfer_params":null}', b""):
        assert prefill_reply(reply) == (None, 0)
    assert prefill_reply(b'{"kv_transfer_params":{}}') == (None, 0)
    assert prefill_reply(b'{"kv_transfer_params":"x"}') == (None, 0)


def test_what_the_prefill_worker_found_cached_is_read_where_it_is_told() -> None:
    def cached(usage: object) -> int:
        reply = {"kv_transfer_params": {"a": 1}, "usage": usage}
        return prefill_reply(json.dumps(reply).encode())[1]

    assert cached({"prompt_tokens_details": {"cached_tokens": 32}}) == 32
    for nothing in (None, 3, {}, {"prompt_tokens_details": None}):
        assert cached(nothing) == 0
    for odd in (None, "32", -1, True, 1.5):
        assert cached({"prompt_tokens_details": {"cached_tokens": odd}}) == 0


def test_cached_tokens_of_the_prefill_leg_come_back_into_the_usage() -> None:
    def told(usage: object) -> object:
        reply = json.dumps({"id": "x", "usage": usage}).encode()
        answer = json.loads(with_cached_tokens(reply, 32))
        assert answer["id"] == "x"
        return answer["usage"]

    ours = {"cached_tokens": 32}
    assert told({"prompt_tokens": 50}) == {"prompt_tokens": 50, "prompt_tokens_details": ours}
    assert told({"prompt_tokens_details": None}) == {"prompt_tokens_details": ours}
    audio = {"audio_tokens": 0, "cached_tokens": 16}
    assert told({"prompt_tokens_details": audio}) == {"prompt_tokens_details": audio | ours}
    more = {"prompt_tokens_details": {"cached_tokens": 48}}
    assert told(more) == more
    for reply in (b'{"a": 1}', b"[1]", b"oops", b'{"usage": null}'):
        assert with_cached_tokens(reply, 32) is reply


def test_kv_is_released_by_one_token_that_is_not_streamed() -> None:
    original = {"model": "m", "prompt": "p", "max_tokens": 9, "stream": True, "min_tokens": 2}
    sent = json.loads(release_body(json.dumps(original).encode(), b'{"remote_port":5}'))
    assert sent == {
        "model": "m",
        "prompt": "p",
        "max_tokens": 1,
        "stream": False,
        "kv_transfer_params": {"remote_port": 5},
    }


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


def test_only_a_whole_event_of_nothing_but_usage_is_written_anew() -> None:
    usage = b'{"choices": [], "usage": {"prompt_tokens": 5}}'
    before, after = b'data: {"choices":[{"text":"\\"usage\\""}]}\n\n', b"\n\ndata: [DONE]\n\n"
    written = with_cached_tokens_last(before + b"data: " + usage + after, 4)
    assert written.startswith(before)
    assert written.endswith(after)
    event = json.loads(written[len(before) + 6 : -len(after)])
    assert event["usage"] == {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
    for other in (
        before,
        b"data: " + usage,
        usage + after,
        b'data: {"choices":[{}],"usage":{"prompt_tokens":5}}\n\n',
        b'data: {"choices":[],"usage":null}\n\n',
        b'data: oops "choices":[] "usage"\n\n',
        b"",
    ):
        assert with_cached_tokens_last(other, 4) == other
