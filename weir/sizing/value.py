"""What replica counts are worth: requests/s served within SLO, weighted.

Streams (the offered load of one class for one model) flow through prefill and decode pools or
through aggregated ones; a request counts once it has passed both stages, so a decode replica
that no prefill can feed is worth nothing. Flows are linear programs over the replicas' planned
capacities, one for each component. Their value is concave in the replica counts, and their
prices bound what replicas can add and what is lost without them.

Queued work is caught up on in the time that planned load leaves: a replica's head room, and more
of its time where nothing better can be done with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weir.domain.fleet import Role
from weir.domain.ids import PoolId
from weir.sizing.basis import Flags, Floats, Indices
from weir.sizing.bundle import Bases, Bundle, Market
from weir.sizing.components import grouped, split
from weir.sizing.places import Places
from weir.sizing.point import Point
from weir.sizing.times import Times

__all__ = ["Demand", "Goodput", "Supply"]

_CODES = {Role.AGG: 0, Role.PREFILL: 1, Role.DECODE: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Requests/s offered, and what one within SLO is worth; shape (models, classes)."""

    rate_rps: Floats
    worth: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """Pools in the order of their ids; `model` is the row in `Demand`.

    `capacity_rps`, shape (pools, classes), is what one replica is planned to carry of each class.
    Queued work would keep `backlog_replicas` busy besides the offered load; each is worth
    `backlog_worth`.
    """

    pool_ids: tuple[PoolId, ...]
    roles: tuple[Role, ...]
    model: Indices
    capacity_rps: Floats
    backlog_replicas: Floats
    backlog_worth: Floats


class Goodput:
    """Value by replica counts for given demand and supply.

    `utilization` is the share of a replica's time that its planned capacity stands for: the
    rest may catch up on queued work. `bases` come from the goodput of a moment before.
    """

    def __init__(
        self,
        demand: Demand,
        supply: Supply,
        *,
        utilization: float,
        bases: Sequence[Bases] = ({},),
    ) -> None:
        self.supply = supply
        self._demand = demand
        self._utilization = utilization
        self._codes = np.array([_CODES[role] for role in supply.roles], dtype=np.intp)
        able, entered = _able(demand, supply, self._codes)
        self.usable_rps = np.where(able, supply.capacity_rps, 0.0)
        """What one replica carries of each class; 0 where that is of no use."""
        self._offered = np.where(entered, demand.rate_rps * demand.worth, 0.0)
        self.components = split(supply.model, able, supply.backlog_replicas > 0.0)
        self.component_of = [-1] * len(supply.pool_ids)
        """The component of each pool, -1 if it has none."""
        for number, component in enumerate(self.components):
            for pool in component.pools:
                self.component_of[pool] = number
        self._places = Places(self._bundled(bases), self.component_of)
        self._most = [float(self._offered[c.model, list(c.classes)].sum()) for c in self.components]

    def at(
        self,
        replicas: Sequence[int],
        *,
        carry: float | Floats = 1.0,
        backlog_replicas: Floats | None = None,
        start: int = 0,
    ) -> Point:
        """The point of an allocation. Each replica carries `carry` of its planned capacity.

        What it is worth is still to be found. `backlog_replicas`: what counts of the queued work,
        if not all. `start`: which of the bases to begin from.
        """
        times = self.times(carry=carry, backlog_replicas=backlog_replicas)
        return Point(self._places, times, replicas, start)

    def times(
        self, *, carry: float | Floats = 1.0, backlog_replicas: Floats | None = None
    ) -> Times:
        backlog = self.supply.backlog_replicas if backlog_replicas is None else backlog_replicas
        return Times(
            carry=carry,
            utilization=self._utilization,
            backlog=backlog,
            backlog_worth=self.supply.backlog_worth,
        )

    def full(self, backlog_replicas: Floats | None = None) -> list[float]:
        """The value of each component when nothing is left unserved that some pool can serve."""
        backlog = self.supply.backlog_replicas if backlog_replicas is None else backlog_replicas
        full = list(self._most)
        for pool in np.flatnonzero(backlog > 0.0).tolist():
            if self.component_of[pool] >= 0:
                worth = float(backlog[pool] * self.supply.backlog_worth[pool])
                full[self.component_of[pool]] += worth
        return full

    def _bundled(self, bases: Sequence[Bases]) -> list[Bundle]:
        width = max([1, *(len(component.classes) for component in self.components)])
        sizes = [len(component.pools) for component in self.components]
        market = Market(
            pool_ids=self.supply.pool_ids,
            usable_rps=self.usable_rps,
            entering=self._codes != _CODES[Role.DECODE],
            passing=np.array([0.0, 1.0, -1.0])[self._codes],
            rate_rps=self._demand.rate_rps,
            worth=self._demand.worth,
            late_cost=self.supply.backlog_worth * self._utilization,
            behind=self.supply.backlog_replicas > 0.0,
        )
        two_stages = bool((self._codes > 0).any())
        return [
            Bundle(
                market, self.components, numbers, width=width, two_stages=two_stages, bases=bases
            )
            for numbers in grouped(sizes, width)
        ]


def _able(demand: Demand, supply: Supply, codes: Indices) -> tuple[Flags, Flags]:
    """What each pool can do, and which streams can be served at all.

    A pool of one stage is of use only where another does the other stage.
    """
    serves = supply.capacity_rps > 0.0
    stages = np.zeros((len(_CODES), *demand.rate_rps.shape), dtype=bool)
    np.logical_or.at(stages, (codes, supply.model), serves)
    pair = stages[_CODES[Role.PREFILL]] & stages[_CODES[Role.DECODE]]
    able = serves & ((codes == _CODES[Role.AGG])[:, None] | pair[supply.model])
    return able, stages[_CODES[Role.AGG]] | pair
