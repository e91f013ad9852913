"""A decision as the service tells it to whoever keeps record of decisions."""

from collections.abc import Mapping
from dataclasses import dataclass

from globalplanner.core.snapshot import Decision, Snapshot
from weir.domain.decision import Outcome
from weir.domain.ids import PoolId

__all__ = ["Decided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A decision that has changed replicas or the plan, or would have, had it been let.

    `number` counts those of the term from 1; `id` is "TERM.NUMBER". `at_s`: model time.
    `before`, `after`: replicas aimed for, of every pool; `decision.replicas` are what it came to.
    `charged_gpus`: of all pools, when it was made. `plan_version`: None if there is no plan.
    """

    number: int
    id: str
    term: int
    at_s: float
    at_unix_s: float
    snapshot: Snapshot
    decision: Decision
    before: Mapping[PoolId, int]
    after: Mapping[PoolId, int]
    outcome: Outcome
    charged_gpus: int
    budget_gpus: int
    plan_version: int | None
