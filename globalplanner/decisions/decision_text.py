"""Decisions, as text for people. Of what is kept alone: it also tells of those in a file."""

import re
from collections.abc import Iterable, Mapping, Sequence

from globalplanner.core.budget.limits import limits_watts
from globalplanner.decisions import wording
from globalplanner.decisions.history import LastChange
from weir.domain.decision import Alternative, DecisionRecord, Outcome, PoolChange
from weir.text import table

__all__ = [
    "alternatives",
    "changed",
    "decision_lines",
    "last_change",
    "prices",
    "recent_lines",
]

_SHOWN = 20

_OUTCOMES = {
    Outcome.ACTED: "acted on",
    Outcome.APPROVED: "approved, and acted on",
    Outcome.PROPOSED: "proposed, waits for approval",
    Outcome.ADVISED: "advice, not acted on",
}


def decision_lines(record: DecisionRecord, now_unix_s: float) -> list[str]:
    """All of it."""
    moved = changed(record)
    told = [
        f"decision {record.id}: {_OUTCOMES[record.outcome]}",
        wording.line("when", wording.when(record.at_unix_s, now_unix_s)),
        wording.line("GPUs", f"{record.charged_gpus} of {record.budget_gpus} charged"),
        *_worth(record),
        *wording.lines("changed", [_change(each) for each in moved]),
    ]
    same = [f"{p.pool_id} {p.after}" for p in record.pools if p.before == p.after]
    if same:
        told.append(wording.line("unchanged", wording.some(same)))
    told += wording.lines(
        "classes", [f"{name}: {why}" for name, why in sorted(record.class_reasons.items())]
    )
    told += wording.lines("not done", alternatives(record.alternatives))
    told += wording.lines("prices", prices(record.price_by_limit))
    if record.plan_version is not None:
        told.append(wording.line("routing", f"plan {record.term}.{record.plan_version}"))
    return [*told, wording.line("inputs", f"SHA-256 {record.inputs_digest}")]


def recent_lines(records: Iterable[DecisionRecord], now_unix_s: float) -> list[str]:
    """One line each, in the order given."""
    rows = [
        (
            record.id,
            wording.when(record.at_unix_s, now_unix_s),
            str(record.outcome),
            wording.some([_step(each) for each in changed(record)], 4) or "the routing plan",
        )
        for record in records
    ]
    if not rows:
        return ["nothing has been decided yet"]
    return table(("decision", "when", "outcome", "what"), rows)


def changed(record: DecisionRecord) -> Sequence[PoolChange]:
    return [pool for pool in record.pools if pool.before != pool.after]


def last_change(last: LastChange | None, now_unix_s: float) -> str:
    if last is None:
        return "no change of its replicas is on record"
    change = last.change
    return (
        f"{change.before} -> {change.after} in decision {last.decision_id}, "
        f"{_OUTCOMES[last.outcome]}, {wording.when(last.at_unix_s, now_unix_s)}"
    )


def alternatives(weighed: Iterable[Alternative], about: str = "") -> list[str]:
    """Those that name `about`, or all."""
    told = [
        f"{other.what}, which would add {wording.rps(other.value)}: {other.why_not}"
        for other in weighed
    ]
    named = re.compile(rf"(?<![\w-]){re.escape(about)}(?![\w-])" if about else "")
    return [text for text in told if named.search(text)][:_SHOWN]


def prices(price_by_limit: Mapping[str, float]) -> list[str]:
    """Where one more GPU, or watt, would be of use."""
    return [
        f"one more {'watt' if limits_watts(limit) else 'GPU'} under {limit} "
        f"would add {wording.rps(price)}"
        for limit, price in sorted(price_by_limit.items())
        if price > 0.0
    ]


def _worth(record: DecisionRecord) -> list[str]:
    if record.value is None:
        why = record.holding or "unknown"
        return [wording.line("worth", f"demand was not weighed: {why}")]
    if record.full_value is None or record.full_value <= 0.0:
        return [wording.line("worth", f"{wording.rps(record.value)} within SLO, weighted")]
    share = record.value / record.full_value
    return [
        wording.line(
            "worth",
            f"{wording.rps(record.value)} within SLO, weighted; {wording.percent(share)} of "
            f"{wording.rps(record.full_value)} that could be served",
        )
    ]


def _change(change: PoolChange) -> str:
    """The reason usually begins with the change itself."""
    step = f"{change.before} -> {change.after}"
    why = change.reason if change.reason.startswith(step) else f"{step}: {change.reason}"
    return f"{change.pool_id} {why}"


def _step(change: PoolChange) -> str:
    return f"{change.pool_id} {change.before} -> {change.after}"
