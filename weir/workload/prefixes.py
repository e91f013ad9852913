"""Prompts that begin alike, made so that each reuses as many tokens as its trace says.

A trace tells of each request how much of its prompt had been seen before, and not with whom it
shares that. Here it continues the newest request whose whole prompt was that long, as a
conversation's next turn does; else it shares the beginning of the newest that is longer. So an
unlimited cache for all of them would skip exactly what the trace says.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK_TOKENS", "block_chains"]

BLOCK_TOKENS = 512
"""Traces tell of reuse in blocks of so many."""


def block_chains(
    isl_tokens: NDArray[np.int64], reuse_tokens: NDArray[np.int64]
) -> list[tuple[int, ...]]:
    """For each request, in order of time, a number for every whole block of its prompt.

    Equal numbers mean that the prompts are equal up to the block's end. Unknown reuse (-1) is none.
    """
    by_length: dict[int, tuple[int, ...]] = {}
    chains: list[tuple[int, ...]] = []
    fresh = 0
    for isl, reuse in zip(isl_tokens.tolist(), reuse_tokens.tolist(), strict=True):
        blocks = isl // BLOCK_TOKENS
        shared = _beginning(by_length, min(blocks, max(0, reuse) // BLOCK_TOKENS))
        new = blocks - len(shared)
        chain = (*shared, *range(fresh + 1, fresh + new + 1))
        fresh += new
        chains.append(chain)
        by_length.pop(blocks, None)
        by_length[blocks] = chain
    return chains


def _beginning(by_length: dict[int, tuple[int, ...]], blocks: int) -> tuple[int, ...]:
    """So many blocks of one that was there; fewer, if nobody had so many.

    `by_length`: the newest chain of each length, the newest of all last.
    """
    if not blocks:
        return ()
    same = by_length.get(blocks)
    if same is not None:
        return same
    for length in reversed(by_length):
        if length > blocks:
            return by_length[length][:blocks]
    return max(by_length.values(), key=len, default=())
