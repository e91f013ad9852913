"""Document -> domain: defaults that depend on other fields are filled in here, units converted.

Names must have been checked (`references`); numbers are checked on the result (`checks`).
"""

from weir.domain.fleet import (
    Budget,
    Fleet,
    Model,
    NodeGroup,
    PoolSpec,
    RequestClass,
    Slo,
    TokenRange,
)
from weir.domain.ids import ClassName, ModelName, PoolId
from weir.domain.profile import EngineProfile, profile_from_mapping
from weir.fleet.document import (
    ClassSpec,
    Document,
    FleetSpec,
    NoScaling,
    PoolDocument,
    ProfileSpec,
    RangeSpec,
)

__all__ = ["DEFAULT_CLASS", "fleet_of", "profile_of", "request_class_of"]

DEFAULT_CLASS = ClassSpec(name="default", ttft_ms=5000.0, itl_ms=100.0)
"""The class of a fleet that declares none: every request, first token in 5 s, 10 tokens/s."""

_LONGEST_CONTEXT = 10_000_000
_IMPLICIT_GROUP = "default"
_IMPLICIT_GPU_CLASS = "gpu"


def fleet_of(document: Document) -> Fleet:
    """The domain fleet. Raises `KeyError` or `ValueError` if `references` was not heeded."""
    spec = document.spec
    groups = _node_groups(spec)
    profiles = {name: profile_of(profile) for name, profile in spec.profiles.items()}
    return Fleet(
        name=document.metadata.name,
        models=tuple(
            Model(name=ModelName(model.name), aliases=model.aliases) for model in spec.models
        ),
        classes=tuple(request_class_of(item) for item in spec.classes or (DEFAULT_CLASS,)),
        budget=Budget(gpus=spec.budget.gpus, by_gpu_class=dict(spec.budget.gpu_classes)),
        node_groups=tuple(groups.values()),
        pools=tuple(
            _pool(
                pool,
                group=groups[pool.node_group or next(iter(groups))],
                profile=profiles[pool.profile] if pool.profile else EngineProfile(),
                budget_gpus=spec.budget.gpus,
            )
            for pool in spec.pools
        ),
    )


def profile_of(profile: ProfileSpec) -> EngineProfile:
    """Raises `ValueError` naming what does not fit together."""
    return profile_from_mapping(profile.model_dump(by_alias=True))


def request_class_of(item: ClassSpec) -> RequestClass:
    """Raises `ValueError` if a range is empty."""
    return RequestClass(
        name=ClassName(item.name),
        isl_tokens=_token_range(item.isl),
        osl_tokens=_token_range(item.osl),
        slo=Slo(
            ttft_s=item.ttft_ms / 1e3, itl_s=item.itl_ms / 1e3, percentile=item.percentile / 100.0
        ),
        weight=item.weight,
        priority=item.priority,
    )


def _token_range(item: RangeSpec) -> TokenRange:
    return TokenRange(low=item.min, high=item.max)


def _node_groups(spec: FleetSpec) -> dict[str, NodeGroup]:
    if spec.node_groups:
        return {
            group.name: NodeGroup(name=group.name, gpu_class=group.gpu_class, gpus=group.gpus)
            for group in spec.node_groups
        }
    gpu_class = next(iter(spec.budget.gpu_classes), _IMPLICIT_GPU_CLASS)
    return {
        _IMPLICIT_GROUP: NodeGroup(name=_IMPLICIT_GROUP, gpu_class=gpu_class, gpus=spec.budget.gpus)
    }


def _pool(
    pool: PoolDocument, *, group: NodeGroup, profile: EngineProfile, budget_gpus: int
) -> PoolSpec:
    floor = pool.min_replicas if pool.floor_replicas is None else pool.floor_replicas
    guarantee = floor if pool.guarantee_replicas is None else pool.guarantee_replicas
    return PoolSpec(
        id=PoolId(pool.name),
        role=pool.role,
        model=ModelName(pool.model),
        gpus_per_replica=pool.gpus_per_replica,
        node_group=group.name,
        gpu_class=group.gpu_class,
        min_replicas=pool.min_replicas,
        max_replicas=_max_replicas(pool, holdable_gpus=min(budget_gpus, group.gpus)),
        floor_replicas=floor,
        guarantee_replicas=guarantee,
        weight=pool.weight,
        start_up_s=pool.start_up_s,
        profile=profile,
        context_limit_tokens=pool.context_limit_tokens or min(profile.kv_tokens, _LONGEST_CONTEXT),
        dialect=pool.dialect,
        borrow_replicas=pool.borrow_replicas,
        lend_replicas=pool.lend_replicas,
    )


def _max_replicas(pool: PoolDocument, *, holdable_gpus: int) -> int:
    if isinstance(pool.scaling, NoScaling):
        return pool.min_replicas
    if pool.max_replicas is not None:
        return pool.max_replicas
    return max(pool.min_replicas, holdable_gpus // pool.gpus_per_replica)
