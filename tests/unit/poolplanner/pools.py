"""A pool with numbers that can be checked by hand."""

from weir.domain.fleet import PoolSpec, RequestClass, Role, Slo, TokenRange
from weir.domain.ids import ClassName, ModelName, PoolId
from weir.domain.profile import EngineProfile, PolynomialTiming

__all__ = ["CLASSES", "POOL", "PROFILE", "SMALL", "pool_spec"]

POOL = PoolId("chat")
SMALL = ClassName("small")
CLASSES = (
    RequestClass(
        name=SMALL,
        isl_tokens=TokenRange(),
        osl_tokens=TokenRange(),
        slo=Slo(ttft_s=5.0, itl_s=0.05),
    ),
)
PROFILE = EngineProfile(
    timing=PolynomialTiming(prefill_s=(0.0, 1e-4), decode_s=(0.010,), decode_per_sequence_s=0.001),
    kv_tokens=100_000,
    max_batched_tokens=1000,
)
"""Prefill 0.1 ms per token; decode 10 ms plus 1 ms per sequence."""


def pool_spec(
    role: Role = Role.PREFILL,
    *,
    context_limit_tokens: int = 100_000,
    min_replicas: int = 1,
    max_replicas: int = 4,
) -> PoolSpec:
    return PoolSpec(
        id=POOL,
        role=role,
        model=ModelName("m"),
        gpus_per_replica=1,
        node_group="default",
        gpu_class="gpu",
        min_replicas=min_replicas,
        max_replicas=max_replicas,
        floor_replicas=min_replicas,
        guarantee_replicas=min_replicas,
        weight=1.0,
        start_up_s=30.0,
        profile=PROFILE,
        context_limit_tokens=context_limit_tokens,
    )
