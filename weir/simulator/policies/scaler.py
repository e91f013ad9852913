"""What a simple scaler is: from what is seen of the pools to the replicas they should have."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from weir.domain.ids import PoolId
from weir.simulator.policies.seen import PoolSeen

__all__ = ["Scaler", "Wish"]


class Wish(NamedTuple):
    """Replicas that a pool should have, and why."""

    replicas: int
    reason: str


class Scaler(Protocol):
    """Made anew for each run: it may keep state, but knows no time besides what it is told."""

    interval_s: float

    def desired(self, seen: Mapping[PoolId, PoolSeen], now_s: float) -> Mapping[PoolId, Wish]:
        """Called every `interval_s`. A pool left out stays as it is."""
        ...
