"""Small fleets and requests with round numbers.

A pool's engine takes 1 ms per prompt token, 10 ms per iteration that decodes, and has room
for 8 sequences or 10,000 KV tokens; a batch holds 1,000 prompt tokens.
"""

from collections.abc import Sequence
from typing import Any

from router.core.request import RequestProfile
from router.service import RouterService, ServiceSettings
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
from weir.domain.ids import ClassName, ModelName, PoolId, RouterId, WorkerId
from weir.domain.planning import PoolMembers, WorkerEndpoint
from weir.domain.profile import EngineProfile, PolynomialTiming
from weir.runtime.clock import Clock

__all__ = ["MODEL", "PROFILE", "fleet", "members", "pool", "request", "request_class", "service"]

MODEL = ModelName("tiny")
PROFILE = EngineProfile(
    timing=PolynomialTiming(
        prefill_s=(0.0, 1e-3), decode_s=(0.010,), decode_per_sequence_s=0.0, decode_min_s=1e-3
    ),
    kv_tokens=10_000,
    block_tokens=10,
    max_sequences=8,
    max_batched_tokens=1000,
    kv_transfer_tokens_per_s=1e9,
)


def pool(name: str, role: Role, **changes: Any) -> PoolSpec:
    fields: dict[str, Any] = {
        "id": PoolId(name),
        "role": role,
        "model": MODEL,
        "gpus_per_replica": 1,
        "node_group": "n",
        "gpu_class": "g",
        "min_replicas": 1,
        "max_replicas": 4,
        "floor_replicas": 1,
        "guarantee_replicas": 1,
        "weight": 1.0,
        "start_up_s": 7.0,
        "profile": PROFILE,
        "context_limit_tokens": 4000,
    }
    return PoolSpec(**(fields | changes))


def request_class(
    name: str = "all",
    *,
    isl: tuple[int, int | None] = (0, None),
    osl: tuple[int, int | None] = (0, None),
    ttft_s: float = 100.0,
    itl_s: float = 1.0,
    priority: int = 0,
    weight: float = 1.0,
) -> RequestClass:
    return RequestClass(
        name=ClassName(name),
        isl_tokens=TokenRange(low=isl[0], high=isl[1]),
        osl_tokens=TokenRange(low=osl[0], high=osl[1]),
        slo=Slo(ttft_s=ttft_s, itl_s=itl_s),
        priority=priority,
        weight=weight,
    )


def fleet(pools: Sequence[PoolSpec], classes: Sequence[RequestClass] = ()) -> Fleet:
    names = dict.fromkeys(p.model for p in pools)
    return Fleet(
        name="test",
        models=tuple(Model(name=n, aliases=(f"{n}-alias",)) for n in names),
        classes=tuple(classes) or (request_class(),),
        budget=Budget(gpus=100),
        node_groups=(NodeGroup(name="n", gpu_class="g", gpus=100),),
        pools=tuple(pools),
    )


def members(pool_id: str, *workers: str, version: int = 1, draining: str = "") -> PoolMembers:
    """Workers by name; every name in `draining` (blank-separated) drains."""
    return PoolMembers(
        pool_id=PoolId(pool_id),
        version=version,
        workers=tuple(
            WorkerEndpoint(
                id=WorkerId(name),
                host="127.0.0.1",
                port=1000 + sum(map(ord, name)),
                draining=name in draining.split(),
            )
            for name in workers
        ),
    )


def service(
    pools: Sequence[PoolSpec],
    *memberships: PoolMembers,
    classes: Sequence[RequestClass] = (),
    **settings: Any,
) -> RouterService:
    router = RouterService(
        fleet(pools, classes), Clock(), RouterId("r"), ServiceSettings(**settings)
    )
    for membership in memberships:
        router.apply_members(membership)
    return router


def request(isl: int = 100, **changes: Any) -> RequestProfile:
    fields: dict[str, Any] = {
        "model": MODEL,
        "isl_tokens": isl,
        "prompt_bytes": 4 * isl,
        "max_tokens": 50,
        "streaming": True,
    }
    return RequestProfile(**(fields | changes))
