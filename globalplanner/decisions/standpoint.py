"""What explanations are made from."""

from typing import Protocol

from globalplanner.core.arbiter.snapshot import Decision, Rules, Snapshot
from globalplanner.core.budget.ledger import Ledger
from globalplanner.core.operators.proposals import Gate
from weir.domain.overrides import Overrides
from weir.domain.planning import RoutingPlan

__all__ = ["Standpoint"]


class Standpoint(Protocol):
    """What the GlobalPlanner knows. `latest`: the last decision, whether it changed anything."""

    @property
    def overrides(self) -> Overrides: ...
    @property
    def rules(self) -> Rules: ...
    @property
    def plan(self) -> RoutingPlan | None: ...
    @property
    def ledger(self) -> Ledger | None: ...
    @property
    def latest(self) -> Decision | None: ...
    @property
    def gate(self) -> Gate: ...
    def moment(self) -> Snapshot | None: ...
    def not_ready(self) -> str | None: ...
