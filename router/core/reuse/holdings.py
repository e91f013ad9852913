"""What engines say that they hold: their own account, block by block, in the order they tell it.

Invariant: of a holder only blocks are known that it has stored, and has not removed since, by the
events delivered without a gap. Where an event may be missing all of the holder's is forgotten.

Engines name blocks by hashes of their own. Here they are named anew, by what they hold: a chain
over tokens, so that a prompt whose tokens are known can be looked up.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import count
from typing import Any, Generic, TypeVar

__all__ = [
    "Cleared",
    "Event",
    "Holdings",
    "Order",
    "Removed",
    "Step",
    "Stored",
    "TokenChain",
    "link",
]

H = TypeVar("H", bound=Hashable)

_TOKEN_BYTES = 4
_MOST_BLOCKS = 1_048_576
_NOBODY: frozenset[Any] = frozenset()
_changes = count(1)
"""Of all that is told to anybody, so that a number stands for one pool at one moment."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Blocks that follow each other, the first one after `parent`; None if it is a prompt's first.

    `tokens` are those of all of them, four bytes each. Not `plain`: they hold more than what the
    tokens say (an adapter's, an image's), so that they are of no use to a prompt of the same.
    """

    blocks: Sequence[Hashable]
    parent: Hashable | None
    tokens: bytes
    block_tokens: int
    plain: bool = True


@dataclass(frozen=True, slots=True)
class Removed:
    blocks: Sequence[Hashable]


@dataclass(frozen=True, slots=True)
class Cleared:
    """It holds nothing now."""


Event = Stored | Removed | Cleared


def link(before: int, tokens: bytes) -> int:
    """The name of a block after the one named `before`: the first is after its size in tokens."""
    return hash((before, tokens))


class TokenChain:
    """A prompt's blocks by name, for blocks of any size, each named when it is first asked for."""

    __slots__ = ("_data", "_named", "found_at")

    def __init__(self, data: bytes) -> None:
        """`data`: four bytes for each token."""
        self._data = data
        self.found_at: tuple[int, Mapping[Any, int]] | None = None
        """Who had it when it was looked for last, by the number of what had been told then."""
        self._named: dict[int, list[int]] = {}

    def names(self, block_tokens: int) -> Iterator[int]:
        """Of its whole blocks but one that would leave nothing to compute, first to last."""
        named = self._named.setdefault(block_tokens, [])
        size = block_tokens * _TOKEN_BYTES
        most = (len(self._data) - _TOKEN_BYTES) // size
        for index in range(most):
            if index == len(named):
                before = named[-1] if named else block_tokens
                named.append(link(before, self._data[index * size : (index + 1) * size]))
            yield named[index]


class _Held:
    """Of one holder, the name of each block by its engine's hash; None if it cannot be told."""

    __slots__ = ("block_tokens", "complete", "names", "times")

    def __init__(self) -> None:
        self.names: dict[Hashable, int | None] = {}
        self.times: dict[int, int] = {}
        """How many blocks there are of a name."""
        self.block_tokens = 0
        self.complete = False


