"""Executes the oracle's schedule: nobody else knows what comes and how fast engines are.

Replicas are ordered as far ahead as the slowest start takes, so that they serve in the bin in
which the plan has them. Those it has no more drain for as long as their calls take. Calls go to
their true class's homes, and each engine takes what it truly can within the ITL target.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from weir.domain.errors import WeirError
from weir.domain.ids import PoolId
from weir.simulator.gateway.overflow import OverflowGateway
from weir.simulator.gateway.port import Gateway
from weir.simulator.homes import homes_of
from weir.simulator.oracle.plan import OraclePlan
from weir.simulator.policies.caps import true_caps
from weir.simulator.policies.deployments import Deployments

if TYPE_CHECKING:
    from weir.simulator.world import World

__all__ = ["Oracle", "make"]

_DRAIN_S = 3600.0


class Oracle:
    """`margin`: how many times the need the schedule is for."""

    def __init__(self, margin: float = 1.0) -> None:
        self.margin = margin
        self._gateway: OverflowGateway | None = None

    def gateway(self, world: "World") -> Gateway:
        homes = homes_of(world.fleet, world.fleet.models[0].name)
        self._gateway = OverflowGateway(world, homes, true_caps(world.scenario, homes))
        return self._gateway

    def start(self, world: "World") -> None:
        assert self._gateway is not None
        self._gateway.attach()
        plan = world.scenario.oracle.at_margin(self.margin)
        deployments = Deployments(world, _DRAIN_S)
        deployments.place(plan.first_size)
        _follow(world, plan, deployments)


def _follow(world: "World", plan: OraclePlan, deployments: Deployments) -> None:
    orders = _orders(plan, world.settings.start_up_spread)
    bins = plan.bins

    def adjust(k: int) -> None:
        for pool_id, wanted in orders.items():
            deployments.want(pool_id, int(wanted[k]), "the schedule")
        if k + 1 < bins.count:
            world.events.at(bins.start_s + (k + 1) * bins.bin_s, adjust, k + 1)

    if bins.count:
        adjust(0)


def _orders(plan: OraclePlan, spread: float) -> dict[PoolId, NDArray[np.int64]]:
    """Replicas to hold from the start of each bin on."""
    return {
        spec.id: plan.pools[spec.id].orders(spec.start_up_s * (1.0 + spread))
        for spec in plan.fleet.pools
    }


def make(argument: str) -> Oracle:
    """With the margin if one is given; `oracle_run` looks for the least one that will do."""
    try:
        margin = float(argument or 1.0)
    except ValueError:
        margin = 0.0
    if not 0.0 < margin < 100.0:
        raise WeirError(f"policy oracle:{argument}: the margin must be a number above 0")
    return Oracle(margin)
