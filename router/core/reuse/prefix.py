"""Who is believed to hold the beginning of a prompt.

Invariant: a holder that has a block of a chain has all before it. What is inserted counts as used
last block first, and what was not used longest is forgotten first, so the end of a chain goes
before its beginning. Therefore searching is by halves, and costs nothing for holders of less.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Generic, TypeVar

__all__ = ["PrefixIndex"]

H = TypeVar("H", bound=Hashable)


class _Held:
    """Blocks of one holder with their sizes, those not used longest first."""

    __slots__ = ("blocks", "size")

    def __init__(self) -> None:
        self.blocks: OrderedDict[int, int] = OrderedDict()
        self.size = 0


class PrefixIndex(Generic[H]):
    """`most_blocks` of all holders together; beyond that, who was inserted for longest ago loses.

    Nothing here is certain: engines forget when they want, and say nothing.
    """

    def __init__(self, most_blocks: int) -> None:
        self._most_blocks = most_blocks
        self._holders: dict[int, tuple[H, ...]] = {}
        self._held: OrderedDict[H, _Held] = OrderedDict()
        self.blocks = 0
        """Of all holders together."""

    def insert(self, holder: H, hashes: Sequence[int], ends: Sequence[int], most: float) -> None:
        """The holder has these now, and forgets what is more than `most` in all.

        `ends[i]` is where block i ends; `most` is in the same unit.
        """
        held = self._held.get(holder)
        if held is None:
            held = self._held[holder] = _Held()
        else:
            self._held.move_to_end(holder)
        blocks, holders = held.blocks, self._holders
        for index in range(len(hashes) - 1, -1, -1):
            block = hashes[index]
            if block in blocks:
                blocks.move_to_end(block)
                continue
            size = ends[index] - ends[index - 1] if index else ends[0]
            blocks[block] = size
            held.size += size
            self.blocks += 1
            others = holders.get(block)
            holders[block] = (holder,) if others is None else (*others, holder)
        self.trim(holder, most)
        while self.blocks > self._most_blocks:
            oldest = next(iter(self._held))
            self._forget_oldest(oldest, self._held[oldest])

    def trim(self, holder: H, most: float) -> bool:
        """The holder forgets what is more than `most` in all; whether that was anything."""
        held = self._held.get(holder)
        if held is None or held.size <= most:
            return False
        while held.size > most and held.blocks:
            self._forget_oldest(holder, held)
        return True

    def forget(self, holder: H) -> None:
        """It has gone, or has lost all it had."""
        held = self._held.pop(holder, None)
        if held is not None:
            self.blocks -= len(held.blocks)
            for block in held.blocks:
                self._leave(block, holder)

    def bound(self, holder: H, most: float) -> None:
        """It has no more than `most` of what it was inserted for."""
        held = self._held.get(holder)
        while held is not None and held.size > most and held.blocks:
            self._forget_oldest(holder, held)

    def held(self) -> dict[H, int]:
        """Of each holder, the size of what it has."""
        return {holder: held.size for holder, held in self._held.items()}

    def depth(self, holder: H, hashes: Sequence[int]) -> int:
        """How many leading blocks the holder has."""
        held = self._held.get(holder)
        if held is None:
            return 0
        return _deepest(hashes, len(hashes), lambda block: block in held.blocks)

    def best_depth(self, hashes: Sequence[int]) -> int:
        """How many leading blocks some holder has."""
        return _deepest(hashes, len(hashes), self._holders.__contains__)

    def best(self, hashes: Sequence[int]) -> Iterator[tuple[H, int]]:
        """Holders with how many leading blocks they have, those with most first."""
        holders = self._holders
        depth = self.best_depth(hashes)
        seen: set[H] = set()
        while depth:
            for holder in holders[hashes[depth - 1]]:
                if holder not in seen:
                    seen.add(holder)
                    yield holder, depth
            depth = self._wider(hashes, depth - 1, len(seen))

    def _wider(self, hashes: Sequence[int], most: int, than: int) -> int:
        """How many of the first `most` blocks more holders have `than` so many."""
        holders = self._holders
        return _deepest(hashes, most, lambda block: len(holders[block]) > than)

    def _forget_oldest(self, holder: H, held: _Held) -> None:
        block, size = held.blocks.popitem(last=False)
        held.size -= size
        self.blocks -= 1
        self._leave(block, holder)
        if not held.blocks:
            del self._held[holder]

    def _leave(self, block: int, holder: H) -> None:
        left = tuple(other for other in self._holders[block] if other != holder)
        if left:
            self._holders[block] = left
        else:
            del self._holders[block]


def _deepest(hashes: Sequence[int], most: int, holds: Callable[[int], bool]) -> int:
    """How many of the first `most` it holds for; after one for which it does not, for none."""
    if not most or not holds(hashes[0]):
        return 0
    if holds(hashes[most - 1]):
        return most
    low, high = 1, most - 1  # holds for `low` blocks, not for `high` + 1
    while low < high:
        middle = (low + high + 1) // 2
        if holds(hashes[middle - 1]):
            low = middle
        else:
            high = middle - 1
    return low
