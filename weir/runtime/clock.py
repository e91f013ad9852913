"""Model time and wall time of one process.

Model time is what planners, engines and the router measure and decide in. `weir up
--speed X` runs it X times faster than the wall clock, in every process from one origin.
Deadlines of RPCs and leases are wall time.
"""

import asyncio
import time
from dataclasses import dataclass

__all__ = ["Clock"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """`speed` model seconds pass in a wall second; model time is 0 at `origin_s`.

    `origin_s` is a reading of this machine's monotonic clock, so processes that share it
    share their model time.
    """

    speed: float = 1.0
    origin_s: float = 0.0

    def __post_init__(self) -> None:
        if not self.speed > 0.0:
            raise ValueError(f"speed must be > 0, not {self.speed}")

    def now_s(self) -> float:
        """Model seconds since the origin; never goes backwards."""
        return (time.monotonic() - self.origin_s) * self.speed

    @staticmethod
    def wall_s() -> float:
        """Monotonic wall seconds, for deadlines of RPCs and leases."""
        return time.monotonic()

    @staticmethod
    def unix_s() -> float:
        """Seconds since 1970, for people and for what has a time of day."""
        return time.time()

    def wall_span_s(self, model_s: float) -> float:
        """Wall seconds in which `model_s` model seconds pass."""
        return model_s / self.speed

    async def sleep(self, model_s: float) -> None:
        """Sleep for `model_s` model seconds."""
        await asyncio.sleep(max(0.0, model_s) / self.speed)
