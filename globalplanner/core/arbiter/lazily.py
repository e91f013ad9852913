"""Mappings whose values are worked out when somebody reads them."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

__all__ = ["Lazily"]

K = TypeVar("K")
V = TypeVar("V")


class Lazily(Mapping[K, V]):
    """`make` is called once, at the first look."""

    def __init__(self, make: Callable[[], Mapping[K, V]]) -> None:
        self._make: Callable[[], Mapping[K, V]] | None = make
        self._made: Mapping[K, V] = {}

    def __getitem__(self, key: K) -> V:
        return self._all()[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return repr(self._all())

    def _all(self) -> Mapping[K, V]:
        if self._make is not None:
            self._made, self._make = self._make(), None
        return self._made
