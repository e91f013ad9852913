"""The open connections of one server or pool, and their deadlines with one timer for all.

A request arms no timer of its own: it moves its connection's `deadline`.
"""

import asyncio
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

__all__ = ["Connections", "Expiring"]

_LONGEST_TICK_S = 1.0
_SHORTEST_TICK_S = 0.01
_TICKS_IN_A_TIMEOUT = 8


class Expiring(Protocol):
    """`deadline` is a reading of the loop's clock; infinity while nothing is awaited."""

    @property
    def deadline(self) -> float: ...

    def expire(self) -> None:
        """The deadline has passed. Must move it or leave the set."""


C = TypeVar("C", bound=Expiring)


class Connections(Generic[C]):
    """Looks at every member often enough to be late by an eighth of the shortest timeout."""

    __slots__ = ("_emptied", "_loop", "_members", "_tick_s", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tick_s = _LONGEST_TICK_S
        self._members: set[C] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Event | None = None

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[C]:
        """A snapshot: members may leave meanwhile."""
        return iter(list(self._members))

    def watch_for(self, timeout_s: float) -> None:
        """Tick finely enough for a timeout this short."""
        tick_s = max(_SHORTEST_TICK_S, timeout_s / _TICKS_IN_A_TIMEOUT)
        if tick_s >= self._tick_s:
            return
        self._tick_s = tick_s
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._loop.call_later(tick_s, self._tick)

    def add(self, member: C) -> None:
        self._members.add(member)
        if self._timer is None:
            self._timer = self._loop.call_later(self._tick_s, self._tick)

    def discard(self, member: C) -> None:
        self._members.discard(member)
        if not self._members and self._emptied is not None:
            self._emptied.set()

    async def empty(self, timeout_s: float) -> bool:
        """Wait until none is left; False if some are after `timeout_s`."""
        if not self._members:
            return True
        self._emptied = asyncio.Event()
        try:
            async with asyncio.timeout(timeout_s):
                await self._emptied.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Watch no deadline any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        now = self._loop.time()
        for member in [member for member in self._members if member.deadline <= now]:
            member.expire()
        if self._members and self._timer is None:
            self._timer = self._loop.call_later(self._tick_s, self._tick)
