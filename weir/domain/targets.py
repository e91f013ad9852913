"""What a pool is sized by: its SLOs, or thresholds of how full its engines are.

With `sla` the GlobalPlanner sizes it by what is offered and what a replica can do. With the others
the pool's own planner does, by thresholds of one engine's load, and asks for so many replicas.
"""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Target", "Thresholds"]


class Target(StrEnum):
    THROUGHPUT = "throughput"
    """Engines are kept full: more replicas only once there is more than they hold."""

    LATENCY = "latency"
    """Engines are kept nearly free of queues."""

    LOAD = "load"
    """As the thresholds in the document say."""

    SLA = "sla"
    """Requests meet the SLOs of their classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """More replicas when an engine is above `up`, fewer when all are below `down`.

    Of a prefill pool both are prompt tokens queued at one engine; of others the share of what one
    engine holds that it is asked to hold, above 1 with what is queued. `up_included`: whether the
    bound itself is above; likewise `down_included` below.

    Raises `ValueError` if they overlap: some load would be above and below.
    """

    target: Target
    up: float
    down: float
    up_included: bool = True
    down_included: bool = True

    def __post_init__(self) -> None:
        if self.target is Target.SLA:
            raise ValueError("sla has no thresholds")
        if self.down < 0.0 or self.up <= self.down:
            raise ValueError(f"must fall: up {self.up:g}, down {self.down:g}")

    def above(self, load: float) -> bool:
        return load >= self.up if self.up_included else load > self.up

    def below(self, load: float) -> bool:
        return load <= self.down if self.down_included else load < self.down
