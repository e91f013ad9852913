"""A map that holds a limited number of entries: clients choose what is remembered about them."""

from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

__all__ = ["Bounded"]

_MOST = 4096
_SPARED = 8


class _Entry(Protocol):
    used: bool
    """Set by whoever uses it after it was put."""


_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V", bound=_Entry)


class Bounded(Generic[_K, _V]):
    """At most `_MOST` entries. For a new one the oldest goes that was not used since its last turn.

    So entries that are made once and never used again do not push out those in use.
    """

    def __init__(self) -> None:
        self._entries: dict[_K, _V] = {}
        self.get: Callable[[_K], _V | None] = self._entries.get

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: _K, entry: _V) -> _V:
        """Remember what is not there yet."""
        entries = self._entries
        if len(entries) >= _MOST:
            for _ in range(_SPARED):
                oldest = next(iter(entries))
                spared = entries.pop(oldest)
                if not spared.used:
                    break
                spared.used = False
                entries[oldest] = spared
            else:
                del entries[next(iter(entries))]
        entries[key] = entry
        return entry
