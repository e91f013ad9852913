"""KV space in blocks, with a cache of prompt prefixes.

Invariant: `used_blocks` = blocks without a hash that sequences own + hashed blocks that at least
one sequence refers to; `used_blocks` + idle (hashed, referred to by none) <= `total_blocks`.
Idle blocks are evicted, least recently used first, when their space is needed.

A hash stands for the whole prefix up to its block, and a sequence that refers to a block refers
to all before it. Blocks of one sequence become idle last to first. So a resident block's
predecessors are resident, and looking a prompt up can stop at its first miss.
"""

from collections import OrderedDict
from collections.abc import Sequence

__all__ = ["CLEARED", "KvCache", "KvChange"]

KvChange = tuple[int | None, int | None, bool]
"""A hash, of what was resident before it (None: it is the first), and whether it is now."""

CLEARED: KvChange = (None, None, False)


class KvCache:
    """Counts blocks; only those with a hash have an identity."""

    __slots__ = ("_idle", "_references", "changes", "total_blocks", "used_blocks")

    def __init__(self, total_blocks: int) -> None:
        self.total_blocks = total_blocks
        self.used_blocks = 0
        self._references: dict[int, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()
        self.changes: list[KvChange] | None = None
        """Of which hashes are resident, in order, if somebody wants to know; they take them."""

    @property
    def free_blocks(self) -> int:
        """Blocks that can be taken now, idle ones included."""
        return self.total_blocks - self.used_blocks

    @property
    def idle_blocks(self) -> int:
        return len(self._idle)

    def resident(self, hashes: Sequence[int]) -> int:
        """How many of the leading `hashes` are in the cache; changes nothing."""
        references = self._references
        for index, block in enumerate(hashes):
            if block not in references:
                return index
        return len(hashes)

    def take(self, blocks: int) -> bool:
        """Take `blocks` blocks without a hash; False (and nothing changed) if there is no space."""
        if blocks > self.total_blocks - self.used_blocks:
            return False
        self.used_blocks += blocks
        if self._idle:
            self._evict()
        return True

    def give(self, blocks: int) -> None:
        """Give back `blocks` blocks without a hash."""
        self.used_blocks -= blocks

    def acquire(self, hashes: Sequence[int], blocks: int) -> int | None:
        """Take `blocks` blocks, the first of them named by `hashes`.

        Returns how many leading hashes were resident, or None (and nothing changed) when there
        is no space. The new hashes are resident from now on.
        """
        references, hits = self._references, self.resident(hashes)
        idle_hits = sum(1 for block in hashes[:hits] if not references[block]) if hits else 0
        taken = blocks - hits + idle_hits
        if taken > self.total_blocks - self.used_blocks:
            return None
        for block in hashes[:hits]:
            if not references[block]:
                del self._idle[block]
            references[block] += 1
        references.update(dict.fromkeys(hashes[hits:] if hits else hashes, 1))
        self.used_blocks += taken
        self._evict()
        if self.changes is not None:
            for index in range(hits, len(hashes)):
                self.changes.append((hashes[index], hashes[index - 1] if index else None, True))
        return hits

    def release(self, hashes: Sequence[int], blocks: int, computed_blocks: int) -> None:
        """Give back `blocks` blocks; of the hashed ones the computed stay resident."""
        references, idle = self._references, self._idle
        unused = blocks - len(hashes)
        for index in range(len(hashes) - 1, -1, -1):
            block = hashes[index]
            count = references[block] - 1
            if count:
                references[block] = count
                continue
            unused += 1
            if index < computed_blocks:
                references[block] = 0
                idle[block] = None
            else:
                del references[block]
                if self.changes is not None:
                    self.changes.append((block, None, False))
        self.used_blocks -= unused

    def clear(self) -> bool:
        """Forget all hashes; False (and nothing changed) if sequences refer to some."""
        if len(self._idle) < len(self._references):
            return False
        self._idle.clear()
        self._references.clear()
        if self.changes is not None:
            self.changes.append(CLEARED)
        return True

    def _evict(self) -> None:
        """Forget idle blocks whose space is in use."""
        excess = self.used_blocks + len(self._idle) - self.total_blocks
        while excess > 0:
            block, _ = self._idle.popitem(last=False)
            del self._references[block]
            excess -= 1
            if self.changes is not None:
                self.changes.append((block, None, False))
