"""A pool whose replicas somebody else runs: it is looked at, never changed."""

from collections.abc import Sequence

from poolplanner.core.replicas import Replica, ReplicaState
from poolplanner.ports import RefusedError
from weir.domain.ids import PoolId, WorkerId
from weir.domain.planning import Grant

__all__ = ["FixedActuator"]


class FixedActuator:
    """Says that `replicas` are ready; where they listen is not known, so none is announced."""

    def __init__(self, pool_id: PoolId, replicas: int) -> None:
        self._replicas = [
            Replica(id=WorkerId(f"{pool_id}-{number}"), state=ReplicaState.READY)
            for number in range(replicas)
        ]

    async def list(self) -> Sequence[Replica]:
        return self._replicas

    async def start(self, grant: Grant) -> WorkerId:
        raise RefusedError(f"pool {grant.pool_id} has `scaling: none`; nothing is started")

    async def stop(self, worker_id: WorkerId, *, drain_s: float) -> None:
        raise RefusedError(f"{worker_id}: its pool has `scaling: none`; nothing is stopped")
