"""Metrics of the GlobalPlanner, in a registry of their own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from globalplanner.core.account import Account
from globalplanner.core.ledger import Ledger

__all__ = ["Metrics"]

_DIRECTIONS = ("up", "down")
_REFUSALS = ("invalid", "unknown_pool", "not_leading", "stale_term")


class Metrics:
    """`weir_globalplanner_*`; labels are the fleet's pools and closed sets."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._budget = self._gauge("budget_gpus", "GPUs that all pools together may hold.")
        self._charged = self._gauge(
            "charged_gpus", "GPUs granted to the pool or seen in its use, the larger.", "pool"
        )
        self._granted = self._gauge("granted_replicas", "Replicas of the newest grant.", "pool")
        self._wanted = self._gauge("wanted_replicas", "Replicas decided on.", "pool")
        self._age = self._gauge(
            "report_age_seconds", "Wall seconds since the pool's last report; NaN: never.", "pool"
        )
        self._term = self._gauge("term", "Term of this leader, 0 if it does not lead.")
        self._leading = self._gauge("leading", "1 if this process leads.")
        self._holding = self._gauge("holding", "1 if the last decision could not weigh demand.")
        self._decisions = Counter(
            "weir_globalplanner_decisions_total",
            "Changes of what a pool should run.",
            ("pool", "direction"),
            registry=self.registry,
        )
        self._refused = Counter(
            "weir_globalplanner_refused_reports_total",
            "Reports not taken in, by reason.",
            ("reason",),
            registry=self.registry,
        )
        self._violations = Counter(
            "weir_globalplanner_budget_violations_total",
            "How often the charges went from within all limits to above one.",
            registry=self.registry,
        )
        self._seconds = Histogram(
            "weir_globalplanner_decision_seconds",
            "CPU seconds of one decision.",
            buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.2, 1.0),
            registry=self.registry,
        )
        self._counted_violations = 0
        for reason in _REFUSALS:
            self._refused.labels(reason)

    def refused(self, reason: str) -> None:
        self._refused.labels(reason).inc()

    def decided(self, pool_id: str, *, before: int, after: int) -> None:
        self._decisions.labels(pool_id, _DIRECTIONS[after < before]).inc()

    def observe(self, ledger: Ledger | None, wall_s: float, *, holding: bool) -> None:
        """Show the ledger as it is; None: this process does not lead."""
        self._leading.set(ledger is not None)
        self._holding.set(holding)
        self._term.set(ledger.term if ledger is not None else 0)
        if ledger is None:
            return
        self._budget.set(ledger.limits[0].gpus)
        for account in ledger.accounts.values():
            self._observe(account, wall_s)
        if ledger.violations > self._counted_violations:
            self._violations.inc(ledger.violations - self._counted_violations)
        self._counted_violations = ledger.violations

    def took(self, cpu_s: float) -> None:
        self._seconds.observe(cpu_s)

    def _observe(self, account: Account, wall_s: float) -> None:
        pool_id = account.spec.id
        self._charged.labels(pool_id).set(account.charged * account.spec.gpus_per_replica)
        self._granted.labels(pool_id).set(account.granted)
        self._wanted.labels(pool_id).set(account.target)
        reported = account.report is not None
        self._age.labels(pool_id).set(wall_s - account.reported_at_s if reported else float("nan"))

    def _gauge(self, name: str, help: str, *labels: str) -> Gauge:
        return Gauge(f"weir_globalplanner_{name}", help, labels, registry=self.registry)
