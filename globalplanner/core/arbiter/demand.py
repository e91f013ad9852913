"""From what is offered and reported to demand and supply, whose value can be weighed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from globalplanner.core.arbiter.layout import Layout
from globalplanner.core.arbiter.snapshot import PoolView, Rules, Snapshot
from globalplanner.core.arbiter.stages import weighed_roles
from weir.domain.fleet import Role
from weir.domain.ids import ClassName, ModelName, PoolId
from weir.sizing.basis import Flags, Floats
from weir.sizing.value import Demand, Goodput, Supply

__all__ = ["Offer", "Stream", "served_by", "streams_of"]


_MOST_APART = 100.0
"""Times that arrivals and what decodes may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Offered load of one class for one model; `worth` is that of one request within SLO."""

    class_name: ClassName
    model: ModelName
    rate_rps: float
    worth: float = 1.0


class Offer:
    """Arrays by position in the layout. A pool that somebody else sizes serves what is unknown.

    `capacity_rps`: what all pools say of themselves, those too. `entering`: whether what is weighed
    of requests enters by a pool. `infeasible`: classes that are offered, and that no pools could
    serve within SLO however many replicas they had. Nothing grows for them, nor for what of
    them is queued.
    """

    def __init__(
        self, layout: Layout, views: Sequence[PoolView], snapshot: Snapshot, rules: Rules
    ) -> None:
        self._layout = layout
        names = layout.names
        nothing = [0.0] * len(names)
        rows = [[*map(view.capacity_rps.get, names, nothing)] for view in views]
        self.capacity_rps = np.array(rows, dtype=np.float64).reshape(len(views), len(names))
        ours = np.array([view.wish is None for view in views], dtype=bool)
        capacity = np.where(ours[:, None], self.capacity_rps, 0.0)
        capacity[layout.decodes] *= _arriving_per_decoding(names, snapshot)
        roles = weighed_roles(views)
        self.entering = np.array([role is not Role.DECODE for role in roles], dtype=bool)
        self.demand = Demand(rate_rps=self._rates(views, snapshot), worth=layout.worth)
        most = np.array(layout.most, dtype=np.float64)
        queued = np.array([(view.backlog_replica_s or 0.0) * (view.wish is None) for view in views])
        possible = self._possible(views, capacity, roles)
        offered = self.demand.rate_rps.sum(axis=0) > 0.0
        self.infeasible = frozenset(
            names[c] for c in np.flatnonzero(offered & ~possible.any(axis=0)).tolist()
        )
        if self.infeasible:
            queued = queued * self._part(possible, capacity)
        self.supply = Supply(
            pool_ids=layout.ids,
            roles=roles,
            model=layout.model,
            capacity_rps=capacity,
            backlog_replicas=np.minimum(queued / rules.backlog_horizon_s, most),
            backlog_worth=self._replica_worth(capacity),
        )

    def _rates(self, views: Sequence[PoolView], snapshot: Snapshot) -> Floats:
        """Requests/s at the upper quantile of the forecast, shape (models, classes).

        A class is split by model as its requests reach the pools now; equally if unknown.
        """
        layout, names = self._layout, self._layout.names
        nothing = [0.0] * len(names)
        rows = [
            nothing if decodes else [*map(view.load_rps.get, names, nothing)]
            for view, decodes in zip(views, layout.decodes.tolist(), strict=True)
        ]
        seen = np.zeros((len(layout.models), len(names)))
        np.add.at(seen, layout.model, np.array(rows, dtype=np.float64).reshape(-1, len(names)))
        total = seen.sum(axis=0)
        known = total > 0.0
        split = np.where(known, seen / np.where(known, total, 1.0), 1.0 / len(layout.models))
        loads = snapshot.loads or {}
        rates = [loads[name].rate_high_rps if name in loads else 0.0 for name in names]
        result: Floats = split * np.array(rates)
        return result

    def _possible(
        self, views: Sequence[PoolView], capacity: Floats, roles: Sequence[Role]
    ) -> Flags:
        """Whether some pools of a model could serve a class, shape (models, classes).

        Where too little is known of a pool they may.
        """
        model, able = self._layout.model, capacity > 0.0
        by_role = {role: np.zeros_like(self.demand.rate_rps, dtype=bool) for role in Role}
        for role, found in by_role.items():
            of_role = np.array([each is role for each in roles], dtype=bool)
            np.logical_or.at(found, model[of_role], able[of_role])
        unknown = [
            i
            for i, view in enumerate(views)
            if view.wish is not None or (view.held and not view.capacity_rps)
        ]
        possible = by_role[Role.AGG] | (by_role[Role.PREFILL] & by_role[Role.DECODE])
        possible[model[unknown]] = True
        result: Flags = possible
        return result

    def _part(self, possible: Flags, capacity: Floats) -> Floats:
        """By pool, the part of the work of its model that is for classes it could be done for.

        A class that the pool itself cannot serve is as much work as the most that it can.
        """
        model = self._layout.model
        able = np.where(capacity > 0.0, capacity, np.inf)
        least = able.min(axis=1, initial=np.inf)[:, None]
        work = self.demand.rate_rps[model] / np.where(capacity > 0.0, capacity, least)
        total = work.sum(axis=1)
        part = np.where(possible[model], work, 0.0).sum(axis=1)
        result: Floats = np.divide(part, total, out=np.ones_like(total), where=total > 0.0)
        return result

    def _replica_worth(self, capacity: Floats) -> Floats:
        """Value per second of a busy replica; that of one stage for a prefill or decode pool."""
        model = self._layout.model
        rate, worth = self.demand.rate_rps[model], self.demand.worth[model]
        able = capacity > 0.0
        busy = np.divide(rate, capacity, out=np.zeros_like(capacity), where=able).sum(axis=1)
        served = (rate * worth * able).sum(axis=1)
        most = (worth * capacity).max(axis=1, initial=0.0)
        each = np.where(busy > 0.0, served / np.where(busy > 0.0, busy, 1.0), most)
        whole = np.array([role is Role.AGG for role in self._layout.roles], dtype=bool)
        result: Floats = np.where(whole, each, 0.5 * each)
        return result


def _arriving_per_decoding(names: Sequence[ClassName], snapshot: Snapshot) -> Floats:
    """By class, the rate at which requests arrive over the one that decode replicas are needed for.

    A replica that decodes counts as one that serves so much more of what arrives: requests are
    weighed once, at the rate at which they come.
    """
    loads = snapshot.loads or {}
    found = [loads.get(name) for name in names]
    return np.array(
        [
            min(_MOST_APART, max(1.0 / _MOST_APART, load.rate_rps / load.decoding_rps))
            if load and load.decoding_rps and load.rate_rps > 0.0
            else 1.0
            for load in found
        ],
        dtype=np.float64,
    )


def streams_of(snapshot: Snapshot) -> tuple[Stream, ...]:
    """The offered load by class and model, at the upper quantile of its forecast."""
    return tuple(stream for stream, _ in served_by(snapshot, Rules(), {}))


def served_by(
    snapshot: Snapshot, rules: Rules, replicas: Mapping[PoolId, int]
) -> list[tuple[Stream, float]]:
    """Requests/s of each stream that some replicas serve within SLO."""
    layout = Layout.of(snapshot, None)
    offer = Offer(layout, layout.sorted(snapshot.pools), snapshot, rules)
    goodput = Goodput(offer.demand, offer.supply, utilization=rules.utilization)
    point = goodput.at([replicas.get(id, 0) for id in layout.ids])
    rates = point.find(range(len(goodput.components))).served_rps(len(layout.names))
    entering = np.zeros_like(offer.demand.rate_rps)
    np.add.at(entering, layout.model[offer.entering], rates[offer.entering])
    return [
        (
            Stream(
                class_name=name,
                model=model,
                rate_rps=float(offer.demand.rate_rps[m, c]),
                worth=float(layout.worth[m, c]),
            ),
            float(entering[m, c]),
        )
        for c, name in enumerate(layout.names)
        for m, model in enumerate(layout.models)
    ]
