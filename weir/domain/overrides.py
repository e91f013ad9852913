"""What operators have changed while the fleet runs, on top of its document."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from weir.domain.fleet import RequestClass
from weir.domain.ids import ClassName, PoolId

__all__ = ["ClassTargets", "Overrides", "effective_classes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassTargets:
    """What a class is to meet and what it is worth; None: as in the document."""

    ttft_s: float | None = None
    itl_s: float | None = None
    weight: float | None = None
    priority: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """`gpus_by_class`: limits of GPU classes. `frozen`, `drained`: why, by pool."""

    budget_gpus: int | None = None
    gpus_by_class: Mapping[str, int] = field(default_factory=dict)
    targets: Mapping[ClassName, ClassTargets] = field(default_factory=dict)
    frozen: Mapping[PoolId, str] = field(default_factory=dict)
    drained: Mapping[PoolId, str] = field(default_factory=dict)


def effective_classes(
    classes: Iterable[RequestClass], targets: Mapping[ClassName, ClassTargets]
) -> tuple[RequestClass, ...]:
    """The document's `classes` with what `targets` say of them. Names of no class are ignored."""
    return tuple(_effective(c, targets[c.name]) if c.name in targets else c for c in classes)


def _effective(request_class: RequestClass, targets: ClassTargets) -> RequestClass:
    slo = request_class.slo
    return replace(
        request_class,
        slo=replace(
            slo,
            ttft_s=slo.ttft_s if targets.ttft_s is None else targets.ttft_s,
            itl_s=slo.itl_s if targets.itl_s is None else targets.itl_s,
        ),
        weight=request_class.weight if targets.weight is None else targets.weight,
        priority=request_class.priority if targets.priority is None else targets.priority,
    )
