"""How many replicas a pool asks for that is sized by thresholds of how full its engines are.

A look at the pool says what it needs: more once engines have been above for a while, fewer while
all are below, else what it has. The wish is the most that was needed within the dwell time, so
growth is immediate, and less is asked for only once less has been enough throughout.

Invariants:
* What is unknown asks for nothing, and counts as a need for what there is: after an outage nothing
  goes before a dwell time has been seen.
* Nothing is asked for beyond what an even spread of the load needs in the middle between the
  thresholds; where few engines are hot, beyond twice that. Nor, while nothing is above, beyond
  what there is.
* Of several looks in a row no more is asked for than twice what was ready: a backlog is not
  answered again while those started for it get ready.
* With the wish the load, spread evenly, is not above: so on constant load nothing that went is
  called back.

A prefill pool's queue says little of what it could do without: it goes down by the time that
engines spend in iterations, or a replica at a time where that is not known. Times are in model
seconds.
"""

from collections import deque
from dataclasses import dataclass, field
from math import ceil, exp

from poolplanner.core.targets_fullness import Fullness
from weir.domain.targets import Thresholds

__all__ = ["Wishes"]

_BELIEVED_S = 5.0
"""Engines are above for so long before it counts: a single long prompt is no shortage."""
_BUSY = 0.8
"""Share of their time that prefill engines may spend in iterations after some have gone."""
_BUSY_MEMORY_S = 30.0
_LEAVE = 4
"""One in so many goes at once: those that stay are slower with more to do, and hold it longer."""
_ROUNDING = 1e-9


@dataclass(slots=True, kw_only=True)
class Wishes:
    """One pool's. `dwell_s`: how long less must have been enough. `prefills`: its thresholds are of
    queues.
    """

    thresholds: Thresholds
    dwell_s: float
    prefills: bool
    _above_since_s: float | None = None
    _busy: float | None = None
    _busy_at_s: float = 0.0
    _needs: deque[tuple[float, int]] = field(default_factory=deque)
    """When replicas were needed, and how many: each more than all that came later."""

    def look(self, fullness: Fullness | None, now_s: float, *, ready: int, has: int) -> int | None:
        """Replicas asked for at `now_s`; None if nobody knows what is needed.

        The pool `has` replicas, starting ones included but none that are about to end; `ready` of
        them serve.
        """
        if not self._needs:
            self._most_needed(has, now_s)
        if fullness is None or (has and not ready):
            self._above_since_s = self._busy = None
            self._most_needed(has, now_s)
            return None
        return self._most_needed(self._needed(fullness, now_s, ready, has), now_s)

    def _needed(self, fullness: Fullness, now_s: float, ready: int, has: int) -> int:
        self._note_busy(fullness.busy, now_s)
        if self.thresholds.above(fullness.hot):
            return max(has, self._more(fullness, ready)) if self._lasts(now_s) else has
        self._above_since_s = None
        if not self.thresholds.below(fullness.fullest):
            return has
        least = max(has - max(1, has // _LEAVE), 0 if fullness.idle else 1)
        return max(least, min(has, self._enough(fullness, has)))

    def _more(self, fullness: Fullness, ready: int) -> int:
        even = self._even(fullness.least)
        hot = min(ready + 1, 2 * even)
        return min(2 * ready, max(even, hot))

    def _enough(self, fullness: Fullness, has: int) -> int:
        even = self._even(fullness.most)
        if not self.prefills or fullness.idle:
            return even
        return max(even, has - 1 if self._busy is None else ceil(self._busy / _BUSY - _ROUNDING))

    def _even(self, load: float) -> int:
        """Engines that an even spread of all their loads needs."""
        middle = (self.thresholds.up + self.thresholds.down) / 2.0
        return ceil(load / middle - _ROUNDING)

    def _lasts(self, now_s: float) -> bool:
        """Engines are above now; whether that is so for long enough."""
        if self._above_since_s is None:
            self._above_since_s = now_s
        return now_s - self._above_since_s >= _BELIEVED_S

    def _note_busy(self, busy: float | None, now_s: float) -> None:
        """Follow the mean of the last half minute or so."""
        if busy is None or self._busy is None:
            self._busy = busy
        else:
            self._busy += (busy - self._busy) * (
                1.0 - exp((self._busy_at_s - now_s) / _BUSY_MEMORY_S)
            )
        self._busy_at_s = now_s

    def _most_needed(self, count: int, now_s: float) -> int:
        """The most within the dwell time, with `count` now."""
        needs = self._needs
        while needs and needs[-1][1] <= count:
            needs.pop()
        needs.append((now_s, count))
        while needs[0][0] <= now_s - self.dwell_s and len(needs) > 1:
            needs.popleft()
        return needs[0][1]
