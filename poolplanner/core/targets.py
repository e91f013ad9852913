"""How many replicas a pool asks for that is sized by thresholds of how full its engines are.

A look at the pool says what it needs: more once engines have been above for a while, fewer while
all are below, else what it has. The wish is the most that was needed within the dwell time, so
growth is immediate, and less is asked for only once less has been enough throughout.

Invariants:
* What is unknown asks for nothing, and counts as a need for what there is: after an outage nothing
  goes before a dwell time has been seen.
* Nothing is asked for beyond what the load needs: of a queue what comes and, within `horizon_s`,
  what is queued; else an even spread in the middle between the thresholds. Where few engines are
  hot, nothing beyond twice that. Nor, while nothing is above, beyond what there is.
* Of several looks in a row no more is asked for than twice what was ready: a backlog is not
  answered again while those started for it get ready.
* With the wish the load, spread evenly, is not above. Engines with more to do are slower and hold
  it longer, so that may be wrong; then no fewer are asked for again while the load is much the
  same. So on constant load the pool comes to rest.

A prefill pool's queue says little of what it needs: that goes by the time that engines spend in
iterations. Where it is not known the queue is spread evenly, and one replica goes at a time. Times
are in model seconds.
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
_TRIED_DWELLS = 5.0
"""Engines that are above so soon after some have gone are so because these have gone,"""
_SHORT_DWELLS = 60.0
"""and for so long no fewer are tried again,"""
_MUCH_LESS = 0.8
"""unless the load is below this share of what it was."""
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class _Fewer:
    """So few were asked for, with this load at all engines together."""

    count: int
    load: float
    at_s: float


@dataclass(slots=True, kw_only=True)
class Wishes:
    """One pool's. `dwell_s`: how long less must have been enough. `idle_s`: how long nothing must
    have been there before its last replica goes; None if that never does. `prefills`: its
    thresholds are of queues, and what is queued is to be gone within `horizon_s`.
    """

    thresholds: Thresholds
    dwell_s: float
    prefills: bool
    horizon_s: float = 20.0
    idle_s: float | None = None
    _above_since_s: float | None = None
    _idle_since_s: float | None = None
    _busy: float | None = None
    _busy_at_s: float = 0.0
    _fewer: _Fewer | None = None
    """The last time that less was asked for than there was."""
    _short: _Fewer | None = None
    """The last time that this was too little."""
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
            self._above_since_s = self._idle_since_s = self._busy = None
            self._most_needed(has, now_s)
            return None
        wish = self._most_needed(self._needed(fullness, now_s, ready, has), now_s)
        if wish < has:
            self._fewer = _Fewer(wish, self._load(fullness), now_s)
        return wish

    def _needed(self, fullness: Fullness, now_s: float, ready: int, has: int) -> int:
        self._note_busy(fullness.busy, now_s)
        last = self._last(fullness, now_s)
        if self.thresholds.above(fullness.hot):
            if not self._lasts(now_s):
                return has
            tried = self._fewer
            if tried and ready <= tried.count and now_s < tried.at_s + self.dwell_s * _TRIED_DWELLS:
                self._short = tried
            return max(has, self._more(fullness, ready))
        self._above_since_s = None
        if not self.thresholds.below(fullness.fullest):
            return has
        enough = max(self._enough(fullness, has), self._too_few(fullness, now_s) + 1)
        return max(last, has - max(1, has // _LEAVE), min(has, enough))

    def _last(self, fullness: Fullness, now_s: float) -> int:
        """1 while the last replica stays, else 0. The dwell time is part of the time to be idle."""
        if not fullness.idle:
            self._idle_since_s = None
            return 1
        if self._idle_since_s is None:
            self._idle_since_s = now_s
        lasted_s = now_s - self._idle_since_s + self.dwell_s
        return 0 if self.idle_s is not None and lasted_s >= self.idle_s else 1

    def _more(self, fullness: Fullness, ready: int) -> int:
        even = self._for_queue(fullness) or self._even(fullness.least)
        hot = min(ready + 1, 2 * even)
        return min(2 * ready, max(even, hot))

    def _for_queue(self, fullness: Fullness) -> int | None:
        """Prefill replicas that compute what comes and what is queued; None if unknown."""
        if self._busy is None or fullness.backlog_s is None:
            return None
        return ceil(self._busy / _BUSY + fullness.backlog_s / self.horizon_s - _ROUNDING)

    def _enough(self, fullness: Fullness, has: int) -> int:
        even = self._even(fullness.most)
        if not self.prefills or fullness.idle:
            return even
        return max(even, has - 1 if self._busy is None else ceil(self._busy / _BUSY - _ROUNDING))

    def _load(self, fullness: Fullness) -> float:
        return fullness.most if self._busy is None else self._busy

    def _too_few(self, fullness: Fullness, now_s: float) -> int:
        """Replicas that were too few for much the same load, not long ago; -1 if none are known."""
        short = self._short
        if short is None or now_s >= short.at_s + self.dwell_s * _SHORT_DWELLS:
            return -1
        return short.count if self._load(fullness) > _MUCH_LESS * short.load else -1

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
