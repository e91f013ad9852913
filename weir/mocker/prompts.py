"""Prompts as clients send them, checked and turned into material."""

from typing import Any

from weir.domain.errors import RequestError
from weir.mocker.fields import Fields
from weir.mocker.tokens import chat_material, text_material, token_material

__all__ = ["chat_prompt", "completion_prompt"]


def chat_prompt(fields: Fields) -> bytes:
    """The material of `messages`. Raises `RequestError`."""
    messages = fields.raw("messages")
    if not isinstance(messages, list) or not messages:
        raise fields.wrong("messages", "a non-empty array of messages")
    return chat_material(_message(message, index) for index, message in enumerate(messages))


def _message(data: Any, index: int) -> tuple[str, str]:
    where = f"messages[{index}]"
    if not isinstance(data, dict):
        raise RequestError(f"{where} must be an object", param=where)
    role, content = data.get("role"), data.get("content")
    if not isinstance(role, str) or not role:
        raise RequestError(f"{where}.role must be a string", param=f"{where}.role")
    if isinstance(content, list):
        content = "".join(_part(part, f"{where}.content[{at}]") for at, part in enumerate(content))
    elif content is None and role == "assistant":
        content = ""  # a message that only called tools
    if not isinstance(content, str):
        expected = "must be a string or an array of parts"
        raise RequestError(f"{where}.content {expected}", param=f"{where}.content")
    return role, content


def _part(data: Any, where: str) -> str:
    if not isinstance(data, dict) or not isinstance(data.get("type"), str):
        raise RequestError(f"{where} must be an object with a type", param=where)
    if data["type"] not in ("text", "input_text"):
        return ""  # other kinds are taken and count nothing
    if not isinstance(data.get("text"), str):
        raise RequestError(f"{where}.text must be a string", param=f"{where}.text")
    text: str = data["text"]
    return text


def completion_prompt(fields: Fields) -> bytes:
    """The material of `prompt`: text or token ids, one of them. Raises `RequestError`."""
    prompt = fields.raw("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        prompt = prompt[0]
    if isinstance(prompt, str):
        if not prompt:
            raise RequestError("prompt must not be empty", param="prompt")
        return text_material(prompt)
    if isinstance(prompt, list) and prompt:
        kinds = set(map(type, prompt))
        if kinds == {int}:
            return _tokens(prompt)
        if kinds <= {str, list}:
            raise RequestError("prompt must be a single one: send a request each", param="prompt")
    raise fields.wrong("prompt", "a string or an array of token ids")


def _tokens(ids: list[int]) -> bytes:
    try:
        return token_material(ids)
    except OverflowError:
        raise RequestError("token ids must be from 0 to 2^32 - 1", param="prompt") from None
