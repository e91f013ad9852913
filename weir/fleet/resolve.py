"""Document -> domain: defaults that depend on other fields are filled in here, units converted.

Names must have been checked (`references`); numbers are checked on the result (`checks`).
"""

from math import inf

from weir.domain.dynamo import DynamoDeployment, DynamoRules
from weir.domain.fleet import (
    Budget,
    Fleet,
    KvEvents,
    Model,
    NodeGroup,
    PoolSpec,
    RequestClass,
    Rule,
    Slo,
    Span,
    TokenRange,
)
from weir.domain.ids import ClassName, ModelName, PoolId
from weir.domain.profile import EngineProfile, profile_from_mapping
from weir.fleet.document import (
    BudgetSpec,
    ClassSpec,
    Document,
    DynamoDeploymentSpec,
    FleetSpec,
    KvEventsSpec,
    MillisecondsSpec,
    NoScaling,
    OnlySpec,
    PoolDocument,
    PrioritySpec,
    ProfileSpec,
    RangeSpec,
)
from weir.fleet.schedule import window_of
from weir.fleet.targets import thresholds_of

__all__ = ["DEFAULT_CLASS", "fleet_of", "profile_of", "request_class_of"]

DEFAULT_CLASS = ClassSpec(name="default", ttft_ms=5000.0, itl_ms=100.0)
"""The class of a fleet that declares none: every request, first token in 5 s, 10 tokens/s."""

_LONGEST_CONTEXT = 10_000_000
_IMPLICIT_GROUP = "default"
_IMPLICIT_GPU_CLASS = "gpu"
_IMPLICIT_K8S_NAMESPACE = "default"


def fleet_of(document: Document) -> Fleet:
    """The domain fleet. Raises `KeyError` or `ValueError` if `references` was not heeded."""
    spec = document.spec
    budget = _budget(spec.budget)
    groups = _node_groups(spec, budget)
    profiles = {name: profile_of(profile) for name, profile in spec.profiles.items()}
    return Fleet(
        name=document.metadata.name,
        models=tuple(
            Model(
                name=ModelName(model.name),
                aliases=model.aliases,
                canary=tuple((ModelName(name), share) for name, share in model.canary.items()),
            )
            for model in spec.models
        ),
        classes=tuple(request_class_of(item) for item in spec.classes or (DEFAULT_CLASS,)),
        budget=budget,
        node_groups=tuple(groups.values()),
        pools=tuple(
            _pool(
                pool,
                group=groups[pool.node_group or next(iter(groups))],
                profile=profiles[pool.profile] if pool.profile else EngineProfile(),
                budget=budget.widest,
                k8s_namespace=document.metadata.namespace or _IMPLICIT_K8S_NAMESPACE,
                spec=spec,
            )
            for pool in spec.pools
        ),
        dynamo=DynamoRules(
            min_total_gpus=spec.dynamo.min_total_gpus, intent_ttl_s=spec.dynamo.intent_ttl_s
        ),
    )


def profile_of(profile: ProfileSpec) -> EngineProfile:
    """Raises `ValueError` naming what does not fit together."""
    return profile_from_mapping(profile.model_dump(by_alias=True, exclude={"file"}))


def request_class_of(item: ClassSpec) -> RequestClass:
    """Raises `ValueError` if a range is empty."""
    return RequestClass(
        name=ClassName(item.name),
        isl_tokens=_token_range(item.isl),
        osl_tokens=_token_range(item.osl),
        slo=Slo(
            ttft_s=item.ttft_ms / 1e3,
            itl_s=item.itl_ms / 1e3,
            percentile=item.percentile / 100.0,
            statistic=item.statistic,
        ),
        weight=item.weight,
        priority=item.priority,
        rule=None if item.only is None else _rule(item.only),
        on_request=item.on_request,
        sheds_late=item.priority < 0 if item.on_late is None else item.on_late == "shed",
        queue_requests=item.queue_requests,
        queue_bytes=item.queue_bytes,
    )


def _rule(item: OnlySpec) -> Rule:
    return Rule(
        tenants=None if item.tenants is None else frozenset(item.tenants),
        ttft_s=_span(item.ttft_ms, 1e-3),
        itl_s=_span(item.itl_ms, 1e-3),
        priority=_span(item.priority, 1.0),
    )


