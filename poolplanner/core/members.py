"""Which replicas routers may use: what is announced, when, and under which version.

Invariant: versions increase with every change of content, and what is announced once is
announced again after `refresh_s`, so that a store that lost it has it back.
"""

import math
from collections.abc import Collection, Iterable

from poolplanner.core.replicas import Replica, ReplicaState
from weir.domain.ids import PoolId, WorkerId
from weir.domain.planning import PoolMembers, WorkerEndpoint

__all__ = ["Announcement", "endpoints"]


def endpoints(
    replicas: Iterable[Replica], draining: Collection[WorkerId]
) -> tuple[WorkerEndpoint, ...]:
    """Replicas that serve, by id. Those that are leaving stay listed as draining until gone."""
    serving = (ReplicaState.READY, ReplicaState.TERMINATING)
    return tuple(
        WorkerEndpoint(
            id=replica.id,
            host=replica.host,
            port=replica.port,
            draining=replica.id in draining or replica.state is ReplicaState.TERMINATING,
        )
        for replica in sorted(replicas, key=lambda replica: replica.id)
        if replica.state in serving and replica.port > 0
    )


class Announcement:
    """What has been announced. Times are wall seconds of one monotonic clock."""

    def __init__(self, pool_id: PoolId, *, first_version: int, refresh_s: float) -> None:
        self._refresh_s = refresh_s
        self._members = PoolMembers(pool_id=pool_id, version=first_version)
        self._published_at_s = -math.inf

    def due(self, workers: tuple[WorkerEndpoint, ...], now_s: float) -> PoolMembers | None:
        """The members to publish now; None if routers can know them already."""
        if workers != self._members.workers:
            self._published_at_s = -math.inf
            self._members = PoolMembers(
                pool_id=self._members.pool_id, version=self._members.version + 1, workers=workers
            )
        return self._members if now_s >= self._published_at_s + self._refresh_s else None

    def published(self, now_s: float) -> None:
        """What `due` returned last has been stored."""
        self._published_at_s = now_s
