"""The bodies of the two legs of a disaggregated request (vLLM's `kv_transfer_params`)."""

import json
import re
from typing import Any

import orjson

__all__ = [
    "decode_body",
    "onward_body",
    "prefill_body",
    "prefill_reply",
    "release_body",
    "with_cached_tokens",
    "with_cached_tokens_last",
]

_FIELD = "kv_transfer_params"
_ASK_FOR_TRANSFER = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    "remote_engine_id": None,
    "remote_block_ids": None,
    "remote_host": None,
    "remote_port": None,
}
_NOT_FOR_PREFILL = ("stream_options", "min_tokens", "min_completion_tokens")
_LONG_NUMBER = b"0" * 19
"""Of so many digits a number may be beyond 64 bits, which orjson reads as a float."""
_ANY_DIGIT = bytes.maketrans(b"123456789", b"000000000")
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')


def prefill_body(original: bytes) -> bytes:
    """The request as a prefill worker gets it: one token, whole, its KV kept for a pull."""
    return orjson.dumps(_one_token(original) | {_FIELD: _ASK_FOR_TRANSFER})


def release_body(original: bytes, params: bytes) -> bytes:
    """A decode leg that ends with its first token: the KV is fetched, and so given up elsewhere."""
    return decode_body(orjson.dumps(_one_token(original)), params)


def _one_token(original: bytes) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(original)
    body |= {"stream": False, "max_tokens": 1}
    if "max_completion_tokens" in body:
        body["max_completion_tokens"] = 1
    for name in _NOT_FOR_PREFILL:
        body.pop(name, None)
    return body


def prefill_reply(reply: bytes) -> tuple[bytes | None, int]:
    """What the prefill worker says about its KV, not interpreted; None if it says nothing.

    And how many tokens of the prompt it found cached.
    """
    try:
        data = orjson.loads(reply)
        params = data.get(_FIELD)
        if not (isinstance(params, dict) and params):
            return None, 0
        if _LONG_NUMBER not in reply.translate(_ANY_DIGIT):
            raw = orjson.dumps(params)
        else:
            raw = json.dumps(json.loads(reply)[_FIELD], separators=(",", ":")).encode()
        return raw, _cached_tokens(data)
    except (orjson.JSONDecodeError, AttributeError):
        return None, 0


def _cached_tokens(data: dict[str, Any]) -> int:
    usage = data.get("usage")
    details = usage.get("prompt_tokens_details") if isinstance(usage, dict) else None
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return cached if type(cached) is int and cached > 0 else 0


def with_cached_tokens(reply: bytes, cached_tokens: int) -> bytes:
    """The decode worker's answer, saying so many tokens of the prompt at least were cached.

    Unchanged if it has no `usage`, or says so already.
    """
    try:
        data = orjson.loads(reply)
    except orjson.JSONDecodeError:
        return reply
    usage = data.get("usage") if isinstance(data, dict) else None
    if not isinstance(usage, dict) or _cached_tokens(data) >= cached_tokens:
        return reply
    details = usage.get("prompt_tokens_details")
    known = details if isinstance(details, dict) else {}
    usage["prompt_tokens_details"] = known | {"cached_tokens": cached_tokens}
    return orjson.dumps(data)


def decode_body(original: bytes, params: bytes | None) -> bytes:
    """The client's own bytes with `params` put in as the object's last field.

    `original` is a JSON object with at least one field.
    """
    if params is None:
        return original
    return b'%b,"%b":%b}' % (original[: original.rindex(b"}")], _FIELD.encode(), params)


def with_cached_tokens_last(events: bytes, cached_tokens: int) -> bytes:
    """The same of the event of a stream that has nothing but `usage`, if it is here as a whole."""
    at = events.rfind(b'"usage"')
    begin = events.rfind(b"data: ", 0, at) + 6
    end = events.find(b"\n", at)
    if at < 0 or begin < 6 or end < 0:
        return events
    event = events[begin:end]
    if _NO_CHOICES.search(event) is None:
        return events
    return events[:begin] + with_cached_tokens(event, cached_tokens) + events[end:]


def onward_body(original: bytes, data: dict[str, Any], model: str | None = None) -> bytes:
    """The body without the field that would make an engine fetch from where a client says.

    `model`, unless None, is asked for instead of the client's.
    """
    if _FIELD in data:
        del data[_FIELD]
    elif model is None:
        return original
    if model is not None:
        data["model"] = model
    return orjson.dumps(data)