def _span(item: MillisecondsSpec | PrioritySpec | None, unit: float) -> Span | None:
    if item is None:
        return None
    return Span(
        low=-inf if item.min is None else item.min * unit,
        high=inf if item.max is None else item.max * unit,
    )


def _token_range(item: RangeSpec) -> TokenRange:
    return TokenRange(low=item.min, high=item.max)


def _budget(item: BudgetSpec) -> Budget:
    return Budget(
        gpus=item.gpus,
        by_gpu_class=dict(item.gpu_classes),
        power_w=item.power_w,
        windows=tuple(window_of(window) for window in item.windows),
    )


def _node_groups(spec: FleetSpec, budget: Budget) -> dict[str, NodeGroup]:
    if spec.node_groups:
        return {
            group.name: NodeGroup(
                name=group.name,
                gpu_class=group.gpu_class,
                gpus=group.gpus,
                foreign_gpus=group.foreign_gpus,
                power_w=group.power_w,
            )
            for group in spec.node_groups
        }
    limited = [spec.budget.gpu_classes, *(w.gpu_classes for w in spec.budget.windows)]
    named = (name for classes in limited for name in classes)
    group = NodeGroup(
        name=_IMPLICIT_GROUP,
        gpu_class=next(named, _IMPLICIT_GPU_CLASS),
        gpus=budget.widest.gpus,
        implied=True,
    )
    return {group.name: group}


def _pool(
    pool: PoolDocument,
    *,
    group: NodeGroup,
    profile: EngineProfile,
    budget: Budget,
    k8s_namespace: str,
    spec: FleetSpec,
) -> PoolSpec:
    floor = pool.min_replicas if pool.floor_replicas is None else pool.floor_replicas
    guarantee = floor if pool.guarantee_replicas is None else pool.guarantee_replicas
    context_limit_tokens = pool.context_limit_tokens or min(profile.kv_tokens, _LONGEST_CONTEXT)
    return PoolSpec(
        id=PoolId(pool.name),
        role=pool.role,
        model=ModelName(pool.model),
        gpus_per_replica=pool.gpus_per_replica,
        node_group=group.name,
        gpu_class=group.gpu_class,
        min_replicas=pool.min_replicas,
        max_replicas=_max_replicas(pool, holdable_gpus=_holdable_gpus(budget, group)),
        floor_replicas=floor,
        guarantee_replicas=guarantee,
        weight=pool.weight,
        start_up_s=pool.start_up_s,
        profile=profile,
        context_limit_tokens=context_limit_tokens,
        dialect=pool.dialect,
        dynamo=_deployment(pool.dynamo, k8s_namespace) if pool.dynamo else None,
        borrow_replicas=pool.borrow_replicas,
        lend_replicas=pool.lend_replicas,
        max_implied=_max_implied(pool),
        thresholds=thresholds_of(spec, pool, context_limit_tokens),
        power_w_per_gpu=pool.power_w_per_gpu,
        scale_to_zero_after_s=pool.scale_to_zero_after_s,
        kv_events=_kv_events(pool.kv_events) if pool.kv_events else None,
    )


def _kv_events(item: KvEventsSpec) -> KvEvents:
    return KvEvents(port=item.port, replay_port=item.replay_port, per_worker=item.per_worker)


def _deployment(item: DynamoDeploymentSpec, fleet_namespace: str) -> DynamoDeployment:
    k8s_namespace = item.k8s_namespace or fleet_namespace
    return DynamoDeployment(
        k8s_namespace=k8s_namespace,
        name=item.deployment,
        caller_namespace=item.caller_namespace or f"{k8s_namespace}-{item.deployment}",
    )


def _max_implied(pool: PoolDocument) -> bool:
    return pool.max_replicas is None and not isinstance(pool.scaling, NoScaling)


def _holdable_gpus(budget: Budget, group: NodeGroup) -> int:
    of_class = budget.by_gpu_class.get(group.gpu_class, budget.gpus)
    return min(budget.gpus, of_class, group.gpus)


def _max_replicas(pool: PoolDocument, *, holdable_gpus: int) -> int:
    if isinstance(pool.scaling, NoScaling):
        return pool.min_replicas
    if pool.max_replicas is not None:
        return pool.max_replicas
    return max(pool.min_replicas, holdable_gpus // pool.gpus_per_replica)
