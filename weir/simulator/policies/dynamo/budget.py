"""Its GlobalPlanner: one ceiling for all pools, first come, first served, all or nothing.

A request that fits is granted, one that does not is refused. What was refused is remembered
for six minutes: it goes along, as far as it fits, when a request of the other direction comes.
It counts the replicas that are specified, not those that still run.
"""

from collections.abc import Mapping
from typing import NamedTuple

from weir.domain.ids import PoolId

__all__ = ["GlobalBudget"]

_INTENT_TTL_S = 360.0


class _Intent(NamedTuple):
    replicas: int
    at_s: float


class GlobalBudget:
    """`gpus`: of one replica of each pool. Each pool is a deployment of its own."""

    def __init__(self, gpus: Mapping[PoolId, int], most_gpus: int) -> None:
        self._gpus = gpus
        self._most_gpus = most_gpus
        self._intents: dict[PoolId, _Intent] = {}

    def ask(
        self, pool_id: PoolId, desired: int, current: Mapping[PoolId, int], now_s: float
    ) -> dict[PoolId, int] | None:
        """What is granted, to this pool and perhaps to others besides; None: refused.

        A planner that wants no change does not ask, so an old wish is never taken back.
        """
        self._intents[pool_id] = _Intent(desired, now_s)
        change = (desired - current[pool_id]) * self._gpus[pool_id]
        held = sum(current[other] * self._gpus[other] for other in current)
        total, granted = self._with_partners(pool_id, change, held + change, current, now_s)
        if total > self._most_gpus:
            return None
        return {pool_id: desired, **granted}

    def _with_partners(
        self,
        pool_id: PoolId,
        change: int,
        total: int,
        current: Mapping[PoolId, int],
        now_s: float,
    ) -> tuple[int, dict[PoolId, int]]:
        """All that fit of the wishes in the other direction, the smallest first; the last in part.

        There is no least number of GPUs, so all that would shrink can do so.
        """
        granted: dict[PoolId, int] = {}
        for size, other in sorted(self._opposite(pool_id, change, current, now_s)):
            gpus, wish = self._gpus[other], self._intents[other].replicas
            if change > 0:
                granted[other] = wish
                total -= size
                continue
            room = max(0, self._most_gpus - total) // gpus
            granted[other] = min(wish, current[other] + room)
            total += (granted[other] - current[other]) * gpus
            if granted[other] < wish:
                if not room:
                    del granted[other]
                break
        return total, granted

    def _opposite(
        self, pool_id: PoolId, change: int, current: Mapping[PoolId, int], now_s: float
    ) -> list[tuple[int, PoolId]]:
        """Other pools with a fresh wish to the other direction, and its GPUs."""
        found = []
        for other, intent in self._intents.items():
            wished = (intent.replicas - current[other]) * self._gpus[other]
            fresh = now_s - intent.at_s < _INTENT_TTL_S
            if other != pool_id and fresh and wished * change < 0:
                found.append((abs(wished), other))
        return found
