"""Prompts made from what a trace says of reuse."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from weir.workload.prefixes import BLOCK_TOKENS, block_chains


def chains(*requests: tuple[int, int]) -> list[tuple[int, ...]]:
    """Of requests of so many blocks that reuse so many."""
    blocks = np.array(requests, np.int64).reshape(-1, 2) * BLOCK_TOKENS
    return block_chains(blocks[:, 0] + 100, blocks[:, 1])


def test_a_turn_continues_the_newest_prompt_of_just_that_length() -> None:
    one, other, turn = chains((3, 0), (3, 0), (5, 3))
    assert turn[:3] == other
    assert not set(turn) & set(one)


def test_else_it_shares_the_beginning_of_the_newest_longer_one() -> None:
    long, longer, short, turn = chains((8, 0), (9, 0), (2, 0), (5, 4))
    assert turn[:4] == longer[:4]
    assert not set(turn) & {*long, *short}


def test_unknown_reuse_is_none() -> None:
    (first,) = block_chains(np.array([1200]), np.array([-1]))
    assert first == (1, 2)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=60))
def test_a_cache_of_everything_skips_what_the_trace_says(requests: list[tuple[int, int]]) -> None:
    """As far as a prompt of that length was there."""
    seen: set[tuple[int, ...]] = {()}
    longest = 0
    for (blocks, reuse), chain in zip(requests, chains(*requests), strict=True):
        assert len(chain) == blocks
        hits = max(n for n in range(blocks + 1) if chain[:n] in seen)
        assert hits == min(blocks, reuse, longest)
        seen |= {chain[:n] for n in range(blocks + 1)}
        longest = max(longest, blocks)
