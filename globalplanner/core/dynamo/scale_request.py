"""A Dynamo planner's scale request, read as wishes of the fleet's own pools.

A wish is a state, not an event: so many replicas the pool should have. Asking twice is asking once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from weir.domain.fleet import PoolSpec, Role, Stage
from weir.domain.ids import PoolId

__all__ = ["ScaleReply", "ScaleRequest", "ScaleStatus", "Target", "addressed", "component_of"]


class ScaleStatus(StrEnum):
    """`SCALING`: taken in, a part of it is still to come."""

    SUCCESS = "success"
    ERROR = "error"
    REJECTED = "rejected"
    SCALING = "scaling"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    component: Stage
    replicas: int

    def __post_init__(self) -> None:
        if self.replicas < 0:
            raise ValueError(f"replicas cannot be negative: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleRequest:
    """`blocking`: to be answered when the replicas are ready. `timestamp_s`: the caller's clock."""

    caller_namespace: str
    k8s_namespace: str
    deployment: str
    targets: tuple[Target, ...]
    blocking: bool = False
    timestamp_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleReply:
    """`current_replicas`: those last seen of each component; one that was never seen is missing."""

    status: ScaleStatus
    message: str
    current_replicas: Mapping[Stage, int]


def component_of(pool: PoolSpec) -> Stage:
    """As which component of its deployment Dynamo knows a pool."""
    return Stage.PREFILL if pool.role is Role.PREFILL else Stage.DECODE


def addressed(request: ScaleRequest, pools: Iterable[PoolSpec]) -> dict[PoolId, int]:
    """Replicas asked for, by pool. Raises `ValueError` that says what nobody can be meant by."""
    named = f"{request.k8s_namespace}/{request.deployment}"
    members = {
        component_of(pool): pool
        for pool in pools
        if pool.dynamo is not None and str(pool.dynamo) == named
    }
    owners = {pool.dynamo.caller_namespace for pool in members.values() if pool.dynamo}
    if request.caller_namespace not in owners:
        raise ValueError(
            f"no pool of this fleet is a component of {named} that {request.caller_namespace!r} "
            "may ask for"
        )
    asked: dict[PoolId, int] = {}
    for index, target in enumerate(request.targets):
        where = f"target_replicas[{index}].sub_component_type"
        pool = members.get(target.component)
        if pool is None:
            known = ", ".join(sorted(members))
            raise ValueError(f"{where}: {named} has no {target.component} pool, only {known}")
        if pool.id in asked:
            raise ValueError(f"{where} names {target.component} a second time")
        asked[pool.id] = target.replicas
    if not asked:
        raise ValueError("target_replicas must name a component")
    return asked
