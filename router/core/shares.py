"""Smooth weighted round robin: what is sent follows the shares, evenly and without chance.

Each pool has a credit that grows by its share with every request of the class and stage
and falls by one when a request is sent to it; the pool with the most is next. Credits are
bounded, so a pool that was away is not flooded when it is back.
"""

from collections.abc import Mapping

from weir.domain.fleet import Stage
from weir.domain.ids import ClassName, ModelName, PoolId

__all__ = ["ShareKey", "SmoothShares"]

ShareKey = tuple[ClassName, ModelName, Stage]
"""Shares of a class hold within one model and stage."""

_BOUND = 2.0


class SmoothShares:
    def __init__(self) -> None:
        self._credits: dict[ShareKey, dict[PoolId, float]] = {}

    def order(self, key: ShareKey, weights: Mapping[PoolId, float]) -> list[PoolId]:
        """Pools by whose turn it is, next one first. Changes nothing."""
        credits = self._credits.get(key)
        if credits is None:
            return sorted(weights, key=weights.__getitem__, reverse=True)
        turn = {pool: credits.get(pool, 0.0) + weight for pool, weight in weights.items()}
        return sorted(turn, key=turn.__getitem__, reverse=True)

    def sent(self, key: ShareKey, weights: Mapping[PoolId, float], chosen: PoolId) -> None:
        """A request went to `chosen`; `weights` (summing to 1) are what `order` was given."""
        credits = self._credits.setdefault(key, {})
        for pool, weight in weights.items():
            credit = credits.get(pool, 0.0) + weight
            credits[pool] = credit if credit < _BOUND else _BOUND
        credits[chosen] = max(-_BOUND, credits.get(chosen, 0.0) - 1.0)
