"""The bodies of the two legs of a disaggregated request (vLLM's `kv_transfer_params`)."""

from typing import Any

import orjson

__all__ = ["decode_body", "onward_body", "prefill_body", "transfer_params"]

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


def prefill_body(original: bytes) -> bytes:
    """The request as a prefill worker gets it: one token, whole, its KV kept for a pull."""
    body = orjson.loads(original)
    body |= {"stream": False, "max_tokens": 1, _FIELD: _ASK_FOR_TRANSFER}
    if "max_completion_tokens" in body:
        body["max_completion_tokens"] = 1
    for name in _NOT_FOR_PREFILL:
        body.pop(name, None)
    return orjson.dumps(body)


def transfer_params(reply: bytes) -> bytes | None:
    """What the prefill worker says about its KV, not interpreted; None if it says nothing."""
    try:
        params = orjson.loads(reply)[_FIELD]
        return orjson.dumps(params) if isinstance(params, dict) and params else None
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
        return None


def decode_body(original: bytes, params: bytes | None) -> bytes:
    """The client's own bytes with `params` put in as the object's last field.

    `original` is a JSON object with at least one field.
    """
    if params is None:
        return original
    return b'%b,"%b":%b}' % (original[: original.rindex(b"}")], _FIELD.encode(), params)


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
