"""What the edge calls of the process behind it, in domain types."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from globalplanner.access.identity import Identity
from globalplanner.core.budget.ledger import Ledger
from globalplanner.standing import Health, Standing
from weir.domain.decision import Explanation
from weir.domain.fleet import Fleet
from weir.domain.ids import ClassName, PoolId
from weir.domain.overrides import ClassTargets
from weir.domain.planning import Grant, PoolReport, RoutingPlan

__all__ = [
    "Door",
    "Effect",
    "Explainer",
    "Operations",
    "Planner",
    "Store",
    "WhatIf",
    "WhatIfAnswer",
]


class Door(Protocol):
    """Knows callers by what they have proven."""

    def of(self, token: str | None, subjects: Sequence[str]) -> Identity | None: ...


class Planner(Protocol):
    """`GlobalPlanner`, as far as the edge needs it."""

    @property
    def term(self) -> int: ...

    @property
    def ledger(self) -> Ledger | None: ...

    @property
    def fleet(self) -> Fleet: ...

    @property
    def plan(self) -> RoutingPlan | None: ...

    @property
    def targets(self) -> Mapping[ClassName, ClassTargets]: ...

    def not_ready(self) -> str | None: ...

    def report(self, report: PoolReport) -> Grant | None: ...

    def pending(self, pool_id: PoolId) -> bool: ...

    def grant_of(self, pool_id: PoolId) -> Grant | None: ...

    def newest_sequence(self, pool_id: PoolId) -> int: ...

    async def news(self, timeout_s: float) -> None: ...

    def standing(self) -> Standing: ...

    def health(self) -> Health: ...


class Store(Protocol):
    """Whoever writes the record."""

    @property
    def connected(self) -> bool: ...

    def confirmed_age_s(self) -> float | None: ...


class Explainer(Protocol):
    """Raises `UnknownError` if there is nothing of that name."""

    def recent(self) -> Explanation: ...

    def pool(self, pool_id: PoolId, /) -> Explanation: ...

    def of_class(self, name: ClassName, /) -> Explanation: ...

    def decision(self, decision_id: str, /) -> Explanation: ...


class WhatIfAnswer(Protocol):
    """Values in weighted requests/s within SLO."""

    @property
    def value(self) -> float: ...

    @property
    def value_now(self) -> float: ...

    @property
    def full_value(self) -> float: ...

    @property
    def price_by_limit(self) -> Mapping[str, float]: ...

    @property
    def served_now_rps(self) -> Mapping[ClassName, float]: ...

    @property
    def served_rps(self) -> Mapping[ClassName, float]: ...

    @property
    def replicas_by_pool(self) -> Mapping[PoolId, int]: ...

    @property
    def lines(self) -> Sequence[str]: ...


class WhatIf(Protocol):
    async def ask(
        self, more_gpus_by_class: Mapping[str, int], load_factor: float, /
    ) -> WhatIfAnswer: ...


class Effect(Protocol):
    """What a change comes to."""

    @property
    def applied(self) -> bool: ...

    @property
    def lines(self) -> Sequence[str]: ...

    @property
    def value_before(self) -> float: ...

    @property
    def value_after(self) -> float: ...

    @property
    def served_before_rps(self) -> Mapping[ClassName, float]: ...

    @property
    def served_after_rps(self) -> Mapping[ClassName, float]: ...


class Operations(Protocol):
    """What operators change; durable when it returns.

    Raises `ValueError`, `UnknownError`, `InfeasibleFloorsError`, `UnavailableError`.
    """

    async def set_budget(
        self, gpus: int | None, gpus_by_class: Mapping[str, int], *, dry_run: bool
    ) -> Effect: ...

    async def set_slo(
        self, class_name: ClassName, targets: ClassTargets, *, dry_run: bool
    ) -> Effect: ...

    async def freeze(
        self, pool_id: PoolId | None, *, thaw: bool, why: str, dry_run: bool
    ) -> Effect: ...

    async def drain(self, pool_id: PoolId, *, undo: bool, why: str, dry_run: bool) -> Effect: ...

    async def approve(self, proposal_id: str, *, reject: bool) -> Sequence[str]: ...
