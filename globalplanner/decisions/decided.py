"""A decision as the service tells of it, and what is kept of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from globalplanner.core.arbiter.snapshot import Decision, Rules, Snapshot
from globalplanner.core.digest import digest_of
from weir.domain.decision import Alternative, DecisionRecord, Outcome, PoolChange
from weir.domain.ids import PoolId

__all__ = ["Decided", "record_of", "weighed_in"]


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


def record_of(decided: Decided, rules: Rules) -> DecisionRecord:
    """What is kept of a decision. Of one that waits or is advice, what it says."""
    decision = decided.decision
    idle = decided.outcome in (Outcome.PROPOSED, Outcome.ADVISED)
    weighed = not decision.holding
    return DecisionRecord(
        id=decided.id,
        term=decided.term,
        at_unix_s=decided.at_unix_s,
        at_s=decided.at_s,
        inputs_digest=digest_of(decided.snapshot, rules),
        outcome=decided.outcome,
        pools=tuple(
            PoolChange(
                pool_id=id,
                before=decided.before.get(id, 0),
                after=decision.replicas.get(id, after) if idle else after,
                reason=decision.reasons.get(id, ""),
            )
            for id, after in sorted(decided.after.items())
        ),
        class_reasons=dict(decision.class_reasons),
        alternatives=weighed_in(decision),
        value=decision.value if weighed else None,
        full_value=decision.full_value if weighed else None,
        price_by_limit=dict(decision.prices),
        budget_gpus=decided.budget_gpus,
        charged_gpus=decided.charged_gpus,
        plan_version=decided.plan_version,
        holding=decision.holding,
    )


def weighed_in(decision: Decision) -> tuple[Alternative, ...]:
    """What was weighed and not done, as it is kept."""
    return tuple(
        Alternative(what=other.words, value=other.value, why_not=other.why_not)
        for other in decision.alternatives
    )
