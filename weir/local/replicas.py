"""The replicas of this machine: their states, the GPUs they hold, how often pools changed.

starting -> ready -> terminating -> gone. A replica that dies is starting again, with the
same id and port. Invariant: a replica is listed, and holds its GPUs, from `add` to `remove`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from weir.domain.fleet import Fleet, PoolSpec
from weir.domain.ids import PoolId, WorkerId
from weir.domain.planning import PoolState
from weir.local.gpus import GpuMeter

__all__ = ["PoolHistory", "Refusal", "Replica", "ReplicaState", "ReplicaTable"]


class ReplicaState(StrEnum):
    STARTING = "starting"
    READY = "ready"
    TERMINATING = "terminating"


@dataclass(slots=True, kw_only=True)
class Replica:
    id: WorkerId
    pool: PoolSpec
    port: int
    state: ReplicaState = ReplicaState.STARTING
    in_flight: int | None = None
    """Requests the engine holds, as last seen."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a replica is not started."""

    reason: str


@dataclass(slots=True)
class PoolHistory:
    """Ready replicas since the fleet was first ready, and commanded changes since then."""

    lowest: int
    highest: int
    scale_ups: int = 0
    scale_downs: int = 0


@dataclass(slots=True)
class ReplicaTable:
    fleet: Fleet
    gpus: GpuMeter
    _replicas: dict[WorkerId, Replica] = field(default_factory=dict)
    _numbers: dict[PoolId, int] = field(default_factory=dict)
    _history: dict[PoolId, PoolHistory] = field(default_factory=dict)

    def add(self, pool: PoolSpec, port: int, now_s: float) -> Replica | Refusal:
        """Enter a new replica as starting, unless the machine has no GPUs left for it."""
        free_gpus = self._free_gpus(pool.node_group)
        if free_gpus < pool.gpus_per_replica:
            return Refusal(
                f"node group {pool.node_group} has {free_gpus} free GPUs,"
                f" a replica of {pool.id} needs {pool.gpus_per_replica}"
            )
        number = self._numbers.get(pool.id, 0)
        self._numbers[pool.id] = number + 1
        replica = Replica(id=WorkerId(f"{pool.id}-{number}"), pool=pool, port=port)
        self._replicas[replica.id] = replica
        self.gpus.hold(pool.gpu_class, pool.gpus_per_replica, now_s)
        if history := self._history.get(pool.id):
            history.scale_ups += 1
        return replica

    def set_ready(self, replica: Replica, ready: bool) -> None:
        """Record what its health check says; ignored once it terminates."""
        if replica.state is not ReplicaState.TERMINATING:
            replica.state = ReplicaState.READY if ready else ReplicaState.STARTING
            if not ready:
                replica.in_flight = None
            self._note(replica.pool.id)

    def terminate(self, replica: Replica) -> bool:
        """It was told to end; False if it was before."""
        if replica.state is ReplicaState.TERMINATING:
            return False
        replica.state = ReplicaState.TERMINATING
        if history := self._history.get(replica.pool.id):
            history.scale_downs += 1
        self._note(replica.pool.id)
        return True

    def remove(self, replica: Replica, now_s: float) -> None:
        """Its process is gone."""
        if self._replicas.pop(replica.id, None):
            self.gpus.release(replica.pool.gpu_class, replica.pool.gpus_per_replica, now_s)

    def get(self, replica_id: str) -> Replica | None:
        return self._replicas.get(WorkerId(replica_id))

    def of(self, pool_id: str) -> Sequence[Replica]:
        return [r for r in self._replicas.values() if r.pool.id == pool_id]

    def all(self) -> Sequence[Replica]:
        return list(self._replicas.values())

    def state(self, pool_id: PoolId) -> PoolState:
        states = [replica.state for replica in self.of(pool_id)]
        return PoolState(
            ready=states.count(ReplicaState.READY),
            starting=states.count(ReplicaState.STARTING),
            terminating=states.count(ReplicaState.TERMINATING),
        )

    def begin_history(self) -> None:
        """The fleet is ready: what happens from now on counts in the summary."""
        for pool in self.fleet.pools:
            ready = self.state(pool.id).ready
            self._history[pool.id] = PoolHistory(ready, ready)

    def history(self, pool_id: PoolId) -> PoolHistory | None:
        """None before `begin_history`."""
        return self._history.get(pool_id)

    def _note(self, pool_id: PoolId) -> None:
        if history := self._history.get(pool_id):
            ready = self.state(pool_id).ready
            history.lowest = min(history.lowest, ready)
            history.highest = max(history.highest, ready)

    def _free_gpus(self, node_group: str) -> int:
        gpus = next(g.gpus for g in self.fleet.node_groups if g.name == node_group)
        held = (r.pool for r in self._replicas.values() if r.pool.node_group == node_group)
        return gpus - sum(pool.gpus_per_replica for pool in held)
