"""Its long loop: engines for the load predicted of the next window, at full batches of the mean.

Its result is the least number of replicas of the short loop.
"""

import math

from weir.simulator.policies.dynamo.engine import EngineKnown
from weir.simulator.policies.dynamo.load import Means
from weir.simulator.policies.dynamo.predictors import PREDICTORS
from weir.simulator.policies.seen import Traffic

__all__ = ["INTERVAL_S", "ThroughputLoop"]

INTERVAL_S = 180.0
_MOST_STEP = 8


class ThroughputLoop:
    """One pool. Windows without calls repeat the lengths of the last that had some."""

    def __init__(self, known: EngineKnown, predictor: str, *, ttft_s: float, itl_s: float) -> None:
        self._known = known
        self._ttft_s, self._itl_s = ttft_s, itl_s
        self._requests, self._isl, self._osl = (PREDICTORS[predictor]() for _ in range(3))
        self.means: Means | None = None
        """Of the latest window that had calls."""

    def window(self, traffic: Traffic, current: int, least: int = 1) -> int | None:
        """Replicas for the next window, given this one; None before any call has ended."""
        isl, osl = traffic.mean_isl_tokens, traffic.mean_osl_tokens
        if self.means is not None:
            isl = self.means.isl_tokens if isl is None else isl
            osl = self.means.osl_tokens if osl is None else osl
        if isl is None or osl is None:
            return None
        self.means = Means(isl, osl)
        self._requests.add(traffic.arrivals)
        self._isl.add(isl)
        self._osl.add(osl)
        return self._replicas(current, least)

    def _replicas(self, current: int, least: int) -> int:
        engine_rps = self._known.capacity_rps(
            self._isl.next(), self._osl.next(), ttft_s=self._ttft_s, itl_s=self._itl_s
        )
        demand_rps = self._requests.next() / INTERVAL_S
        wanted = max(math.ceil(demand_rps / engine_rps - 1e-9), least)
        return max(current - _MOST_STEP, min(current + _MOST_STEP, wanted))
