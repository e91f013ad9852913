"""Metrics of the GlobalPlanner, in a registry of their own."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from globalplanner.standing import Standing
from weir.domain.ids import PoolId

__all__ = ["Metrics"]

_DIRECTIONS = ("up", "down")
_REFUSALS = ("invalid", "unknown_pool", "not_leading")


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
        self._seconds = Histogram(
            "weir_globalplanner_decision_seconds",
            "CPU seconds that a decision took.",
            buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.2, 1.0),
            registry=self.registry,
        )
        self._counted_violations = 0
        for reason in _REFUSALS:
            self._refused.labels(reason)
        for pool_id in pools:
            self._age.labels(pool_id).set(float("nan"))
            for direction in _DIRECTIONS:
                self._decisions.labels(pool_id, direction)

    def leads(self, term: int) -> None:
        """`term` is 0 when this process does not lead (any more)."""
        self._leading.set(term > 0)
        self._term.set(term)

    def decided(self, cpu_s: float, *, holding: bool) -> None:
        self._seconds.observe(cpu_s)
        self._holding.set(holding)

    def changed(self, pool_id: PoolId, *, up: bool) -> None:
        self._decisions.labels(pool_id, _DIRECTIONS[not up]).inc()

    def refused(self, reason: str) -> None:
        """A report: "invalid", "unknown_pool" or "not_leading"."""
        self._refused.labels(reason).inc()

    def unreadable_sample(self) -> None:
        self._telemetry_errors.inc()

    def show(self, standing: Standing) -> None:
        """Everything that is counted elsewhere."""
        self._budget.set(standing.budget_gpus)
        self._violations.inc(standing.violations - self._counted_violations)
        self._counted_violations = standing.violations
        for pool in standing.pools:
            age_s = pool.report_age_s
            self._charged.labels(pool.pool_id).set(pool.charged_gpus)
            self._granted.labels(pool.pool_id).set(pool.granted)
            self._wanted.labels(pool.pool_id).set(pool.wanted)
            self._age.labels(pool.pool_id).set(float("nan") if age_s is None else age_s)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"weir_globalplanner_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"weir_globalplanner_{name}", text, labels, registry=self.registry)
