"""Tell a burst from a rate: requests that come at once are work that is queued, not a trend.

Pools report what is queued, so a burst is answered from there, once. Counted as a rate as well
it would be answered twice, and a stage that swallows it without a queue would grow for nothing.
A count far above what is usual is therefore admitted only as far as the counts next to it
sustain it; traffic that is always bursty widens what is usual.
"""

import math
from dataclasses import dataclass

__all__ = ["BurstFilter"]

_MEMORY_S = 60.0
_USUAL_SIGMA = 4.0
_LEARNED_SIGMA = 6.0
"""A larger surprise says no more about what is usual: one burst must not pave the next's way."""
_SUSTAINED_BY = 3
"""Samples in a row that make a rate of a burst."""
_HEADROOM = 1.5
"""By how much a sample may lie above the lowest of them."""


@dataclass(slots=True)
class BurstFilter:
    """One router's count of one class, sample by sample."""

    mean_rps: float = 0.0
    variance: float = 0.0
    _recent: tuple[float, ...] = ()

    def admit(self, rate_rps: float, window_s: float) -> float:
        """The part of one sample's rate that counts as rate."""
        self._recent = (*self._recent[1 - _SUSTAINED_BY :], rate_rps)
        sustained = min(self._recent) if len(self._recent) == _SUSTAINED_BY else 0.0
        poisson = (self.mean_rps + 1.0 / window_s) / window_s
        sigma = math.sqrt(max(poisson, self.variance))
        usual = self.mean_rps + _USUAL_SIGMA * sigma
        admitted = min(rate_rps, max(usual, _HEADROOM * sustained))
        gain = 1.0 - math.exp(-window_s / _MEMORY_S)
        surprise = min(rate_rps - self.mean_rps, _LEARNED_SIGMA * sigma)
        self.variance += gain * (surprise * surprise - self.variance)
        self.mean_rps += gain * (admitted - self.mean_rps)
        return admitted
