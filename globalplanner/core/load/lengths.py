"""How long a class's prompts and outputs are, and how long it takes to give them.

Decoding lasts: after a rate has changed, the number of requests that decode follows as slowly as
outputs take. With stays that end at a constant rate it is what arrivals, averaged with weights that
fall by e in a stay, would be at rest (the M/M/infinity queue). So decode pools have time to start
replicas for long outputs, and go on with what they have begun.
"""

from dataclasses import dataclass
from math import exp

from weir.domain.telemetry import ClassTraffic

__all__ = ["Lengths"]

_MEMORY_S = 300.0
_LEAST_MEMORY_S = 30.0
"""Over less, chance looks like change."""


@dataclass(slots=True)
class Lengths:
    """Decayed sums, so that means follow what is offered now.

    `decoding_rps`: the rate at which as many requests would decode as do now.
    """

    at_s: float
    decoding_rps: float | None = None
    _arrivals: float = 0.0
    _isl_tokens: float = 0.0
    _completed: float = 0.0
    _osl_tokens: float = 0.0
    _timed: float = 0.0
    _itl_s: float = 0.0

    def add(self, traffic: ClassTraffic, now_s: float) -> None:
        """Take in what one router counted in a window that has just ended."""
        keep = exp(-max(0.0, now_s - self.at_s) / _MEMORY_S)
        self.at_s = max(self.at_s, now_s)
        self._arrivals = self._arrivals * keep + traffic.arrivals
        self._isl_tokens = self._isl_tokens * keep + traffic.isl_tokens
        self._completed = self._completed * keep + traffic.completed
        self._osl_tokens = self._osl_tokens * keep + traffic.osl_tokens
        timed, itl_s = traffic.itl_s.total, traffic.itl_s.mean()
        self._timed = self._timed * keep + timed
        self._itl_s = self._itl_s * keep + timed * (itl_s or 0.0)

    def measured(self, rate_rps: float, window_s: float) -> None:
        """So many arrive per second, all routers together."""
        if self.decoding_rps is None:
            self.decoding_rps = rate_rps
        else:
            gain = 1.0 - exp(-window_s / max(self.stay_s, _LEAST_MEMORY_S))
            self.decoding_rps += gain * (rate_rps - self.decoding_rps)

    def decoding_until(self, ahead_s: float, rate_rps: float) -> float:
        """The most that `decoding_rps` is from now to then, if from now on `rate_rps` arrive."""
        now_rps = self.decoding_rps if self.decoding_rps is not None else rate_rps
        keep = exp(-ahead_s / self.stay_s) if self.stay_s > 0.0 else 0.0
        return max(now_rps, now_rps * keep + rate_rps * (1.0 - keep))

    @property
    def isl_tokens(self) -> float:
        return _mean(self._isl_tokens, self._arrivals)

    @property
    def osl_tokens(self) -> float:
        return _mean(self._osl_tokens, self._completed)

    @property
    def stay_s(self) -> float:
        """How long a request decodes; 0 where nobody has seen one end."""
        return self.osl_tokens * _mean(self._itl_s, self._timed)


def _mean(total: float, count: float) -> float:
    return total / count if count > 0.0 else 0.0
