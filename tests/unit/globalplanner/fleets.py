"""Small fleets and snapshots whose numbers can be checked by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

from globalplanner.core.arbiter.snapshot import PoolView, Snapshot
from globalplanner.core.budget.limits import limits_of
from weir.domain.fleet import (
    Budget,
    Fleet,
    Model,
    NodeGroup,
    PoolSpec,
    RequestClass,
    Role,
    Slo,
    TokenRange,
)
from weir.domain.ids import ClassName, ModelName, PoolId
from weir.domain.planning import ClassLoad, PoolReport, PoolState
from weir.domain.profile import EngineProfile

CHAT = ClassName("chat")
LONG = ClassName("long")


def request_class(name: str = "chat", **changes: Any) -> RequestClass:
    fields: dict[str, Any] = {
        "name": ClassName(name),
        "isl_tokens": TokenRange(),
        "osl_tokens": TokenRange(),
        "slo": Slo(ttft_s=1.0, itl_s=0.05),
    }
    return RequestClass(**(fields | changes))


def pool(name: str, role: Role = Role.AGG, **changes: Any) -> PoolSpec:
    """One GPU per replica, 1 to 4 replicas, unless `changes` say otherwise."""
    least = changes.get("min_replicas", 1)
    floor = changes.get("floor_replicas", least)
    fields: dict[str, Any] = {
        "id": PoolId(name),
        "role": role,
        "model": ModelName("m"),
        "gpus_per_replica": 1,
        "node_group": "nodes",
        "gpu_class": "gpu",
        "min_replicas": least,
        "max_replicas": 4,
        "floor_replicas": floor,
        "guarantee_replicas": floor,
        "weight": 1.0,
        "start_up_s": 10.0,
        "profile": EngineProfile(),
        "context_limit_tokens": 32768,
        "scale_to_zero_after_s": 0.0,
    }
    return PoolSpec(**(fields | changes))


def fleet(
    pools: Sequence[PoolSpec],
    *,
    gpus: int = 8,
    classes: Sequence[RequestClass] = (request_class(),),
    by_gpu_class: Mapping[str, int] | None = None,
    node_groups: Sequence[NodeGroup] = (),
    power_w: int | None = None,
) -> Fleet:
    return Fleet(
        name="test",
        models=tuple(Model(name=name) for name in sorted({p.model for p in pools})),
        classes=tuple(classes),
        budget=Budget(gpus=gpus, by_gpu_class=by_gpu_class or {}, power_w=power_w),
        node_groups=tuple(node_groups),
        pools=tuple(pools),
    )


def view(spec: PoolSpec, replicas: int | None = None, **changes: Any) -> PoolView:
    """Everything is ready, a replica carries 5 chat requests/s, nothing is queued."""
    count = spec.min_replicas if replicas is None else replicas
    fields: dict[str, Any] = {
        "spec": spec,
        "replicas": count,
        "ready": count,
        "capacity_rps": {CHAT: 5.0},
        "backlog_replica_s": 0.0,
    }
    return PoolView(**(fields | changes))


def load(rate_rps: float, name: str = "chat") -> ClassLoad:
    return ClassLoad(
        name=ClassName(name),
        rate_rps=rate_rps,
        rate_high_rps=rate_rps,
        isl_tokens=1000.0,
        osl_tokens=200.0,
    )


def snapshot(
    views: Sequence[PoolView],
    loads: Mapping[str, float] | None,
    *,
    gpus: int = 8,
    now_s: float = 0.0,
    whole: Fleet | None = None,
    **changes: Any,
) -> Snapshot:
    whole = whole or fleet([v.spec for v in views], gpus=gpus)
    fields: dict[str, Any] = {
        "now_s": now_s,
        "classes": whole.classes,
        "pools": tuple(views),
        "limits": limits_of(whole),
        "loads": None if loads is None else {ClassName(n): load(r, n) for n, r in loads.items()},
    }
    return Snapshot(**(fields | changes))


def report(
    pool_id: str,
    sequence: int,
    *,
    ready: int = 0,
    starting: int = 0,
    terminating: int = 0,
    acted: tuple[int, int, int] = (0, 0, 0),
    **changes: Any,
) -> PoolReport:
    """`acted` is (term, epoch, replicas)."""
    fields: dict[str, Any] = {
        "pool_id": PoolId(pool_id),
        "sequence": sequence,
        "acted_term": acted[0],
        "acted_epoch": acted[1],
        "acted_replicas": acted[2],
        "state": PoolState(ready=ready, starting=starting, terminating=terminating),
        "capacity_rps": {CHAT: 5.0},
        "capacity_rel_std": 0.1,
        "backlog_replica_s": 0.0,
        "telemetry_age_s": 0.5,
    }
    return PoolReport(**(fields | changes))
