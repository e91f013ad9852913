"""What operators have changed while the fleet runs, on top of its document."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from weir.domain.ids import ClassName, PoolId

__all__ = ["ClassTargets", "Overrides"]


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
