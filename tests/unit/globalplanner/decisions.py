"""Decisions and their records, small enough to be checked by hand."""

from typing import Any

from globalplanner.core.arbiter.snapshot import Alternative as Weighed
from globalplanner.core.arbiter.snapshot import Decision, Memory
from globalplanner.decisions.decided import Decided
from tests.unit.globalplanner.fleets import CHAT, pool, snapshot, view
from weir.domain.decision import Alternative, DecisionRecord, Outcome, PoolChange
from weir.domain.ids import PoolId

__all__ = ["A", "B", "decided", "decision", "record"]

A, B = PoolId("a"), PoolId("b")


def decision(**changes: Any) -> Decision:
    """Pool a grows from 1 to 2, b stays at 1; 9 of 12 requests/s are served."""
    fields: dict[str, Any] = {
        "replicas": {A: 2, B: 1},
        "reasons": {A: "1 -> 2: offered 8 rps", B: "1: offered 1 rps"},
        "memory": Memory(),
        "value": 9.0,
        "full_value": 12.0,
        "class_reasons": {CHAT: "9 of 12 rps are served"},
        "alternatives": (Weighed(words="b 1 -> 2", value=1.5, why_not="the budget is used up"),),
        "prices": {"budget": 1.5},
    }
    return Decision(**(fields | changes))


def decided(number: int = 1, *, term: int = 7, **changes: Any) -> Decided:
    made = changes.get("decision", decision())
    fields: dict[str, Any] = {
        "number": number,
        "id": f"{term}.{number}",
        "term": term,
        "at_s": 10.0 * number,
        "at_unix_s": 1_000.0 + number,
        "snapshot": snapshot([view(pool("a")), view(pool("b"))], {"chat": 12.0}, gpus=3),
        "decision": made,
        "before": {A: 1, B: 1},
        "after": dict(made.replicas),
        "outcome": Outcome.ACTED,
        "charged_gpus": 2,
        "budget_gpus": 3,
        "plan_version": 4,
    }
    return Decided(**(fields | changes))


def record(number: int = 1, *, term: int = 7, **changes: Any) -> DecisionRecord:
    fields: dict[str, Any] = {
        "id": f"{term}.{number}",
        "term": term,
        "at_unix_s": 1_000.0 + number,
        "at_s": 10.0 * number,
        "inputs_digest": "ab" * 32,
        "outcome": Outcome.ACTED,
        "pools": (
            PoolChange(pool_id=A, before=1, after=2, reason="1 -> 2: offered 8 rps"),
            PoolChange(pool_id=B, before=1, after=1, reason="1: offered 1 rps"),
        ),
        "class_reasons": {CHAT: "9 of 12 rps are served"},
        "alternatives": (Alternative(what="b 1 -> 2", value=1.5, why_not="the budget is used up"),),
        "value": 9.0,
        "full_value": 12.0,
        "price_by_limit": {"budget": 1.5},
        "budget_gpus": 3,
        "charged_gpus": 2,
        "plan_version": 4,
    }
    return DecisionRecord(**(fields | changes))