class Holdings(Generic[H]):
    """Of all holders of a pool; `most_blocks` of all of them, beyond which none is learned."""

    def __init__(self, most_blocks: int = _MOST_BLOCKS) -> None:
        self._most_blocks = most_blocks
        self._held: dict[H, _Held] = {}
        self._holders: dict[int, frozenset[H]] = {}
        self._changed = next(_changes)
        self.blocks = 0
        """Known, of all holders together."""
        self.events = dict.fromkeys(("stored", "removed", "cleared"), 0)
        """Delivered so far."""
        self.gaps = dict.fromkeys(("replayed", "forgotten"), 0)
        """Events that were missed, by what became of it."""
        self.restarts = 0
        """Engines that began anew, or were out of reach."""
        self.malformed = 0
        """Messages that could not be understood."""

    # --- what engines tell ------------------------------------------------------------------

    def begin(self, holder: H) -> None:
        """It held nothing before what it tells next."""
        self.forget(holder)
        self._held[holder] = held = _Held()
        held.complete = True

    def take(self, holder: H, event: Event) -> None:
        self._changed = next(_changes)
        held = self._held.get(holder)
        if isinstance(event, Stored):
            self.events["stored"] += 1
            if held is None:
                held = self._held[holder] = _Held()
            self._store(holder, held, event)
        elif isinstance(event, Removed):
            self.events["removed"] += 1
            if held is not None:
                self._remove(holder, held, event.blocks)
        else:
            self.events["cleared"] += 1
            self.begin(holder)

    def forget(self, holder: H) -> None:
        """It has gone, or has told something that was not heard."""
        self._changed = next(_changes)
        held = self._held.pop(holder, None)
        if held is not None:
            self.blocks -= len(held.names)
            for name in held.times:
                self._leave(name, holder)

    def _store(self, holder: H, held: _Held, event: Stored) -> None:
        if held.block_tokens != event.block_tokens:
            if held.names:  # blocks of several sizes: all are of use only where the sizes agree
                held.complete = False
                return
            held.block_tokens = event.block_tokens
        before: int | None = event.block_tokens
        if event.parent is not None:
            before = held.names.get(event.parent)
        if not event.plain:
            before = None
        size, tokens = event.block_tokens * _TOKEN_BYTES, event.tokens
        for index, block in enumerate(event.blocks):
            if before is not None:
                before = link(before, tokens[index * size : (index + 1) * size])
            if block in held.names:
                self._remove(holder, held, (block,))
            if self.blocks >= self._most_blocks:
                held.complete = False
                return
            held.names[block] = before
            self.blocks += 1
            if before is None:
                continue
            times = held.times.get(before, 0)
            held.times[before] = times + 1
            if not times:
                self._holders[before] = self._holders.get(before, frozenset()) | {holder}

    def _remove(self, holder: H, held: _Held, blocks: Iterable[Hashable]) -> None:
        for block in blocks:
            if block not in held.names:
                continue
            name = held.names.pop(block)
            self.blocks -= 1
            if name is None:
                continue
            held.times[name] -= 1
            if not held.times[name]:
                del held.times[name]
                self._leave(name, holder)

    def _leave(self, name: int, holder: H) -> None:
        left = self._holders[name] - {holder}
        if left:
            self._holders[name] = left
        else:
            del self._holders[name]

    @property
    def known(self) -> int:
        """Holders of which all is known."""
        return sum(held.complete for held in list(self._held.values()))

    # --- what can be told of it -------------------------------------------------------------

    def complete(self, holder: H) -> bool:
        """Whether all that it holds is known, and not only some of it."""
        held = self._held.get(holder)
        return held is not None and held.complete

    def held_tokens(self, holder: H) -> int | None:
        """How much it holds, of prompts and outputs; None unless all of it is known."""
        held = self._held.get(holder)
        if held is None or not held.complete:
            return None
        return len(held.names) * held.block_tokens

    def tokens(self, holder: H, prompt: TokenChain) -> int:
        """How much of the prompt's beginning it holds."""
        return self.holders(prompt).get(holder, 0)

    def holders(self, prompt: TokenChain) -> Mapping[H, int]:
        """Who holds anything of the prompt's beginning, and how much."""
        found_at = prompt.found_at
        if found_at is None or found_at[0] != self._changed:
            prompt.found_at = found_at = (self._changed, self._find(prompt))
        return found_at[1]

    def _find(self, prompt: TokenChain) -> dict[H, int]:
        found: dict[H, int] = {}
        for block_tokens in {held.block_tokens for held in self._held.values()} - {0}:
            blocks = 0
            left: frozenset[H] = _NOBODY
            for name in prompt.names(block_tokens):
                holders = self._holders.get(name, _NOBODY)
                stay = holders if not blocks else left & holders
                if len(stay) < len(left):
                    for gone in left - stay:
                        found[gone] = blocks * block_tokens
                left = stay
                if not left:
                    break
                blocks += 1
            for holder in left:
                found[holder] = blocks * block_tokens
        return found


class Step(Enum):
    """What to do with a message."""

    TAKE = auto()
    SKIP = auto()
    """It was replayed before."""
    GAP = auto()
    """Others before it have not come: have them replayed and look again, or `lose` them."""
    RESTART = auto()
    """Its engine began anew: forget it, `reset`, and look again."""


class Order:
    """Numbers of one engine's messages, from 0 on. It is live ones whose number never falls."""

    __slots__ = ("_live", "next")

    def __init__(self) -> None:
        self.next = 0
        """The number that all before have been taken of, or lost."""
        self._live = -1

    def look(self, number: int) -> Step:
        """At a live message."""
        if number <= self._live:
            return Step.RESTART
        if number > self.next:
            return Step.GAP
        self._live = number
        return Step.SKIP if number < self.next else Step.TAKE

    def lose(self, number: int) -> None:
        """What is missing before this one does not come any more."""
        self.next = max(self.next, number)

    def taken(self) -> None:
        self.next += 1

    def reset(self) -> None:
        """From 0 again."""
        self.next, self._live = 0, -1
