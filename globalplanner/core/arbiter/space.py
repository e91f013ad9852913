"""The allocations that are possible, and what is known of each pool when they are weighed."""

from collections.abc import Mapping, Sequence
from math import ceil, inf

import numpy as np

from globalplanner.core.arbiter.demand import Offer
from globalplanner.core.arbiter.layout import Layout
from globalplanner.core.arbiter.snapshot import Departures, PoolView, Rules, Snapshot
from weir.domain.ids import PoolId
from weir.sizing.bundle import Bases
from weir.sizing.value import Goodput

__all__ = ["Allocation", "Space"]

Allocation = dict[PoolId, int]

_NEGLIGIBLE = 1e-6
_SURE = 0.5
"""However uncertain a capacity is, this much of a gain counts."""


class Space:
    """All by position in the layout.

    `now`: what is, moved into the bounds. A pool keeps `low` as long as the limits hold, its
    minimum, or what it has if nobody knows what is queued there. It never gets more than `high`.
    """

    def __init__(
        self,
        layout: Layout,
        snapshot: Snapshot,
        rules: Rules,
        bases: Sequence[Bases] = ({}, {}, {}),
    ) -> None:
        self.layout, self.rules = layout, rules
        self.views = layout.sorted(snapshot.pools)
        self.offer = Offer(layout, self.views, snapshot, rules)
        self.goodput = Goodput(
            self.offer.demand, self.offer.supply, utilization=rules.utilization, bases=bases
        )
        self.component_of = self.goodput.component_of
        self.full = self.goodput.full()
        """The value of each component when nothing is left unserved that some pool can serve."""
        self.full_value = sum(self.full)
        self.negligible = _NEGLIGIBLE * max(self.full_value, _NEGLIGIBLE)
        """Values that differ by less are the same."""
        self.low, self.high = list(layout.least), list(layout.most)
        self.now, self.aside = [view.replicas for view in self.views], list(layout.aside)
        for i, view in enumerate(self.views):
            self._bound(i, view)
        self.movable = [not view.held for view in self.views]
        self.cost = self._costs()
        """Of holding a replica, in value per second."""
        self.wishes = [i for i, view in enumerate(self.views) if view.wish is not None]
        self.first_wish = [0.0] * len(self.views)
        """What the first replica that a pool wishes for is worth; the k-th is worth 1/k of it."""
        self._aside = np.array(self.aside)

    def footprint(self, pool: int, count: int) -> int:
        """Replicas whose GPUs others cannot have: some are set aside even while it is idle."""
        return max(count, self.aside[pool])

    def free(self, replicas: Sequence[int]) -> list[int]:
        """GPUs, or watts, that an allocation leaves, by limit; below 0 where it exceeds it."""
        used = self.layout.takes @ np.maximum(np.array(replicas), self._aside)
        return [most - int(each) for most, each in zip(self.layout.limit_most, used, strict=True)]

    def repaid(self, pool: int) -> float:
        """How many times what the giver loses a new replica must gain, to be worth a move.

        The giver stops at once, the taker serves after its start-up: a gain of G over a loss of L
        has repaid after H seconds if G (H - start-up) = L H. An uncertain capacity counts less.
        """
        horizon_s = self.rules.repay_s
        left_s = horizon_s - self.layout.start_up_s[pool]
        if left_s <= 0.0:
            return inf
        sure = 1.0 - min(max(self.views[pool].capacity_rel_std, 0.0), _SURE)
        return horizon_s / (left_s * sure)

    def may_leave(self, left: Mapping[PoolId, Departures], now_s: float) -> dict[int, int]:
        """Replicas that may still leave by choice now, by pool; others as many as there are."""
        rules = self.rules
        if rules.leave_replicas is None and rules.leave_share is None:
            return {}
        allowed = {}
        for i, view in enumerate(self.views):
            gone = sum(
                count
                for at_s, count in left.get(view.spec.id, ())
                if at_s > now_s - rules.leave_window_s
            )
            most = inf if rules.leave_replicas is None else rules.leave_replicas
            if rules.leave_share is not None:
                most = min(most, ceil(rules.leave_share * (self.now[i] + gone)))
            allowed[i] = max(0, int(most) - gone) if most < inf else self.now[i]
        return allowed

    def price_wishes(self, value: float, replicas: Sequence[int]) -> None:
        """What wishes are worth beside demand that is served to `value` with `replicas`.

        With as many GPUs as each pool would have if all had the same, a wishing pool's next GPU
        is worth as much, times its weight, as the mean GPU that serves demand; with fewer more,
        with more less. So between wishing pools GPUs go by weighted shares, whatever the wish.
        """
        if not self.wishes:
            return
        gpus = self.layout.gpus
        wishing = set(self.wishes)
        serving = sum(n * gpus[i] for i, n in enumerate(replicas) if i not in wishing)
        mean = value / serving if serving > 0 and value > 0.0 else 1.0
        fair = max(1.0, self.layout.budget_gpus / len(self.views))
        for i in self.wishes:
            self.first_wish[i] = mean * fair * self.views[i].spec.weight

    def wished(self, pool: int, before: int, after: int) -> float:
        """What a wishing pool gains when its replicas change; nothing beyond its wish."""
        if before == after:
            return 0.0
        wish = self.views[pool].wish or 0
        least, most = sorted((before, after))
        harmonic = sum(1.0 / k for k in range(max(least, 0) + 1, min(most, wish) + 1))
        return self.first_wish[pool] * (harmonic if after > before else -harmonic)

    def allocation(self, replicas: Sequence[int]) -> Allocation:
        return dict(zip(self.layout.ids, replicas, strict=True))

    def _bound(self, i: int, view: PoolView) -> None:
        """Move what is into the bounds, and bounds to what is so for now."""
        if view.held:
            self.low[i] = self.high[i] = view.replicas
            return
        if view.wish is not None:
            self.high[i] = min(self.high[i], max(view.wish, self.low[i]))
        if view.ceiling is not None:
            # A pool that may not use them needs no GPUs set aside.
            self.low[i] = min(self.low[i], view.ceiling)
            self.high[i] = min(self.high[i], view.ceiling)
            self.aside[i] = min(self.aside[i], view.ceiling)
        self.high[i] = max(self.high[i], self.low[i])
        self.now[i] = min(max(view.replicas, self.low[i]), self.high[i])
        if view.backlog_replica_s is None and view.wish is None:
            self.low[i] = self.now[i]

    def _costs(self) -> list[float]:
        costs = self.rules.gpu_cost_per_hour
        if not costs:
            return [0.0] * len(self.views)
        return [
            costs.get(spec.gpu_class, 0.0) / 3600.0 * spec.gpus_per_replica
            for spec in self.layout.specs
        ]
