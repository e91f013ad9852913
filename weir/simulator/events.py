"""Virtual time: what happens next, in order.

Invariant: time never runs backwards; what is due at the same instant happens in the order in
which it was entered.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Any

__all__ = ["EventHeap"]

_Event = tuple[float, int, Callable[[Any], object], Any]


class EventHeap:
    """Calls with one argument each, by time."""

    __slots__ = ("_heap", "_order", "happened", "now_s")

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s
        self.happened = 0
        """Events until now."""
        self._heap: list[_Event] = []
        self._order = count()

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def next_s(self) -> float:
        """When the next event is due; infinity if there is none."""
        return self._heap[0][0] if self._heap else inf

    def at(self, time_s: float, call: Callable[[Any], object], argument: Any = None) -> None:
        """Call `call(argument)` at `time_s`, at once if that has passed."""
        heappush(self._heap, (time_s, next(self._order), call, argument))

    def after(self, delay_s: float, call: Callable[[Any], object], argument: Any = None) -> None:
        heappush(self._heap, (self.now_s + delay_s, next(self._order), call, argument))

    def step(self) -> None:
        """Let the next event happen. Raises `IndexError` if there is none."""
        time_s, _, call, argument = heappop(self._heap)
        if time_s > self.now_s:
            self.now_s = time_s
        self.happened += 1
        call(argument)

    def run_until(self, limit_s: float, check: Callable[[], None]) -> None:
        """Let everything happen that is due by `limit_s`, and call `check` after each event."""
        heap = self._heap
        while heap and heap[0][0] <= limit_s:
            time_s, _, call, argument = heappop(heap)
            if time_s > self.now_s:
                self.now_s = time_s
            self.happened += 1
            call(argument)
            check()
