"""Where requests wait: for the prefill of others, and for a place among those that decode."""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from weir.sizing.case import Case
from weir.sizing.queueing import held_share, late_share, mean_held_s, sizes

__all__ = ["Line", "Places"]

_LEAST_STEEPNESS = 0.05


@dataclass(frozen=True, slots=True)
class Line:
    """Prompts that wait for prefill: alone `own_s` each, in a busy replica `service_s`.

    `full_s`: an iteration as full as it gets, in which whoever came later takes part too.
    """

    case: Case
    own_s: float
    service_s: float
    full_s: float
    allowed_s: float

    def late(self, load: float) -> float:
        """Share of requests whose prefill ends later than allowed at this load (0..1)."""
        held, held_s = self._wait(load)
        late, longest_s = 0.0, max(0.5 * self.allowed_s, self.own_s)
        for size, share in sizes(self.case.queue.isl_spread):
            own_s = min(size * self.own_s, longest_s)
            left_s, joined_s = self.allowed_s - own_s, max(0.0, self.full_s - own_s)
            # The longest wait that leaves time for the own prompt and those that join it.
            spare_s = max(left_s / (1.0 + load), left_s - joined_s)
            late += share * late_share(held, held_s, spare_s)
        return late

    def mean_s(self, load: float) -> float:
        """Seconds from arrival to the end of the prefill, in the mean."""
        held, held_s = self._wait(load)
        joined_s = min(load * held_s, max(0.0, self.full_s - self.own_s))
        return self.own_s + held * (held_s + joined_s)

    def _wait(self, load: float) -> tuple[float, float]:
        """Share of requests that wait, and how long these do in the mean."""
        queue = self.case.queue
        ratio = 1.0 if queue.isl_tokens is None else queue.isl_tokens / self.case.isl_tokens
        held = held_share((1.0 - load) * math.sqrt(queue.replicas))
        return held, mean_held_s(
            queue, service_s=ratio * self.service_s, spread=queue.isl_spread, load=load
        )


class Places:
    """Replicas that decode up to so many sequences at once; `itl_s` by their number, from 1.

    One more sequence delays the others. So the number of them varies more than that of calls on
    telephone lines: with rate `r(b)` at `b` sequences the variance is their mean over d ln r /
    d ln b (the Ornstein-Uhlenbeck process around the point where as many end as come).
    """

    def __init__(self, case: Case, itl_s: tuple[float, ...]) -> None:
        self._case = case
        self._itl_s = itl_s
        self._rates, self._reached, self._order = _rates(itl_s, case.osl_tokens)

    def rate_rps(self, batch: int) -> float:
        return self._rates[batch - 1]

    def fastest_first(self) -> Iterator[tuple[int, float]]:
        """Numbers of sequences and their time of an iteration, the greatest rate first."""
        return ((i + 1, self._itl_s[i]) for i in self._order if self._rates[i] > 0.0)

    def late(self, batch: int, allowed_s: float, share: float) -> float:
        """Share of requests that wait longer for one of `batch` places in each replica."""
        if allowed_s == math.inf:
            return 0.0
        return late_share(*self._wait(batch, share), allowed_s)

    def mean_s(self, batch: int, share: float) -> float:
        """Seconds that requests wait for a place, in the mean."""
        held, held_s = self._wait(batch, share)
        return held * held_s if held > 0.0 else 0.0

    def _wait(self, batch: int, share: float) -> tuple[float, float]:
        """Share of requests that wait, and how long these do in the mean."""
        queue, rate_rps = self._case.queue, self._rates[batch - 1]
        held_s = mean_held_s(queue, service_s=1.0 / rate_rps, spread=queue.osl_spread, load=share)
        return held_share(self._margin(batch, share)), held_s

    def used(self, batch: int, share: float) -> float:
        """How many of `batch` places are in use, in the mean."""
        return self._used(batch, share * self._rates[batch - 1])[0]

    def _used(self, batch: int, wanted: float) -> tuple[float, float]:
        """The same at this rate, and how much the next one adds to it."""
        at = min(bisect_left(self._reached, wanted), batch - 1)
        below = self._rates[at - 1] if at else 0.0
        step = self._rates[at] - below
        return at + (min(1.0, (wanted - below) / step) if step > 0.0 else 1.0), step

    def _margin(self, batch: int, share: float) -> float:
        """Free places over the standard deviation of those in use."""
        queue, wanted = self._case.queue, share * self._rates[batch - 1]
        used, step = self._used(batch, wanted)
        steepness = min(1.0, max(_LEAST_STEEPNESS, step * used / wanted))
        variance = queue.replicas * used * 0.5 * (1.0 + queue.burstiness) / steepness
        return queue.replicas * max(0.0, batch - used) / math.sqrt(variance)


@lru_cache(maxsize=64)
def _rates(
    itl_s: tuple[float, ...], osl_tokens: int
) -> tuple[Sequence[float], Sequence[float], Sequence[int]]:
    """Requests/s by number of sequences, the most up to each, and places by falling rate."""
    rates = [batch / (osl_tokens * time_s) for batch, time_s in enumerate(itl_s, start=1)]
    order = sorted(range(len(rates)), key=lambda i: (-rates[i], i))
    return rates, list(accumulate(rates, max)), order
