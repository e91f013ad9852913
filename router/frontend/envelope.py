"""The JSON envelope of a request: checked for what routing needs, the rest left to engines.

A wrong type is refused here, with the field's name, before any engine is bothered.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson

from weir.domain.errors import RequestError

__all__ = ["Endpoint", "Envelope", "parse_envelope"]

_MAX_CHOICES = 128
_MAX_DEPTH = 254
"""Levels of nesting that orjson writes; it reads more."""
_LONG_BYTES, _FEW_MESSAGES = 4096, 16
"""Whether few messages are plain shows sooner than how many brackets a long body has."""


class Endpoint(Enum):
    """What is asked for; the value is its path."""

    CHAT = "/v1/chat/completions"
    COMPLETIONS = "/v1/completions"


@dataclass(slots=True)
class Envelope:
    """`prompt_bytes` counts UTF-8 text; `prompt_tokens` is exact and None for text.

    Nobody changes it; freezing it would cost more than reading the body.
    """

    endpoint: Endpoint
    data: dict[str, Any]
    model: str
    prompt_bytes: int
    prompt_tokens: int | None
    max_tokens: int | None
    streaming: bool
    priority: int | None


def parse_envelope(endpoint: Endpoint, body: bytes) -> Envelope:
    """Raises `RequestError` that names the field to mend."""
    data = _load(body)
    model = data.get("model")
    if not isinstance(model, str) or not model:
        raise _wrong("model", "must be a non-empty string")
    streaming = "stream" in data and _flag(data, "stream")
    if "stream_options" in data:
        _check_stream_options(data, streaming)
    if "n" in data:
        _integer(data, "n", low=1, high=_MAX_CHOICES)
    if endpoint is Endpoint.CHAT:
        prompt_bytes, prompt_tokens = _measure_chat(data), None
        max_tokens = None
        if "max_completion_tokens" in data:
            max_tokens = _integer(data, "max_completion_tokens", low=1)
    else:
        prompt_bytes, prompt_tokens = _measure_prompt(data.get("prompt"))
        max_tokens = None
    if "max_tokens" in data:
        legacy_max_tokens = _integer(data, "max_tokens", low=1)
        max_tokens = legacy_max_tokens if max_tokens is None else max_tokens
    return Envelope(
        endpoint,
        data,
        model,
        prompt_bytes,
        prompt_tokens,
        max_tokens,
        streaming,
        _integer(data, "priority") if "priority" in data else None,
    )


def _load(body: bytes) -> dict[str, Any]:
    if not body:
        raise RequestError("the body is empty; send a JSON object")
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not valid JSON: {error}") from None
    if not isinstance(data, dict):
        raise RequestError(f"the body must be a JSON object, not {_kind(data)}")
    if len(body) > _LONG_BYTES and _is_flat(data):
        return data
    if body.count(b"{") + body.count(b"[") > _MAX_DEPTH:
        _check_depth(data)
    return data


def _is_flat(data: dict[str, Any]) -> bool:
    """Whether nothing is nested but a few messages, of which nothing is."""
    for name, value in data.items():
        if isinstance(value, dict) or (isinstance(value, list) and name != "messages"):
            return False
    messages = data.get("messages")
    if not isinstance(messages, list):
        return True
    if len(messages) > _FEW_MESSAGES:
        return False
    for message in messages:
        for value in message.values() if isinstance(message, dict) else (message,):
            if isinstance(value, dict | list):
                return False
    return True


def _check_depth(data: dict[str, Any]) -> None:
    """What is written again for a prefill worker must be writable."""
    try:
        orjson.dumps(data)
    except orjson.JSONEncodeError:
        raise RequestError(
            f"the body is nested too deeply; at most {_MAX_DEPTH} levels are taken"
        ) from None


def _wrong(param: str, problem: str, value: object = None) -> RequestError:
    suffix = "" if value is None else f", not {_kind(value)}"
    return RequestError(f"`{param}` {problem}{suffix}", param=param)


_KINDS: dict[type, str] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


def _kind(value: object) -> str:
    return _KINDS.get(type(value), type(value).__name__)


def _flag(data: dict[str, Any], name: str) -> bool:
    value = data.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise _wrong(name, "must be a boolean", value)


def _integer(
    data: dict[str, Any], name: str, *, low: int | None = None, high: int | None = None
) -> int | None:
    value = data.get(name)
    if value is None:
        return None
    if type(value) is not int:
        raise _wrong(name, "must be an integer", value)
    if low is not None and value < low:
        raise _wrong(name, f"must be at least {low}; it is {value}")
    if high is not None and value > high:
        raise _wrong(name, f"must be at most {high}; it is {value}")
    return value


def _check_stream_options(data: dict[str, Any], streaming: bool) -> None:
    options = data.get("stream_options")
    if options is None:
        return
    if not isinstance(options, dict):
        raise _wrong("stream_options", "must be an object", options)
    if not streaming:
        raise _wrong("stream_options", "is only allowed when `stream` is true")
    if not isinstance(options.get("include_usage", False), bool | None):
        raise _wrong("stream_options.include_usage", "must be a boolean")


def _measure_chat(data: dict[str, Any]) -> int:
    """Bytes of all text that becomes part of the prompt, tool definitions included."""
    messages = data.get("messages")
    if messages is None:
        raise _wrong("messages", "is missing")
    if not isinstance(messages, list):
        raise _wrong("messages", "must be an array", messages)
    if not messages:
        raise _wrong("messages", "must not be empty")
    size = 0
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise _wrong(f"messages[{index}]", "must be an object", message)
        if not isinstance(message.get("role"), str):
            raise _wrong(f"messages[{index}].role", "must be a string")
        content = message.get("content")
        if isinstance(content, str):
            size += len(content) if content.isascii() else len(content.encode())
        elif content is not None:
            size += _measure_parts(content, f"messages[{index}].content")
        calls = message.get("tool_calls")
        if calls:
            size += len(orjson.dumps(calls))
    tools = data.get("tools")
    if tools is not None:
        if not isinstance(tools, list):
            raise _wrong("tools", "must be an array", tools)
        size += len(orjson.dumps(tools))
    return size


def _measure_parts(parts: object, where: str) -> int:
    if not isinstance(parts, list):
        raise _wrong(where, "must be a string or an array", parts)
    size = 0
    for index, part in enumerate(parts):
        if isinstance(part, str):
            size += _utf8_length(part)
        elif not isinstance(part, dict):
            raise _wrong(f"{where}[{index}]", "must be an object", part)
        else:
            text = part.get("text")
            if isinstance(text, str):
                size += _utf8_length(text)
            elif text is not None:
                raise _wrong(f"{where}[{index}].text", "must be a string", text)
    return size


def _measure_prompt(prompt: object) -> tuple[int, int | None]:
    """Bytes and, if given as token ids, tokens of one prompt or of a batch of them."""
    if isinstance(prompt, str):
        return _utf8_length(prompt), None
    if prompt is None:
        raise _wrong("prompt", "is missing")
    if not isinstance(prompt, list):
        raise _wrong("prompt", "must be a string or an array", prompt)
    if not prompt:
        raise _wrong("prompt", "must not be empty")
    kinds = set(map(type, prompt))
    measure = _BATCHES.get(kinds.pop()) if len(kinds) == 1 else None
    if measure is None:
        raise _wrong("prompt", "must be a string, an array of strings, or of token ids")
    return measure(prompt)


def _measure_texts(prompts: list[str]) -> tuple[int, int | None]:
    return sum(map(_utf8_length, prompts)), None


def _measure_ids(prompt: list[int]) -> tuple[int, int | None]:
    if min(prompt) < 0:
        raise _wrong("prompt", "must not contain negative token ids")
    return 0, len(prompt)


def _measure_id_lists(prompts: list[list[Any]]) -> tuple[int, int | None]:
    tokens = 0
    for index, prompt in enumerate(prompts):
        if not prompt or set(map(type, prompt)) != {int} or min(prompt) < 0:
            raise _wrong(f"prompt[{index}]", "must be a non-empty array of token ids")
        tokens += len(prompt)
    return 0, tokens


_BATCHES: dict[type, Callable[[list[Any]], tuple[int, int | None]]] = {
    str: _measure_texts,
    int: _measure_ids,
    list: _measure_id_lists,
}


def _utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
