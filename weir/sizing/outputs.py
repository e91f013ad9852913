"""How long a class's outputs are, those that have not ended yet considered.

Long outputs end late. So after a change of load, as after a start, those that end are short, and
their mean says too little; when the load goes away it says too much. Of lifetimes of which many are
still open the mean is the time that all have spent over the number of those that ended: the maximum
likelihood where lifetimes are exponential, and by Little's law right at rest whatever they are.
"""

from dataclasses import dataclass
from math import exp

from weir.domain.telemetry import ClassTraffic

__all__ = ["Outputs"]

_LEAST_MEMORY_S = 60.0
_MOST_MEMORY_S = 900.0
_STAYS = 2.0
"""Arrivals vary: over less than so many stays, what ends says little about what decodes."""
_REMEMBERED = 100.0
"""So many outputs are remembered however long ago they ended."""
_CALM_S = 100.0
"""Until about so much time has been spent decoding it counts less: that of a few is chance."""


@dataclass(slots=True)
class Outputs:
    """Decayed sums over all requests of a class, whichever router they went through.

    `completed`: requests that the mean stands for.
    """

    at_s: float
    completed: float = 0.0
    _tokens: float = 0.0
    _spent_s: float = 0.0
    _ended_s: float = 0.0
    _timed: float = 0.0
    _itl_s: float = 0.0

    def add(self, traffic: ClassTraffic, now_s: float) -> None:
        """Take in what one router counted in a window that has just ended."""
        keep = self._keep(max(0.0, now_s - self.at_s))
        self.at_s = max(self.at_s, now_s)
        timed, itl_s = traffic.itl_s.total, traffic.itl_s.mean()
        self.completed = self.completed * keep + traffic.completed
        self._tokens = self._tokens * keep + traffic.osl_tokens
        self._spent_s = self._spent_s * keep + (traffic.decoding_ms or 0) / 1000.0
        self._ended_s = self._ended_s * keep + (traffic.completed_decoding_ms or 0) / 1000.0
        self._timed = self._timed * keep + timed
        self._itl_s = self._itl_s * keep + timed * (itl_s or 0.0)

    @property
    def total_tokens(self) -> float:
        """Of `completed` outputs, as long as outputs are in the mean."""
        return self._tokens * self._longer

    @property
    def mean_tokens(self) -> float:
        """0 where nobody has seen one end."""
        return self.total_tokens / self.completed if self.completed > 0.0 else 0.0

    @property
    def stay_s(self) -> float:
        """How long a request decodes; 0 where nobody has seen one end."""
        if self.completed <= 0.0:
            return 0.0
        if self._ended_s > 0.0:
            return self._longer * self._ended_s / self.completed
        return self.mean_tokens * self._itl_s / self._timed if self._timed > 0.0 else 0.0

    @property
    def _longer(self) -> float:
        """By this factor outputs are longer than those that have ended."""
        return (self._spent_s + _CALM_S) / (self._ended_s + _CALM_S)

    def _keep(self, passed_s: float) -> float:
        memory_s = min(max(_LEAST_MEMORY_S, _STAYS * self.stay_s), _MOST_MEMORY_S)
        return max(exp(-passed_s / memory_s), min(1.0, _REMEMBERED / max(1.0, self.completed)))
