"""Metrics of the GlobalPlanner, in a registry of their own."""

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from globalplanner.core.budget.denied import Denial, denials
from globalplanner.core.budget.ledger import Ledger
from globalplanner.core.dynamo.scale_request import ScaleStatus
from globalplanner.standing import Standing
from weir.domain.decision import Outcome
from weir.domain.ids import ClassName, PoolId

__all__ = ["Metrics", "Write"]

_DIRECTIONS = ("up", "down")
_REFUSALS = ("invalid", "unknown_pool", "not_leading", "unauthenticated", "forbidden")
_SINKS = ("record", "file", "stream")


class Write(StrEnum):
    """What became of a write of the record."""

    WRITTEN = "written"
    FAILED = "failed"
    """Or not heard of: it may have happened."""

    LOST = "lost"
    """Another process has written first."""


class Metrics:
    def __init__(self, pools: Iterable[PoolId]) -> None:
        self.registry = CollectorRegistry()
        self._budget = self._gauge("budget_gpus", "GPUs that all pools together may hold.")
        self._charged = self._gauge(
            "charged_gpus",
            "GPUs granted to the pool or seen in its use, whichever is larger.",
            "pool",
        )
        self._granted = self._gauge("granted_replicas", "Replicas of the newest grant.", "pool")
        self._wanted = self._gauge(
            "wanted_replicas", "Replicas decided on, granted or not yet.", "pool"
        )
        self._age = self._gauge(
            "report_age_seconds", "Wall seconds since the pool's last report; NaN: none.", "pool"
        )
        self._leading = self._gauge("leading", "1 if this process leads, else 0.")
        self._term = self._gauge("term", "Number of this leader; 0 if it does not lead.")
        self._holding = self._gauge("holding", "1 while nothing is decided for want of knowledge.")
        self._decisions = self._counter(
            "decisions_total", "Changes of a pool's replicas.", "pool", "direction"
        )
        self._violations = self._counter(
            "budget_violations_total", "How often charges went above a limit."
        )
        self._telemetry_errors = self._counter(
            "telemetry_errors_total", "Traffic samples that could not be read."
        )
        self._refused = self._counter(
            "refused_reports_total", "Reports not taken in, by reason.", "reason"
        )
        self._strange = self._counter(
            "strange_classes_total", "Classes in reports that the document does not have."
        )
        self._scale_requests = self._counter(
            "scale_requests_total", "Scale requests of Dynamo planners, by answer.", "status"
        )
        self._seconds = Histogram(
            "weir_globalplanner_decision_seconds",
            "CPU seconds that a decision took.",
            buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.2, 1.0),
            registry=self.registry,
        )
        self._limit = self._gauge("limit_gpus", "GPUs that a limit holds.", "limit")
        self._limit_charged = self._gauge(
            "limit_charged_gpus", "GPUs charged under a limit.", "limit"
        )
        self._price = self._gauge(
            "gpu_price_rps",
            "Weighted requests/s within SLO that one more GPU under a limit would add.",
            "limit",
        )
        self._watts = self._gauge("limit_watts", "Watts that a limit holds.", "limit")
        self._watts_charged = self._gauge(
            "limit_charged_watts", "Watts charged under a limit.", "limit"
        )
        self._watt_price = self._gauge(
            "watt_price_rps",
            "Weighted requests/s within SLO that one more watt under a limit would add.",
            "limit",
        )
        self._infeasible = self._gauge(
            "infeasible_class",
            "1 for a class that is offered and that no pools can serve within SLO.",
            "class",
        )
        self._granted_gpus = self._gauge("granted_gpus", "GPUs of the newest grant.", "pool")
        self._pending = self._gauge(
            "pending_gpus", "GPUs decided on that are not granted yet.", "pool"
        )
        self._denials = self._counter(
            "denied_total", "How often growth began to be denied, by what for.", "reason"
        )
        self._outcomes = self._counter(
            "outcomes_total", "Decisions that changed something, by what became of them.", "outcome"
        )
        self._writes = self._counter("record_writes_total", "Writes of the record.", "outcome")
        self._write_seconds = Histogram(
            "weir_globalplanner_record_write_seconds",
            "Wall seconds until a write of the record was confirmed.",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0),
            registry=self.registry,
        )
        self._log_written = self._counter("log_written_total", "Decisions logged.", "sink")
        self._log_failed = self._counter(
            "log_failures_total", "Attempts to log a decision that failed.", "sink"
        )
        self._log_dropped = self._counter(
            "log_dropped_total", "Decisions that are missing in the log.", "sink"
        )
        self._document = self._gauge(
            "document_usable", "1 if the Fleet document can be used as it is now, else 0."
        )
        self._document.set(1)
        self._counted_violations = 0
        self._denied: frozenset[tuple[str, Denial]] = frozenset()
        self._shown: dict[Gauge, dict[str, Gauge]] = {}
        self._start(pools)

    def _start(self, pools: Iterable[PoolId]) -> None:
        """Counters exist from the start: their first step is to be seen."""
        for counter, values in (
            (self._refused, _REFUSALS),
            (self._scale_requests, tuple(ScaleStatus)),
            (self._denials, tuple(Denial)),
            (self._outcomes, tuple(Outcome)),
            (self._writes, tuple(Write)),
            (self._log_written, _SINKS[1:]),
            (self._log_failed, _SINKS[1:]),
            (self._log_dropped, _SINKS),
        ):
            for value in values:
                counter.labels(value)
        pools = tuple(pools)
        self._set(self._age, dict.fromkeys(pools, math.nan))
        for pool_id in pools:
            for direction in _DIRECTIONS:
                self._decisions.labels(pool_id, direction)

    def document(self, *, usable: bool) -> None:
        """The file as it is now; while it is not, the last good one counts."""
        self._document.set(usable)

    def leads(self, term: int) -> None:
        """`term` is 0 when this process does not lead (any more)."""
        self._leading.set(term > 0)
        self._term.set(term)
        if term == 0:  # what it knew is no longer so, and somebody else shows it
            for gauge in self._shown:
                self._set(gauge, {})

    def decided(self, cpu_s: float, *, holding: bool) -> None:
        self._seconds.observe(cpu_s)
        self._holding.set(holding)

    def changed(self, pool_id: PoolId, *, up: bool) -> None:
        self._decisions.labels(pool_id, _DIRECTIONS[not up]).inc()

    def refused(self, reason: str) -> None:
        """A report; `reason` is one of `_REFUSALS`."""
        self._refused.labels(reason).inc()

    def scale_request(self, status: ScaleStatus) -> None:
        """One has been answered."""
        self._scale_requests.labels(status).inc()

    def infeasible(self, classes: Iterable[ClassName]) -> None:
        """From now on these are."""
        self._set(self._infeasible, dict.fromkeys(classes, 1.0))

    def strange_classes(self, count: int) -> None:
        """Classes of one report that were left out."""
        self._strange.inc(count)

    def unreadable_sample(self) -> None:
        self._telemetry_errors.inc()

    def noted(self, outcome: Outcome) -> None:
        """A decision that has changed something, or would have."""
        self._outcomes.labels(outcome).inc()

    def wrote(self, outcome: Write, wall_s: float) -> None:
        """A write of the record has ended after so long."""
        self._writes.labels(outcome).inc()
        if outcome is Write.WRITTEN:
            self._write_seconds.observe(wall_s)

    def log_written(self, sink: str) -> None:
        """A sink of the decision log: "file" or "stream"."""
        self._log_written.labels(sink).inc()

    def log_failed(self, sink: str) -> None:
        self._log_failed.labels(sink).inc()

    def log_dropped(self, sink: str, decisions: int = 1) -> None:
        """As above, or "record" for one that has not even become a record."""
        self._log_dropped.labels(sink).inc(decisions)

    def show_gpus(
        self, ledger: Ledger, wanted: Mapping[PoolId, int], prices: Mapping[str, float]
    ) -> None:
        """Who has what, who waits, and what for.

        `wanted`, `prices`: what the last decision came to, and its prices by limit.
        """
        accounts, limits = ledger.accounts, ledger.limits
        charged = {id: a.charged * a.spec.gpus_per_replica for id, a in accounts.items()}
        for watts, most, used, price in (
            (False, self._limit, self._limit_charged, self._price),
            (True, self._watts, self._watts_charged, self._watt_price),
        ):
            those = [limit for limit in limits if bool(limit.watts) is watts]
            self._set(most, {limit.name: limit.most for limit in those})
            self._set(used, {limit.name: limit.used(charged) for limit in those})
            self._set(price, {limit.name: prices.get(limit.name, 0.0) for limit in those})
        self._set(
            self._granted_gpus,
            {id: a.granted * a.spec.gpus_per_replica for id, a in accounts.items()},
        )
        self._set(
            self._pending,
            {
                id: max(0, a.target - a.granted) * a.spec.gpus_per_replica
                for id, a in accounts.items()
            },
        )
        denied = denials(accounts, limits, wanted, prices)
        for _, reason in denied - self._denied:
            self._denials.labels(reason).inc()
        self._denied = denied

    def _set(self, gauge: Gauge, values: Mapping[str, float]) -> None:
        """One value for each label; labels that are there no more go."""
        shown = self._shown.setdefault(gauge, {})
        for label in shown.keys() - values.keys():
            gauge.remove(label)
            del shown[label]
        for label, value in values.items():
            if label not in shown:
                shown[label] = gauge.labels(label)
            shown[label].set(value)

    def show(self, standing: Standing) -> None:
        """Everything that is counted elsewhere."""
        self._budget.set(standing.budget_gpus)
        self._violations.inc(standing.violations - self._counted_violations)
        self._counted_violations = standing.violations
        pools = standing.pools
        ages = {p.pool_id: p.report_age_s for p in pools}
        self._set(self._charged, {p.pool_id: p.charged_gpus for p in pools})
        self._set(self._granted, {p.pool_id: p.granted for p in pools})
        self._set(self._wanted, {p.pool_id: p.wanted for p in pools})
        self._set(self._age, {id: math.nan if age is None else age for id, age in ages.items()})

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"weir_globalplanner_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"weir_globalplanner_{name}", text, labels, registry=self.registry)
