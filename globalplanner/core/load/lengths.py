"""How long a class's prompts and outputs are, and for what rate decode replicas are needed.

Decoding lasts: after a rate has changed, the number of requests that decode follows as slowly as
outputs take. With stays that end at a constant rate it is what arrivals, averaged with weights that
fall by e in a stay, would be at rest (the M/M/infinity queue). So decode pools have time to start
replicas for long outputs, and go on with what they have begun. Where routers tell how many decode
now, that is where it starts from, whatever is believed of lengths.
"""

from dataclasses import dataclass, field
from math import exp

from weir.domain.telemetry import ClassTraffic
from weir.sizing.outputs import Outputs

__all__ = ["Lengths"]

_MEMORY_S = 300.0
_LEAST_MEMORY_S = 30.0
"""Over less, chance looks like change."""


@dataclass(slots=True)
class Lengths:
    """Decayed sums, so that means follow what is offered now.

    `usual_rps`: arrivals, averaged over as long as outputs take. `decoding_rps`: the rate at which
    as many requests would decode as do now.
    """

    at_s: float
    usual_rps: float | None = None
    decoding_rps: float | None = None
    outputs: Outputs = field(init=False)
    _arrivals: float = 0.0
    _isl_tokens: float = 0.0

    def __post_init__(self) -> None:
        self.outputs = Outputs(self.at_s)

    def add(self, traffic: ClassTraffic, now_s: float) -> None:
        """Take in what one router counted in a window that has just ended."""
        keep = exp(-max(0.0, now_s - self.at_s) / _MEMORY_S)
        self.at_s = max(self.at_s, now_s)
        self._arrivals = self._arrivals * keep + traffic.arrivals
        self._isl_tokens = self._isl_tokens * keep + traffic.isl_tokens
        self.outputs.add(traffic, now_s)

    def measured(self, rate_rps: float, decoding: float | None, window_s: float) -> None:
        """So many arrive per second and decode, all routers together; None if it is not told."""
        stay_s = self.outputs.stay_s
        if self.usual_rps is None:
            self.usual_rps = rate_rps
        gain = 1.0 - exp(-window_s / max(stay_s, _LEAST_MEMORY_S))
        self.usual_rps += gain * (rate_rps - self.usual_rps)
        if decoding is None or stay_s <= 0.0:
            self.decoding_rps = self.usual_rps
        else:
            self.decoding_rps = decoding / stay_s

    def decoding_until(self, ahead_s: float, rate_rps: float) -> float:
        """`decoding_rps` then, if `rate_rps` arrive.

        Those that decode now go on. The longer outputs take, the less a rise of arrivals counts
        that may be over before it is felt, and the more what is usual does in a lull.
        """
        stay_s = self.outputs.stay_s
        keep = exp(-ahead_s / stay_s) if stay_s > 0.0 else 0.0
        usual_rps = self.usual_rps if self.usual_rps is not None else rate_rps
        now_rps = self.decoding_rps if self.decoding_rps is not None else rate_rps
        next_rps = usual_rps + (1.0 - keep) * max(0.0, rate_rps - usual_rps)
        return now_rps * keep + next_rps * (1.0 - keep)

    @property
    def isl_tokens(self) -> float:
        return self._isl_tokens / self._arrivals if self._arrivals > 0.0 else 0.0

    @property
    def osl_tokens(self) -> float:
        return self.outputs.mean_tokens
