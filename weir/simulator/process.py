"""A simulated process: it lives, dies with all its memory, and may be started again.

Its clock is its own: monotonic, but off from the others' by an offset and by a drift.
"""

from collections.abc import Callable
from dataclasses import dataclass

from weir.runtime.clock import Clock
from weir.simulator.events import EventHeap

__all__ = ["Process", "SkewedClock"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SkewedClock(Clock):
    """Virtual time as one process reads it; model and wall seconds are the same."""

    events: EventHeap
    offset_s: float = 0.0
    drift: float = 0.0

    def now_s(self) -> float:
        return self.events.now_s * (1.0 + self.drift) + self.offset_s

    def wall_s(self) -> float:  # type: ignore[override]
        return self.now_s()

    def unix_s(self) -> float:  # type: ignore[override]
        return self.now_s()


class Process:
    """`begin` is called at every start of it, `forget` at every end. `life` counts the starts."""

    def __init__(
        self,
        name: str,
        *,
        begin: Callable[[], None] = lambda: None,
        forget: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.alive = False
        self.life = 0
        self._begin = begin
        self._forget = forget

    def start(self) -> None:
        if not self.alive:
            self.alive = True
            self.life += 1
            self._begin()

    def crash(self) -> None:
        """Die as by SIGKILL: what it had in memory is lost, nobody is told."""
        if self.alive:
            self.alive = False
            self._forget()
