"""Smooth weighted round robin: what is sent follows the shares, evenly and without chance.

Each pool has a credit that grows by its share with every request of the class and stage
and falls by one when a request is sent to it; the pool with the most is next. Credits are
bounded, so a pool that was away is not flooded when it is back.
"""

from collections.abc import Mapping

from weir.domain.ids import PoolId

__all__ = ["Turns"]

_BOUND = 2.0


class Turns:
    """Those of one class, model and stage. `weights` sum to 1 and may be others every time."""

    def __init__(self) -> None:
        self._credits: dict[PoolId, float] = {}
        self._weights: Mapping[PoolId, float] | None = None
        self._next: PoolId | None = None
        """Of those weights, since the last `sent`."""

    def order(self, weights: Mapping[PoolId, float]) -> list[PoolId]:
        """Pools by whose turn it is, next one first. Changes nothing."""
        credits = self._credits
        turn = {pool: credits.get(pool, 0.0) + weight for pool, weight in weights.items()}
        return sorted(turn, key=turn.__getitem__, reverse=True)

    def next(self, weights: Mapping[PoolId, float]) -> PoolId:
        """The first in `order`. Raises `ValueError` without any pool."""
        if weights is self._weights and self._next is not None:
            return self._next
        credits = self._credits
        best, most = None, -_BOUND
        for pool, weight in weights.items():
            credit = credits.get(pool, 0.0) + weight
            if credit > most:
                best, most = pool, credit
        if best is None:
            raise ValueError("nobody has a turn without a share")
        return best

    def sent(self, weights: Mapping[PoolId, float], chosen: PoolId) -> None:
        """A request went to `chosen`."""
        credits = self._credits
        if chosen not in weights:
            credits[chosen] = max(-_BOUND, credits.get(chosen, 0.0) - 1.0)
        best, most = None, -_BOUND
        for pool, weight in weights.items():
            credit = credits.get(pool, 0.0) + weight
            if credit > _BOUND:
                credit = _BOUND
            if pool == chosen:
                credit = credit - 1.0 if credit > 1.0 - _BOUND else -_BOUND
            credits[pool] = credit
            if credit + weight > most:
                best, most = pool, credit + weight
        self._weights, self._next = weights, best
