"""What Dynamo planners wish for now.

The newest wish of a pool counts, until its time is over. From then on the pool asks for what has
been decided for it: nothing that was wished long ago happens late, and nothing is given back
because a planner that is content, or away, says nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from weir.domain.ids import PoolId

__all__ = ["Wishes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    replicas: int
    until_s: float
    timestamp_s: float | None


class Wishes:
    """`now_s` is wall time."""

    def __init__(self) -> None:
        self._wishes: dict[PoolId, _Wish] = {}

    def is_late(self, asked: Mapping[PoolId, int], timestamp_s: float | None, now_s: float) -> bool:
        """Whether a wish that its caller sent later is there already, for one of these pools."""
        if timestamp_s is None:
            return False
        known = (self._live(pool_id, now_s) for pool_id in asked)
        return any(
            wish is not None and wish.timestamp_s is not None and wish.timestamp_s > timestamp_s
            for wish in known
        )

    def note(
        self, asked: Mapping[PoolId, int], timestamp_s: float | None, now_s: float, *, ttl_s: float
    ) -> None:
        for pool_id, replicas in asked.items():
            self._wishes[pool_id] = _Wish(
                replicas=replicas, until_s=now_s + ttl_s, timestamp_s=timestamp_s
            )

    def lower(self, asked: Mapping[PoolId, int], decided: Mapping[PoolId, int]) -> None:
        """After a request that was rejected: an earlier wish for more than it has ended."""
        for pool_id, replicas in asked.items():
            wish = self._wishes.get(pool_id)
            if wish is not None and wish.replicas > max(replicas, decided[pool_id]):
                kept = max(replicas, decided[pool_id])
                self._wishes[pool_id] = _Wish(
                    replicas=kept, until_s=wish.until_s, timestamp_s=wish.timestamp_s
                )

    def in_force(self, decided: Mapping[PoolId, int], now_s: float) -> dict[PoolId, int]:
        """Replicas wished for by each pool of `decided`, which says what each is to have now."""
        live = {pool_id: self._live(pool_id, now_s) for pool_id in decided}
        return {
            pool_id: wish.replicas if wish is not None else decided[pool_id]
            for pool_id, wish in live.items()
        }

    def _live(self, pool_id: PoolId, now_s: float) -> _Wish | None:
        wish = self._wishes.get(pool_id)
        return wish if wish is not None and now_s < wish.until_s else None
