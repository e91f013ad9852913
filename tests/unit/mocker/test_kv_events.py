"""A mock engine's cache as it is told to others."""

from weir.engine.kv import CLEARED, KvCache
from weir.mocker.kv_events import TokenBlocks, events_of
from weir.mocker.tokens import block_hashes, token_material

PROMPT = token_material([1, 2, 3, 4, 5, 6])
OTHER = token_material([7, 8])
ONE, TWO, THREE = HASHES = block_hashes(PROMPT, 2)
(ELSE,) = block_hashes(OTHER, 2)
MASK = 2**64 - 1


def _tokens() -> TokenBlocks:
    tokens = TokenBlocks(2)
    tokens.hold(HASHES, PROMPT)
    tokens.hold((ELSE,), OTHER)
    return tokens


def test_a_cache_tells_what_becomes_resident_and_what_no_more() -> None:
    cache = KvCache(total_blocks=4)
    cache.acquire(HASHES, 3)
    assert cache.changes is None  # nobody wants to know
    cache.release(HASHES, 3, 3)
    cache.changes = []
    assert not cache.acquire((ELSE,), 1) and cache.changes == [(ELSE, None, True)]
    cache.take(2)  # the end of what nobody uses goes first
    assert cache.changes[1:] == [(THREE, None, False), (TWO, None, False)]
    assert not cache.clear()
    cache.release((ELSE,), 1, 0)
    assert cache.changes[3:] == [(ELSE, None, False)]
    assert cache.clear() and cache.changes[-1] == CLEARED and not cache.resident(HASHES)


def test_blocks_that_follow_each_other_are_one_event() -> None:
    tokens = _tokens()
    changes = [(ONE, None, True), (TWO, ONE, True), (ELSE, None, True), (THREE, TWO, True)]
    events = events_of(changes, tokens)
    assert [event["block_hashes"] for event in events] == [
        [ONE & MASK, TWO & MASK],
        [ELSE & MASK],
        [THREE & MASK],
    ]
    assert [event["token_ids"] for event in events] == [[1, 2, 3, 4], [7, 8], [5, 6]]
    assert [event["parent_block_hash"] for event in events] == [None, None, TWO & MASK]


def test_tokens_are_kept_for_as_long_as_somebody_may_need_them() -> None:
    tokens = _tokens()
    events_of([(ONE, None, True), (TWO, ONE, True)], tokens)
    tokens.let_go(HASHES)
    tokens.let_go((ELSE,))
    assert len(tokens) == 2  # resident
    (removed,) = events_of([(TWO, None, False)], tokens)
    assert removed["block_hashes"] == [TWO & MASK] and len(tokens) == 1
    assert events_of([CLEARED], tokens) == [{"type": "AllBlocksCleared"}]
    assert len(tokens) == 0 and not tokens.resident
