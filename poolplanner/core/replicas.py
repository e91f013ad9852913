"""The pool's replicas as the actuator lists them."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from weir.domain.ids import WorkerId
from weir.domain.planning import PoolState

__all__ = ["Replica", "ReplicaState", "state_of"]


class ReplicaState(StrEnum):
    STARTING = "starting"
    READY = "ready"
    TERMINATING = "terminating"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One engine. `port` 0: where it listens is not known here. `in_flight` None: unknown."""

    id: WorkerId
    state: ReplicaState
    host: str = ""
    port: int = 0
    in_flight: int | None = None


def state_of(replicas: Iterable[Replica], *, unsettled: int = 0) -> PoolState:
    """Counts by state; `unsettled` starts, which may or may not have happened, are starting."""
    counts = dict.fromkeys(ReplicaState, 0)
    for replica in replicas:
        counts[replica.state] += 1
    return PoolState(
        ready=counts[ReplicaState.READY],
        starting=counts[ReplicaState.STARTING] + unsettled,
        terminating=counts[ReplicaState.TERMINATING],
    )
