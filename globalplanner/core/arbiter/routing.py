"""Where requests should go, given an allocation."""

from collections.abc import Sequence

import numpy as np

from globalplanner.core.arbiter.lowest import Lowest
from globalplanner.core.arbiter.space import Space
from globalplanner.core.arbiter.spread import Groups, Spread, spread
from globalplanner.core.arbiter.stand import Stand
from weir.sizing.basis import Floats

__all__ = ["Routing"]


class Routing:
    """`lowest` knows the flows of components that have room to shrink."""

    def __init__(self, space: Space, groups: Groups, lowest: Lowest) -> None:
        self._space, self._groups, self._lowest = space, groups, lowest

    def now(self, stand: Stand, replicas: Sequence[int], before: Floats | None) -> Spread:
        """Where requests should go: by what serves now, of the replicas decided those ready.

        As long as nothing is ready it is by what is decided.
        """
        views = self._space.views
        ready = [min(n, view.ready) for n, view in zip(replicas, views, strict=True)]
        serving = np.array(ready if any(ready) else replicas, dtype=np.float64)
        return self.spread(stand, serving, before)

    def spread(self, stand: Stand, serving: Floats, before: Floats | None) -> Spread:
        """The same by what is said to serve, to begin from rates of `before`."""
        capacity_rps, demand = self._space.offer.capacity_rps, self._space.offer.demand
        whole = self._whole(stand, serving)
        groups = self._groups
        return spread(groups, capacity_rps, demand.rate_rps, serving, whole, before)

    def _whole(self, stand: Stand, serving: Floats) -> Floats:
        """The part of each stream that aggregated pools serve; not a number where none is."""
        groups, layout = self._groups, self._space.layout
        result = np.full((len(layout.models), len(layout.names)), np.nan)
        if not groups.mixed:
            return result
        served = self.served(stand)
        count = np.maximum(np.array(stand.replicas, dtype=np.float64), 1.0)
        served *= np.minimum(serving / count, 1.0)[:, None]
        sums = np.zeros((2, *result.shape))
        entering = np.flatnonzero(~layout.decodes)
        np.add.at(sums, (layout.prefills[entering], layout.model[entering]), served[entering])
        total = sums.sum(axis=0)
        np.divide(sums[0], total, out=result, where=total > 0.0)
        return result

    def served(self, stand: Stand) -> Floats:
        """Requests/s through each pool within SLO, shape (pools, classes)."""
        space = self._space
        classes = len(space.layout.names)
        served = stand.point.served_rps(classes)
        certain = np.array([stand.certain(pool) for pool in range(len(served))], dtype=bool)
        if certain.any():
            served = np.where(certain[:, None], self._lowest.point.served_rps(classes), served)
        return served
