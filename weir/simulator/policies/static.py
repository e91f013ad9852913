"""As many replicas as ever, whatever comes; those that die are replaced.

A static fleet has not begun at any other size: it is there from the start.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from weir.domain.errors import WeirError
from weir.domain.ids import PoolId
from weir.simulator.oracle.plan import peak_need, quantile_need
from weir.simulator.policies.autoscaled import Autoscaled
from weir.simulator.policies.port import Policy
from weir.simulator.policies.scaler import Wish
from weir.simulator.policies.seen import PoolSeen

if TYPE_CHECKING:
    from weir.simulator.world import World

__all__ = ["StaticScaler", "make"]

_P99 = 0.99


class StaticScaler:
    interval_s = 3600.0

    def desired(self, seen: Mapping[PoolId, PoolSeen], now_s: float) -> Mapping[PoolId, Wish]:
        return {}


def make(argument: str) -> Policy:
    """A number of replicas of every pool, `peak`, or `p99` (of the true need of each pool)."""
    return Autoscaled(lambda world: StaticScaler(), _sizes(argument))


def _sizes(argument: str) -> Callable[["World"], Mapping[PoolId, int]]:
    if argument == "peak":
        return _peak
    if argument == "p99":
        return _p99
    if argument.isdecimal():
        count = int(argument)
        return lambda world: {spec.id: count for spec in world.fleet.pools}
    raise WeirError(f"policy static:{argument}: give a number of replicas, peak, or p99")


def _peak(world: "World") -> Mapping[PoolId, int]:
    return peak_need(world.scenario.oracle)


def _p99(world: "World") -> Mapping[PoolId, int]:
    return quantile_need(world.scenario.oracle, _P99)
