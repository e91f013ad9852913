"""Its targets `throughput` and `latency`: fixed thresholds, a replica more or less at a time.

Prefill goes by the prompt tokens queued at an engine over its context length; decode and
aggregated engines by the KV of scheduled and queued calls over the most the engine can hold.
Up when any engine is above, down when all are below and those that stay would not be above.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from weir.domain.fleet import Role

__all__ = ["Target", "Thresholds", "step", "thresholds_of"]


class Target(StrEnum):
    THROUGHPUT = "throughput"
    LATENCY = "latency"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Shares. `up_at`: whether the bound itself counts as above; likewise `down_at`."""

    up: float
    down: float
    up_at: bool = False
    down_at: bool = False

    def above(self, load: float) -> bool:
        return load >= self.up if self.up_at else load > self.up

    def below(self, load: float) -> bool:
        return load <= self.down if self.down_at else load < self.down


_PREFILL = {
    Target.THROUGHPUT: Thresholds(up=1.0, down=0.1, up_at=True),
    Target.LATENCY: Thresholds(up=0.1, down=0.0, up_at=True, down_at=True),
}
_DECODE = {
    Target.THROUGHPUT: Thresholds(up=1.0, down=0.6),
    Target.LATENCY: Thresholds(up=0.4, down=0.1),
}


def thresholds_of(target: Target, role: Role) -> Thresholds:
    return (_PREFILL if role is Role.PREFILL else _DECODE)[target]


def step(loads: Sequence[float], thresholds: Thresholds, least: int = 1) -> int:
    """Replicas wanted of a pool whose engines, all of them ready, have these loads."""
    count = len(loads)
    if any(thresholds.above(load) for load in loads):
        return count + 1
    if count <= max(1, least) or not all(thresholds.below(load) for load in loads):
        return count
    projected = max(loads) * count / (count - 1)
    return count if thresholds.above(projected) else count - 1
