"""What the oracle says about a fleet and a trace it knows in advance."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weir.domain.fleet import Fleet
from weir.domain.ids import PoolId
from weir.domain.profile import EngineProfile
from weir.simulator.homes import homes_of
from weir.simulator.oracle.curves import Bins
from weir.simulator.oracle.demand import home_needs
from weir.simulator.oracle.fitting import fitted
from weir.simulator.oracle.floor import gpu_hours_floor
from weir.simulator.oracle.offered import Offered
from weir.simulator.oracle.schedule import PoolPlan, plan_pool

__all__ = ["COVER", "OraclePlan", "oracle_of", "peak_need", "quantile_need"]

COVER = 0.995
"""Share of the work of every pool that the oracle covers."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OraclePlan:
    """`pools` is the schedule from `bins.start_s` on, for `margin` times `need`.

    Both limits are over the counted window and do not depend on the margin. `gpu_hours_bound`
    is the least that covers the demand of every pool with classes at home and work done as it
    comes; `gpu_hours_floor` holds wherever requests go and however long they may wait.
    `first_size` is what every policy begins with.
    """

    fleet: Fleet
    bins: Bins
    margin: float
    need: Mapping[PoolId, NDArray[np.float64]]
    pools: Mapping[PoolId, PoolPlan]
    first_size: Mapping[PoolId, int]
    gpu_hours_bound: float
    gpu_hours_floor: float

    def at_margin(self, margin: float) -> "OraclePlan":
        """The same with the schedule of another margin."""
        return _planned(
            self.fleet,
            self.bins,
            self.need,
            margin,
            first_size=self.first_size,
            limits=(self.gpu_hours_bound, self.gpu_hours_floor),
        )

    def orders(self, lead_s: float | None = None) -> dict[PoolId, NDArray[np.int64]]:
        """Replicas that each pool should hold from the start of each bin on.

        They are ordered `lead_s` before they serve (by default the pool's start-up time), as
        far as the fleet's limits hold all pools' together.
        """
        wanted = {pool_id: plan.orders(lead_s) for pool_id, plan in self.pools.items()}
        for k in range(self.bins.count):
            column = {pool_id: int(orders[k]) for pool_id, orders in wanted.items()}
            for pool_id, replicas in fitted(self.fleet, column).items():
                wanted[pool_id][k] = replicas
        return wanted


def oracle_of(
    fleet: Fleet,
    offered: Offered,
    profiles: Mapping[PoolId, EngineProfile],
    *,
    start_s: float,
    count_from_s: float,
    end_s: float,
    bin_s: float = 10.0,
    margin: float = 1.0,
    besides: Offered | None = None,
) -> OraclePlan:
    """Plan for requests that arrive from `start_s` to `end_s`, with the true `profiles`.

    `besides` come too, but nobody could serve them in time: they are work for the schedule, as
    they take capacity from others, and none for the limits, as a policy might put them last.
    GPU-hours count from `count_from_s` on. Raises `FleetError` if a class has no home and
    `ValueError` if the times are out of order.
    """
    if not start_s <= count_from_s <= end_s:
        raise ValueError(f"times {start_s}, {count_from_s} and {end_s} must be in this order")
    whole = Bins(start_s=start_s, bin_s=bin_s, count=math.ceil((end_s - start_s) / bin_s))
    counted = Bins(
        start_s=count_from_s, bin_s=bin_s, count=math.floor((end_s - count_from_s) / bin_s + 1e-9)
    )
    homes = homes_of(fleet, fleet.models[0].name)
    coming = offered if besides is None else offered.plus(besides)
    need = home_needs(fleet, homes, profiles, coming, whole)
    least = _plans(fleet, counted, home_needs(fleet, homes, profiles, offered, counted), 1.0)
    bound = sum(plan.gpu_hours_bound for plan in least.values())
    floor = gpu_hours_floor(fleet, profiles, offered, counted, cover=COVER)
    limits = (bound, min(floor, bound))
    plan = _planned(fleet, whole, need, 1.0, first_size=None, limits=limits)
    return plan if margin == 1.0 else plan.at_margin(margin)


def peak_need(plan: OraclePlan) -> dict[PoolId, int]:
    """Replicas that cover the need of every pool at all times, as far as limits allow."""
    return quantile_need(plan, 1.0)


def quantile_need(plan: OraclePlan, share: float) -> dict[PoolId, int]:
    """Replicas that cover the need of every pool in this share of the time."""
    wanted = {
        pool_id: math.ceil(np.quantile(need, share, method="inverted_cdf")) if len(need) else 0
        for pool_id, need in plan.need.items()
    }
    return fitted(plan.fleet, wanted)


def _planned(
    fleet: Fleet,
    bins: Bins,
    need: Mapping[PoolId, NDArray[np.float64]],
    margin: float,
    *,
    first_size: Mapping[PoolId, int] | None,
    limits: tuple[float, float],
) -> OraclePlan:
    pools = _plans(fleet, bins, need, margin)
    if first_size is None:
        first_size = fitted(
            fleet, {id: int(plan.orders()[0]) for id, plan in pools.items() if bins.count}
        )
    return OraclePlan(
        fleet=fleet,
        bins=bins,
        margin=margin,
        need=need,
        pools=pools,
        first_size=first_size,
        gpu_hours_bound=limits[0],
        gpu_hours_floor=limits[1],
    )


def _plans(
    fleet: Fleet, bins: Bins, need: Mapping[PoolId, NDArray[np.float64]], margin: float
) -> dict[PoolId, PoolPlan]:
    return {
        pool.id: plan_pool(
            need[pool.id],
            bin_s=bins.bin_s,
            start_up_s=pool.start_up_s,
            gpus_per_replica=pool.gpus_per_replica,
            min_replicas=pool.min_replicas,
            max_replicas=pool.max_replicas,
            cover=COVER,
            margin=margin,
        )
        for pool in fleet.pools
    }
