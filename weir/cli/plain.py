"""Protobuf messages as plain data for `--json`."""

from typing import Any

from google.protobuf.message import Message

__all__ = ["plain"]


def plain(message: Message) -> dict[str, Any]:
    """Every field by its name in the proto; None where one is absent, which is not zero.

    Integers stay numbers, where protobuf's own JSON makes text of the longer ones.
    """
    return {field.name: _value(message, field) for field in message.DESCRIPTOR.fields}


def _value(message: Message, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return {key: _item(value[key]) for key in sorted(value)}
    if field.is_repeated:
        return [_item(item) for item in value]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _item(value)


def _item(value: Any) -> Any:
    return plain(value) if isinstance(value, Message) else value
