"""When a pool that cannot start what it was granted gives the rest back, so that others get it.

Invariant: while the pool has withdrawn it runs no more than `at` replicas, whatever it is granted.
That ends only under a grant of at most as many, so everything beyond it is granted anew: the
GlobalPlanner may have given away what it was told it could have back.
"""

from dataclasses import dataclass

__all__ = ["Withdrawal"]

_REFUSALS = 3
_FIRST_S = 30.0
_LONGEST_S = 240.0


@dataclass(slots=True)
class Withdrawal:
    """After some refused starts in a row; for longer each time, until a start succeeds.

    Times are seconds of one monotonic clock.
    """

    at: int | None = None
    _refused: int = 0
    _lasts_s: float = _FIRST_S
    _until_s: float = 0.0

    def refused(self, held: int, now_s: float) -> bool:
        """A start was refused while `held` replicas had GPUs; whether the pool withdraws now."""
        self._refused += 1
        if self.at is not None or self._refused < _REFUSALS:
            return False
        self.at, self._until_s = held, now_s + self._lasts_s
        self._lasts_s = min(_LONGEST_S, 2.0 * self._lasts_s)
        return True

    def started(self) -> None:
        self._refused, self._lasts_s = 0, _FIRST_S

    def most(self, granted: int, now_s: float) -> int:
        """Replicas that the pool may run under a grant of so many."""
        if self.at is None:
            return granted
        if now_s >= self._until_s and granted <= self.at:
            self.at, self._refused = None, 0
            return granted
        return min(granted, self.at)
