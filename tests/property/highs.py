"""The most that any allocation is worth, by HiGHS: the yardstick of the arbiter.

Written down anew from what an allocation is worth, not from how `weir.sizing` finds it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from globalplanner.core.arbiter.demand import Offer
from globalplanner.core.arbiter.layout import Layout
from globalplanner.core.arbiter.snapshot import PoolView, Rules, Snapshot
from weir.domain.fleet import Role
from weir.domain.ids import PoolId

__all__ = ["best_value", "value_of"]


def best_value(snapshot: Snapshot, rules: Rules) -> float:
    """The value of the best allocation within bounds and limits; held pools stay as they are."""
    low = {v.spec.id: v.replicas if v.held else v.spec.min_replicas for v in snapshot.pools}
    high = {v.spec.id: v.replicas if v.held else v.spec.most_replicas for v in snapshot.pools}
    program = _flows(snapshot, rules)
    for id in low:
        program.column(("replicas", id), low=low[id], high=high[id], integer=True)
    for limit in snapshot.limits:
        used = {}
        for view in snapshot.pools:
            if view.spec.id in limit.pools:
                each = view.spec.gpus_per_replica * limit.per_gpu(view.spec.id)
                used["replicas", view.spec.id] = float(each)
                # GPUs up to the floor are set aside also while they are idle.
                aside = program.column(("aside", view.spec.id))
                program.row(
                    {aside: -1.0, ("replicas", view.spec.id): -1.0}, -view.spec.aside_replicas
                )
                used[aside] = float(each)
        program.row(used, limit.most)
    return program.solve()


def value_of(snapshot: Snapshot, rules: Rules, replicas: Mapping[PoolId, int]) -> float:
    """What `replicas` are worth."""
    program = _flows(snapshot, rules)
    for id, count in replicas.items():
        program.column(("replicas", id), low=count, high=count)
    return program.solve()


def _flows(snapshot: Snapshot, rules: Rules) -> "_Program":
    """Time that each pool spends on each stream, within replicas that are still to be bounded."""
    layout = Layout.of(snapshot, None)
    views = layout.sorted(snapshot.pools)
    offer = Offer(layout, views, snapshot, rules)
    program = _Program()
    for model, name in np.ndindex(offer.demand.rate_rps.shape):
        _stream_rows(program, offer, views, model, name)
    for i, view in enumerate(views):
        busy = {("time", view.spec.id, n): 1.0 for n in offer.supply.capacity_rps[i].nonzero()[0]}
        replicas = ("replicas", view.spec.id)
        program.row({**busy, replicas: -1.0}, 0.0)
        if offer.supply.backlog_replicas[i] > 0.0:
            catching_up = program.column(
                ("catching up", view.spec.id),
                high=offer.supply.backlog_replicas[i],
                worth=offer.supply.backlog_worth[i],
            )
            spent = dict.fromkeys(busy, rules.utilization)
            program.row({**spent, catching_up: 1.0, replicas: -1.0}, 0.0)
    return program


def _stream_rows(
    program: "_Program", offer: Offer, views: list[PoolView], model: int, name: int
) -> None:
    entering: dict[object, float] = {}
    leaving: dict[object, float] = {}
    for i, view in enumerate(views):
        rate, role = offer.supply.capacity_rps[i, name], view.spec.role
        if rate <= 0.0 or offer.supply.model[i] != model:
            continue
        key = ("time", view.spec.id, name)
        worth = 0.0 if role is Role.DECODE else rate * offer.demand.worth[model, name]
        program.column(key, worth=worth)
        if role is not Role.DECODE:
            entering[key] = rate
        if role is not Role.AGG:
            leaving[key] = rate if role is Role.PREFILL else -rate
    program.row(entering, offer.demand.rate_rps[model, name])
    program.row(leaving, 0.0)


@dataclass
class _Program:
    """Maximise the worth of columns within rows, each at most its limit."""

    columns: dict[object, tuple[float, float, float, bool]] = field(default_factory=dict)
    rows: list[tuple[dict[object, float], float]] = field(default_factory=list)

    def column(
        self,
        key: object,
        *,
        low: float = 0.0,
        high: float = np.inf,
        worth: float = 0.0,
        integer: bool = False,
    ) -> object:
        self.columns[key] = (low, high, worth, integer)
        return key

    def row(self, entries: dict[object, float], most: float) -> None:
        if entries:
            self.rows.append((entries, most))

    def solve(self) -> float:
        number = {key: i for i, key in enumerate(self.columns)}
        low, high, worth, integer = map(np.array, zip(*self.columns.values(), strict=True))
        found = list(self._entries(number))
        rows, columns, values = map(np.array, zip(*found, strict=True))
        matrix = coo_array((values, (rows, columns)), shape=(len(self.rows), len(number)))
        solution = milp(
            -worth,
            constraints=LinearConstraint(matrix.tocsc(), ub=[most for _, most in self.rows]),
            integrality=integer.astype(int),
            bounds=Bounds(low, high),
            options={"mip_rel_gap": 1e-9},
        )
        if solution.x is None:
            raise ValueError(f"no allocation is possible: {solution.message}")
        return float(worth @ solution.x)

    def _entries(self, number: Mapping[object, int]) -> Iterator[tuple[int, int, float]]:
        for row, (entries, _) in enumerate(self.rows):
            for key, value in entries.items():
                yield row, number[key], value
