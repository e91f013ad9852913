"""What ties a request to workers that have served before: its prompt's beginning, and its session.

A prompt becomes a chain of hashes, each over a block and all before it, so that equal hashes mean
equal beginnings. Blocks grow with the prompt: a prompt of any length has few, and what is known of
its shared part is known to a sixteenth.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, repeat

from router.core.reuse.holdings import TokenChain

__all__ = ["LEAST_SIZE", "Ties", "chain"]

LEAST_SIZE = 1024
"""What is shorter has no block."""

_FIRST_BLOCKS, _BLOCKS_PER_DOUBLING = 32, 16
_DOUBLINGS = 12


def _all_ends() -> tuple[int, ...]:
    """Blocks of `LEAST_SIZE` first, then twice as long each time that the prompt is."""
    sizes = [*repeat(LEAST_SIZE, _FIRST_BLOCKS)]
    for doubling in range(1, _DOUBLINGS + 1):
        sizes += repeat(LEAST_SIZE << doubling, _BLOCKS_PER_DOUBLING)
    return tuple(accumulate(sizes))


_ENDS = _all_ends()


class Ties:
    """`hashes[i]` covers the prompt up to `ends[i]` of its `size` (bytes or tokens, all alike).

    `before` is of that size, too: what comes ahead of the first block in every hash. `session` is
    the client's name for the conversation, empty without. `tokens`: None unless all of the prompt
    is known as the engine will have it.
    """

    __slots__ = ("before", "ends", "hashes", "session", "size", "tokens")

    def __init__(
        self,
        hashes: tuple[int, ...] = (),
        ends: Sequence[int] = _ENDS,
        size: int = 1,
        session: str = "",
        before: int = 0,
        tokens: TokenChain | None = None,
    ) -> None:
        self.hashes = hashes
        self.ends = ends
        self.size = size
        self.session = session
        self.before = before
        self.tokens = tokens

    def share(self, blocks: int) -> float:
        """Of the whole prompt, what its first so many blocks are."""
        if not blocks:
            return 0.0
        return min(1.0, (self.ends[blocks - 1] + self.before) / (self.size + self.before))


def chain(material: bytes, seed: int = 0) -> tuple[int, ...]:
    """The hashes of all whole blocks, which end at `Ties`' usual ends. Known in this process only.

    `seed` stands for what comes before. That nobody outside knows the hash function's key keeps
    clients from making prompts that look alike.
    """
    hashes = []
    begin, last = 0, seed
    for end in _ENDS[: bisect_right(_ENDS, len(material))]:
        last = hash((last, material[begin:end]))
        hashes.append(last)
        begin = end
    return tuple(hashes)
