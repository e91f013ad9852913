"""B1 to B7, looked at after every event.

Each rule is a small watcher. What can only break when replicas or grants change is looked at
when they do, as is what can only break when a call comes, goes or ends; the rest is told to the
rules where it happens. That constant demand leads to a fixed point (B4) is no matter of an
instant; a test sees to it.
"""

from typing import TYPE_CHECKING

from weir.domain.fleet import PoolSpec
from weir.simulator.invariants.budget import BudgetRule
from weir.simulator.invariants.calls import CallRule
from weir.simulator.invariants.decisions import DecisionRule
from weir.simulator.invariants.drains import DrainRule
from weir.simulator.invariants.failover import FailoverRule
from weir.simulator.invariants.grants import GrantRule
from weir.simulator.invariants.log import ViolationLog

if TYPE_CHECKING:
    from weir.simulator.world import World

__all__ = ["Invariants"]

_SETTLE_S = 1.0


class Invariants:
    """`calls_changed` is set by whoever takes in, passes on or ends a call."""

    def __init__(self, world: "World") -> None:
        self._log = ViolationLog(lambda: world.now_s)
        self.calm_from_s = world.scenario.start_s
        """Faults are over by then."""
        self.calls_changed = False
        self.budget = BudgetRule(world, self._log)
        self.calls = CallRule(world, self._log)
        self.drains = DrainRule(world, self._log, settle_s=_SETTLE_S)
        self.decisions = DecisionRule(world, self._log)
        self.grants = GrantRule(world, self._log)
        self.failover = FailoverRule(world, self._log)

    @property
    def violations(self) -> list[str]:
        """The first of them."""
        return self._log.texts

    @property
    def count(self) -> int:
        return self._log.count

    def found(self, rule: str, text: str) -> None:
        """A rule is broken now."""
        self._log.found(rule, text)

    def check(self) -> None:
        """After every event."""
        if self.calls_changed:
            self.calls_changed = False
            self.calls.look()
        if self.budget.dirty:
            self.budget.look()

    def finish(self) -> None:
        """The run is over."""
        self.check()
        self.calls.finish()
        self.decisions.finish(self.calm_from_s)

    def edited(self, spec: PoolSpec, replicas: int) -> None:
        """Somebody has started replicas by hand."""
        self.budget.edited(spec, replicas)
