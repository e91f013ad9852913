"""What is charged and reserved under each limit, kept up to date pool by pool.

Invariant: the sums are those of what was last booked for every pool.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from globalplanner.core.budget.limits import Limit
from weir.domain.ids import PoolId

__all__ = ["Books"]


@dataclass(frozen=True, slots=True)
class _Entry:
    charged_gpus: int
    reserved_gpus: int


_NOTHING = _Entry(0, 0)


class Books:
    """`charged`: what may be in use, of what is known. `reserved`: at most."""

    def __init__(self, limits: Iterable[Limit]) -> None:
        self.limits = tuple(limits)
        self.charged_gpus = 0
        self._entries: dict[PoolId, _Entry] = {}
        self._charged = [0] * len(self.limits)
        self._reserved = [0] * len(self.limits)
        self._under: dict[PoolId, tuple[tuple[int, int], ...]] = {}

    @property
    def above(self) -> bool:
        """Whether a limit does not hold what is charged."""
        return any(
            charged > limit.most for charged, limit in zip(self._charged, self.limits, strict=True)
        )

    def book(self, pool_id: PoolId, charged_gpus: int, reserved_gpus: int) -> bool:
        """Whether anything has changed by it."""
        before = self._entries.get(pool_id, _NOTHING)
        entry = _Entry(charged_gpus, reserved_gpus)
        if entry == before:
            return False
        self._entries[pool_id] = entry
        self.charged_gpus += charged_gpus - before.charged_gpus
        for i, each in self.under(pool_id):
            self._charged[i] += each * (charged_gpus - before.charged_gpus)
            self._reserved[i] += each * (reserved_gpus - before.reserved_gpus)
        return True

    def forget(self, pool_id: PoolId) -> None:
        self.book(pool_id, 0, 0)
        self._entries.pop(pool_id, None)

    def free(self) -> list[int]:
        """What is nobody's, by limit; negative where more is reserved than there is."""
        return [
            limit.most - reserved
            for limit, reserved in zip(self.limits, self._reserved, strict=True)
        ]

    def under(self, pool_id: PoolId) -> tuple[tuple[int, int], ...]:
        """Which limits count the pool, and what a GPU of it takes of each."""
        if pool_id not in self._under:
            self._under[pool_id] = tuple(
                (i, limit.per_gpu(pool_id))
                for i, limit in enumerate(self.limits)
                if pool_id in limit.pools
            )
        return self._under[pool_id]

    def charges(self) -> Mapping[PoolId, int]:
        """GPUs charged, by pool."""
        return {id: entry.charged_gpus for id, entry in self._entries.items()}
