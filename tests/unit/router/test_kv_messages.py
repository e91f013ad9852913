"""What vLLM's versions send, and what nobody should have sent."""

from typing import Any

import msgpack
import pytest

from router.adapters.kv_messages import MalformedError, events_of, number_of
from router.core.reuse.holdings import Cleared, Removed, Stored

NAMED: dict[str, Any] = {
    "type": "BlockStored",
    "block_hashes": [b"\x01" * 32, b"\x02" * 32],
    "parent_block_hash": None,
    "token_ids": [1, 2, 3, 4],
    "block_size": 2,
    "lora_id": None,
    "medium": "GPU",
    "lora_name": None,
}
TOKENS = bytes([1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0])


def _of(*events: Any, named: bool = True) -> list[Any]:
    batch = {"ts": 1.0, "events": events, "data_parallel_rank": 0} if named else [1.0, events]
    return events_of(msgpack.packb(batch))


def test_named_fields_and_fields_in_order_say_the_same() -> None:
    ordered = ["BlockStored", *list(NAMED.values())[1:6]]
    assert _of(NAMED) == _of(ordered, named=False)
    assert _of(NAMED) == [Stored([b"\x01" * 32, b"\x02" * 32], None, TOKENS, 2)]
    assert _of(["BlockRemoved", [7]], ["AllBlocksCleared"], named=False) == [
        Removed([7]),
        Cleared(),
    ]


def test_many_blocks_come_in_pieces_each_after_the_one_before() -> None:
    blocks = list(range(600))
    first, second, third = _of(NAMED | {"block_hashes": blocks, "token_ids": list(range(1200))})
    assert [*first.blocks, *second.blocks, *third.blocks] == blocks
    assert (first.parent, second.parent, third.parent) == (None, 255, 511)
    assert len(third.tokens) == 4 * 2 * len(third.blocks)


@pytest.mark.parametrize(
    "more", [{"lora_id": 1}, {"lora_name": "a"}, {"extra_keys": [None, ["salt"]]}]
)
def test_what_holds_more_than_its_tokens_is_not_plain(more: dict[str, Any]) -> None:
    assert [event.plain for event in _of(NAMED | more)] == [False]
    assert [event.plain for event in _of(NAMED | {"extra_keys": [None, None]})] == [True]


def test_copies_that_are_not_on_the_gpu_say_nothing() -> None:
    removed = {"type": "BlockRemoved", "block_hashes": [1], "medium": "CPU"}
    assert _of(NAMED | {"medium": "CPU"}, removed) == []


def test_of_groups_of_layers_the_first_is_stored_and_any_removed() -> None:
    removed = {"type": "BlockRemoved", "block_hashes": [1], "medium": "GPU", "group_idx": 1}
    assert _of(NAMED | {"group_idx": 1}, removed) == [Removed([1])]


@pytest.mark.parametrize(
    "event",
    [
        {"type": "BlockMoved"},
        [],
        [["BlockRemoved"]],
        7,
        {"type": "BlockRemoved"},
        {"type": "BlockRemoved", "block_hashes": [[1]]},
        {"type": ["BlockRemoved"], "block_hashes": [1]},
        NAMED | {"token_ids": [1, 2, 3]},
        NAMED | {"token_ids": [1, 2, 3, -4]},
        NAMED | {"token_ids": "abcd"},
        NAMED | {"token_ids": None},
        NAMED | {"block_size": 0, "token_ids": []},
        NAMED | {"block_size": 2.0},
        NAMED | {"parent_block_hash": {}},
        NAMED | {"extra_keys": 3},
        {key: value for key, value in NAMED.items() if key != "parent_block_hash"},
    ],
)
def test_what_no_engine_says_is_malformed(event: Any) -> None:
    with pytest.raises(MalformedError):
        _of(event)


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x90", b"\x07", b"\x91\x92", b"\x80" * 3])
def test_what_is_no_batch_is_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedError):
        events_of(payload)


def test_numbers_have_eight_bytes() -> None:
    assert number_of(bytes(7) + b"\x05") == 5
    with pytest.raises(MalformedError):
        number_of(b"\x05")
