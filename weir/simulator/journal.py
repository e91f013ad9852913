"""What happened that a person may want to see afterwards: steps, decisions, violations."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from weir.domain.ids import PoolId

__all__ = ["Journal", "Step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A pool's wanted replicas were changed."""

    at_s: float
    pool_id: PoolId
    before: int
    after: int
    reason: str


class Journal:
    """Steps are kept; every event, steps included, goes to `sink` as it happens."""

    def __init__(self, sink: Callable[[dict[str, Any]], None] | None = None) -> None:
        self.steps: list[Step] = []
        self.on_step: list[Callable[[Step], None]] = []
        self._sink = sink

    @property
    def wanted(self) -> bool:
        """Whether somebody reads single events; it costs to tell them."""
        return self._sink is not None

    def step(self, step: Step) -> None:
        self.steps.append(step)
        for hear in self.on_step:
            hear(step)
        self.note(
            step.at_s,
            "step",
            pool=step.pool_id,
            before=step.before,
            after=step.after,
            reason=step.reason,
        )

    def note(self, at_s: float, event: str, **fields: Any) -> None:
        if self._sink is not None:
            self._sink({"at_s": round(at_s, 6), "event": event, **fields})
