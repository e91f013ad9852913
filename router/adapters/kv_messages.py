"""vLLM's KV events as they are written: msgpack of a batch, its parts named or in order.

Versions differ in which; all of them may have fields that come after those that are known here.
"""

from array import array
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import msgpack

from router.core.reuse.holdings import Cleared, Event, Removed, Stored

__all__ = ["MalformedError", "events_of", "number_of"]

_NUMBER_BYTES = 8
_PIECE = 256
_BATCH = ("ts", "events", "data_parallel_rank")
_FIELDS = {
    "BlockStored": (
        "block_hashes",
        "parent_block_hash",
        "token_ids",
        "block_size",
        "lora_id",
        "medium",
        "lora_name",
        "extra_keys",
        "group_idx",
    ),
    "BlockRemoved": ("block_hashes", "medium", "group_idx"),
    "AllBlocksCleared": (),
}
_ON_GPU = (None, "GPU")
_FIRST_GROUP = (None, 0)


class MalformedError(ValueError):
    """Not what an engine would send: what it said is not known."""


def number_of(frame: bytes) -> int:
    """A message's number. Raises `MalformedError`."""
    if len(frame) != _NUMBER_BYTES:
        raise MalformedError(f"a number of {len(frame)} bytes")
    return int.from_bytes(frame, "big")


def events_of(payload: bytes) -> list[Event]:
    """Those about blocks on GPUs, in order. Raises `MalformedError`."""
    try:
        batch = _named(msgpack.unpackb(payload, strict_map_key=False), _BATCH)
        events = batch.get("events")
        if not isinstance(events, list):
            raise MalformedError("no events")
        return [event for each in events for event in _event(each)]
    except MalformedError:
        raise
    except Exception as error:  # whatever a library makes of bytes that anybody may have sent
        raise MalformedError(str(error)) from error


def _named(data: Any, names: Sequence[str]) -> dict[str, Any]:
    if isinstance(data, dict):
        return data
    if isinstance(data, list):
        return dict(zip(names, data, strict=False))
    raise MalformedError(f"neither fields nor a list: {type(data).__name__}")


def _event(data: Any) -> Iterator[Event]:
    if isinstance(data, list):
        kind = data[0] if data else None
        fields = _FIELDS.get(kind) if isinstance(kind, str) else None
        event = _named(data[1:], fields or ())
    else:
        event = _named(data, ())
        kind = event.get("type")
        fields = _FIELDS.get(kind) if isinstance(kind, str) else None
    if fields is None:
        raise MalformedError(f"an event of unknown kind {kind!r}"[:80])
    if kind == "AllBlocksCleared":
        yield Cleared()
    elif event.get("medium") not in _ON_GPU:
        return
    elif kind == "BlockRemoved":
        yield Removed(_blocks(event))
    elif event.get("group_idx") in _FIRST_GROUP:
        yield from _stored(event)


def _stored(event: dict[str, Any]) -> Iterator[Stored]:
    """In pieces, so that none is long to take."""
    blocks, size = _blocks(event), event["block_size"]
    parent = event["parent_block_hash"]
    if type(size) is not int or size < 1:
        raise MalformedError(f"blocks of {size!r} tokens"[:80])
    if not isinstance(parent, int | bytes | None):
        raise MalformedError("a parent that is no hash")
    tokens = array("I", event["token_ids"])
    if len(tokens) != len(blocks) * size:
        raise MalformedError(f"{len(tokens)} tokens in {len(blocks)} blocks of {size}")
    extra = event.get("extra_keys")
    plain = event.get("lora_id") is None and event.get("lora_name") is None
    plain = plain and not (extra and any(extra))
    for begin in range(0, len(blocks), _PIECE):
        piece = blocks[begin : begin + _PIECE]
        of_piece = tokens[begin * size : (begin + len(piece)) * size]
        yield Stored(piece, blocks[begin - 1] if begin else parent, of_piece.tobytes(), size, plain)


def _blocks(event: dict[str, Any]) -> Sequence[Hashable]:
    blocks = event["block_hashes"]
    if not isinstance(blocks, list) or not all(isinstance(each, int | bytes) for each in blocks):
        raise MalformedError("blocks that are no list of hashes")
    return blocks
