"""The most that any replica counts are worth at one moment, by HiGHS.

Replicas of all pools and the flows through them are chosen together, as one mixed-integer linear
program. It takes too long to decide by, so it answers questions only. It is asked about steady
operation: queued work does not count, and GPUs may change hands as if that cost nothing. Pools
that somebody else sizes, and held ones, stay as they are.

Guarantees come first: nothing is better that serves less with replicas within guarantees alone.
What these serve is a second set of flows, of which the most is found before.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from globalplanner.core.arbiter.demand import streams_of
from globalplanner.core.arbiter.served import by_class
from globalplanner.core.arbiter.snapshot import Rules, Snapshot
from globalplanner.core.budget.limits import Limit
from globalplanner.core.study.flows import (
    Flow,
    aside_of,
    bounds_of,
    flows_of,
    worths_of,
    write_flows,
)
from globalplanner.core.study.highs import Floats, Found, Rows, minimise
from weir.domain.fleet import Role
from weir.domain.ids import ClassName, PoolId

__all__ = ["Best", "Program"]

_IDLE = 1e-4
"""What holding a GPU costs, as a share of the least that one may be worth: idle ones are left."""
_MOVE = 0.1
"""What a replica more or fewer than now costs, in idle GPUs: of two ways the nearer one."""
_ROUNDING = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """`replicas` are whole numbers if that was asked for. `proven`: nothing is better.

    `value` and `full_value` as of decisions. `price_by_limit`: what one more GPU would add to
    `value`; None of whole replicas. `exceeded`: what pools have in any case is more than these
    limits hold, in GPUs or watts.
    """

    value: float
    full_value: float
    served_rps: Mapping[ClassName, float]
    replicas: Mapping[PoolId, float]
    price_by_limit: Mapping[str, float] | None
    exceeded: Mapping[str, int]
    proven: bool


class Program:
    """Of one snapshot. `best` may be asked for several times, of other limits and loads.

    Columns: of each pool its replicas, idle ones that are set aside, and how many more or fewer
    than now these are; then the flows; then those within guarantees, if any pool has one for
    which GPUs are not set aside anyhow.
    """

    def __init__(self, snapshot: Snapshot, rules: Rules) -> None:
        self._snapshot, self._rules = snapshot, rules
        self._views = tuple(sorted(snapshot.pools, key=lambda view: view.spec.id))
        self._streams = tuple(streams_of(snapshot))
        pools = len(self._views)
        bounds = [bounds_of(view) for view in self._views]
        least = [max(low, aside_of(v)) for v, (low, _) in zip(self._views, bounds, strict=True)]
        guarantees = [view.spec.guarantee_replicas for view in self._views]
        self._flows = tuple(flows_of(self._views, self._streams, 3 * pools))
        self._within: tuple[Flow, ...] = ()
        if any(least[i] < most for i, most in enumerate(guarantees)):
            self._within = tuple(flows_of(self._views, self._streams, 3 * pools + len(self._flows)))
        self._width = 3 * pools + len(self._flows) + len(self._within)
        self._low, self._high = np.zeros(self._width), np.full(self._width, inf)
        self._low[:pools], self._high[:pools] = zip(*bounds, strict=True)
        self._rows = Rows()
        self._stream_rows = [
            *write_flows(self._rows, self._flows, self._streams),
            *write_flows(self._rows, self._within, self._streams),
        ]
        self._write_pools(guarantees)
        self._limit_rows = dict(self._write_limits())
        self._worth = worths_of(self._flows, self._streams, self._width)
        self._worth_within = worths_of(self._within, self._streams, self._width)
        self._guarantee_row = self._rows.add(
            {f.column: -float(self._worth_within[f.column]) for f in self._within}, 0.0
        )
        self._cost = self._costs()

    def best(
        self,
        gpus_by_limit: Mapping[str, int] | None = None,
        *,
        load_factor: float = 1.0,
        whole: bool = True,
        within_s: float = 60.0,
    ) -> Best | None:
        """With some other limits, and so many times the load; None if not found in time."""
        most = np.array(self._rows.most)
        exceeded = {}
        for limit in self._snapshot.limits:
            gpus = (gpus_by_limit or {}).get(limit.name, limit.most)
            needed = self._needed(limit)
            most[self._limit_rows[limit.name]] = max(gpus, needed)
            if needed > gpus:
                exceeded[limit.name] = needed - gpus
        for row in self._stream_rows:
            most[row] *= load_factor
        if self._within:
            served = self._minimise(self._worth_within, most, whole=whole, within_s=within_s)
            if served is None:
                return None
            most[self._guarantee_row] = -(1.0 - _ROUNDING) * float(self._worth_within @ served.x)
        found = self._minimise(self._worth, most, whole=whole, within_s=within_s)
        return None if found is None else self._told(found, load_factor, exceeded)

    def _minimise(
        self, worth: Floats, most: Floats, *, whole: bool, within_s: float
    ) -> Found | None:
        return minimise(
            self._cost - worth,
            self._rows,
            most,
            self._low,
            self._high,
            whole=len(self._views) if whole else 0,
            within_s=within_s,
        )

    def _told(self, found: Found, load_factor: float, exceeded: Mapping[str, int]) -> Best:
        x, prices = found.x, found.prices
        served = (
            (self._streams[flow.stream].class_name, flow.rate_rps * float(x[flow.column]))
            for flow in self._flows
            if flow.role is not Role.DECODE
        )
        offered = (self._streams[i] for i in {flow.stream for flow in self._flows})
        whole = prices is None
        return Best(
            value=float(self._worth @ x),
            full_value=load_factor * sum(s.rate_rps * s.worth for s in offered),
            served_rps=by_class(self._snapshot.loads or {}, served),
            replicas={
                view.spec.id: round(x[i]) if whole else float(x[i])
                for i, view in enumerate(self._views)
            },
            price_by_limit=None
            if prices is None
            else {name: max(0.0, float(prices[row])) for name, row in self._limit_rows.items()},
            exceeded=exceeded,
            proven=found.proven,
        )

    def _needed(self, limit: Limit) -> int:
        """What pools take of it in any case, together."""
        return limit.used(
            {
                view.spec.id: max(int(self._low[i]), aside_of(view)) * view.spec.gpus_per_replica
                for i, view in enumerate(self._views)
            }
        )

    def _write_pools(self, guarantees: Sequence[int]) -> None:
        pools = len(self._views)
        within: dict[int, dict[int, float]] = {}
        for flow in self._within:
            within.setdefault(flow.pool, {})[flow.column] = 1.0
        for i, view in enumerate(self._views):
            now = float(view.replicas)
            self._rows.add({i: -1.0, pools + i: -1.0}, -float(aside_of(view)))
            self._rows.add({i: 1.0, 2 * pools + i: -1.0}, now)
            self._rows.add({i: -1.0, 2 * pools + i: -1.0}, -now)
            if i in within:
                self._rows.add(within[i], float(guarantees[i]))

    def _write_limits(self) -> Iterator[tuple[str, int]]:
        pools = len(self._views)
        for limit in self._snapshot.limits:
            row: dict[int, float] = {}
            for i, view in enumerate(self._views):
                if view.spec.id in limit.pools:
                    each = view.spec.gpus_per_replica * limit.per_gpu(view.spec.id)
                    row[i] = row[pools + i] = float(each)
            yield limit.name, self._rows.add(row, float(limit.most))

    def _costs(self) -> Floats:
        """Of holding GPUs: what they are said to cost, and a little in any case."""
        worths = [
            self._worth[flow.column] / flow.view.spec.gpus_per_replica
            for flow in self._flows
            if flow.role is not Role.DECODE
        ]
        idle = _IDLE * min(worths, default=1.0)
        pools, costs = len(self._views), np.zeros(self._width)
        for i, view in enumerate(self._views):
            hourly = self._rules.gpu_cost_per_hour.get(view.spec.gpu_class, 0.0)
            costs[i] = (hourly / 3600.0 + idle) * view.spec.gpus_per_replica
            costs[2 * pools + i] = _MOVE * idle
        return costs
