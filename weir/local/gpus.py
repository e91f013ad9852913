"""Ground truth on GPUs: which are held, for how long, and whether ever more than the budget.

A replica holds its GPUs from the moment it is told to start until its process is gone,
restarts in between included.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from weir.domain.fleet import Budget

__all__ = ["GpuMeter"]

_SECONDS_PER_HOUR = 3600.0


@dataclass(slots=True)
class GpuMeter:
    """Integrates held GPUs over model time. Calls must not go back in time."""

    budget: Budget
    at_s: float
    """Model time up to which is counted; the begin at first."""
    held_by_gpu_class: dict[str, int] = field(default_factory=dict)
    peak_gpus: int = 0
    violations: int = 0
    """How often the held GPUs went from within the budget to above it."""
    _gpu_s: float = 0.0
    _above: bool = False

    @property
    def held_gpus(self) -> int:
        return sum(self.held_by_gpu_class.values())

    def hold(self, gpu_class: str, gpus: int, now_s: float) -> None:
        """Count `gpus` as held from now on; a negative number releases them."""
        self._advance(now_s)
        self.held_by_gpu_class[gpu_class] = self.held_by_gpu_class.get(gpu_class, 0) + gpus
        self.peak_gpus = max(self.peak_gpus, self.held_gpus)
        above = _above(self.budget, self.held_by_gpu_class)
        self.violations += above and not self._above
        self._above = above

    def release(self, gpu_class: str, gpus: int, now_s: float) -> None:
        self.hold(gpu_class, -gpus, now_s)

    def gpu_hours(self, now_s: float) -> float:
        """GPU-hours of model time held until now."""
        self._advance(now_s)
        return self._gpu_s / _SECONDS_PER_HOUR

    def _advance(self, now_s: float) -> None:
        self._gpu_s += self.held_gpus * (now_s - self.at_s)
        self.at_s = now_s


def _above(budget: Budget, held: Mapping[str, int]) -> bool:
    if sum(held.values()) > budget.gpus:
        return True
    return any(held.get(name, 0) > gpus for name, gpus in budget.by_gpu_class.items())
