"""From what the replay saw of each request to attainment, percentiles and goodput.

A feasible request meets its SLO when it completed, its first token came within the class's
TTFT and (end - first token) / (OSL - 1) is within the class's ITL. A request that failed, was
shed or did not end in the time given to it misses. What the user's own stop has cut off says
nothing about the fleet and is left out of attainment.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from weir.domain.classify import OfTenant, classify
from weir.domain.fleet import RequestClass, Slo

__all__ = [
    "SPAN_S",
    "ClassScore",
    "Outcome",
    "Percentiles",
    "RequestRecord",
    "Score",
    "meets",
    "score",
]

SPAN_S = 60.0
"""Length of one entry of the timeline."""


class Outcome(StrEnum):
    COMPLETED = "completed"
    FAILED = "failed"
    SHED = "shed"
    CANCELLED = "cancelled"
    STOPPED = "stopped"
    """Cancelled, because the user stopped the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One request as its client saw it. Times are model seconds; lengths are the true ones.

    `first_token_s` and `end_s` count from when the request was sent.
    """

    isl_tokens: int
    osl_tokens: int
    outcome: Outcome
    tenant: str = ""
    arrival_s: float = 0.0
    """Time on the trace."""
    first_token_s: float | None = None
    end_s: float | None = None

    @property
    def itl_s(self) -> float | None:
        """Mean gap between output tokens; None without two tokens."""
        if self.first_token_s is None or self.end_s is None or self.osl_tokens < 2:
            return None
        return (self.end_s - self.first_token_s) / (self.osl_tokens - 1)


@dataclass(slots=True)
class ClassScore:
    requests: int = 0
    infeasible: int = 0
    judged: int = 0
    met: int = 0

    @property
    def attainment(self) -> float | None:
        return self.met / self.judged if self.judged else None


@dataclass(frozen=True, slots=True)
class Score:
    """Percentiles are of completed requests, in model seconds; None when there are none."""

    outcomes: Mapping[Outcome, int]
    total: ClassScore
    classes: Mapping[str, ClassScore]
    spans: Mapping[int, ClassScore]
    """By number of the `SPAN_S` of the trace in which the request arrived, ascending."""
    ttft_s: "Percentiles"
    itl_s: "Percentiles"

    @property
    def cancelled(self) -> int:
        return self.outcomes.get(Outcome.CANCELLED, 0) + self.outcomes.get(Outcome.STOPPED, 0)


@dataclass(frozen=True, slots=True)
class Percentiles:
    p50: float | None = None
    p99: float | None = None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Percentiles":
        if not values:
            return cls()
        p50, p99 = np.percentile(values, (50, 99))
        return cls(float(p50), float(p99))


@dataclass(slots=True)
class _Tally:
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    total: ClassScore = field(default_factory=ClassScore)
    classes: dict[str, ClassScore] = field(default_factory=dict)
    spans: dict[int, ClassScore] = field(default_factory=dict)


def score(
    records: Iterable[RequestRecord],
    classes: Sequence[RequestClass],
    idle_ttft_s: Callable[[int, int], float | None],
) -> Score:
    """Judge every record by its class's SLO; every class is in the result.

    `idle_ttft_s(isl_tokens, osl_tokens)`: the TTFT of an idle fleet, None if no pool takes
    such a request at all.
    """
    kept = list(records)
    tally = _Tally(classes={str(c.name): ClassScore() for c in classes})
    for record in kept:
        stated = OfTenant(record.tenant)
        request_class = classify(classes, record.isl_tokens, record.osl_tokens, stated)
        best_s = idle_ttft_s(record.isl_tokens, record.osl_tokens)
        possible = best_s is not None and best_s <= request_class.slo.ttft_s
        _count(tally, record, request_class, possible)
    completed = [record for record in kept if record.outcome is Outcome.COMPLETED]
    return Score(
        outcomes=tally.outcomes,
        total=tally.total,
        classes=tally.classes,
        spans=dict(sorted(tally.spans.items())),
        ttft_s=Percentiles.of([r.first_token_s for r in completed if r.first_token_s is not None]),
        itl_s=Percentiles.of([r.itl_s for r in completed if r.itl_s is not None]),
    )


def _count(
    tally: _Tally, record: RequestRecord, request_class: RequestClass, possible: bool
) -> None:
    judged = possible and record.outcome is not Outcome.STOPPED
    met = judged and meets(record, request_class.slo)
    tally.outcomes[record.outcome] += 1
    span = tally.spans.setdefault(int(record.arrival_s // SPAN_S), ClassScore())
    for counts in (tally.total, tally.classes[request_class.name], span):
        counts.requests += 1
        counts.infeasible += not possible
        counts.judged += judged
        counts.met += met


def meets(record: RequestRecord, slo: Slo) -> bool:
    """Whether a request completed within both targets."""
    if record.outcome is not Outcome.COMPLETED or record.first_token_s is None:
        return False
    itl_s = record.itl_s
    return record.first_token_s <= slo.ttft_s and (itl_s is None or itl_s <= slo.itl_s)
