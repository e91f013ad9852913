"""Metrics of a pool planner, in a registry of their own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from weir.domain.ids import PoolId
from weir.domain.planning import Grant, PoolReport, PoolState

__all__ = ["ERROR_REASONS", "Metrics"]

ERROR_REASONS = ("actuator", "global_planner", "members", "start", "stop", "telemetry", "internal")
_DECISIONS = ("start", "drain", "keep", "stop")


class Metrics:
    """`weir_poolplanner_*`, all with the label `pool`."""

    def __init__(self, pool_id: PoolId) -> None:
        self.registry = CollectorRegistry()
        self._pool = pool_id
        self._replicas = self._gauge(
            "replicas", "Replicas by state; all of them hold their GPUs.", "state"
        )
        self._granted = self._gauge("granted_replicas", "Replicas of the newest grant.")
        self._epoch = self._gauge("grant_epoch", "Epoch of the newest grant.")
        self._term = self._gauge("grant_term", "Term of the newest grant.")
        self._forecast = self._gauge(
            "forecast_rate_rps", "Forecast arrivals per second when a replica would be ready."
        )
        self._forecast_high = self._gauge(
            "forecast_rate_high_rps", "Upper quantile of the forecast arrivals per second."
        )
        self._capacity = self._gauge(
            "capacity_rps", "Requests per second of a class one replica serves in SLO.", "class"
        )
        self._backlog = self._gauge(
            "backlog_replica_seconds", "Queued work in seconds of one replica; NaN is unknown."
        )
        self._age = self._gauge(
            "telemetry_age_seconds", "Model seconds since the newest traffic sample; NaN: never."
        )
        self._wish = self._gauge(
            "wish_replicas",
            "Replicas asked for by the pool's target; NaN: unknown, or the target is sla.",
        )
        self._ticks = self._counter("ticks_total", "Planning rounds.").labels(pool_id)
        self._errors = self._counter("tick_errors_total", "What went wrong, by reason.", "reason")
        self._decisions = self._counter("decisions_total", "Replicas decided on.", "action")
        self._refused = self._counter(
            "refused_grants_total", "Grants that were older than the newest or contradicted it."
        ).labels(pool_id)
        self._duration = Histogram(
            "weir_poolplanner_tick_seconds",
            "Wall seconds of a planning round, remote calls included.",
            ("pool",),
            buckets=(0.005, 0.02, 0.1, 0.5, 2.0, 5.0),
            registry=self.registry,
        ).labels(pool_id)
        for reason in ERROR_REASONS:
            self._errors.labels(pool_id, reason)
        for action in _DECISIONS:
            self._decisions.labels(pool_id, action)

    def ticked(self, wall_s: float) -> None:
        self._ticks.inc()
        self._duration.observe(wall_s)

    def error(self, reason: str) -> None:
        """`reason` is one of `ERROR_REASONS`."""
        self._errors.labels(self._pool, reason).inc()

    def decided(self, action: str, count: int = 1) -> None:
        self._decisions.labels(self._pool, action).inc(count)

    def refused_grant(self) -> None:
        self._refused.inc()

    def holds(self, state: PoolState) -> None:
        for name, count in (
            ("ready", state.ready),
            ("starting", state.starting),
            ("terminating", state.terminating),
        ):
            self._replicas.labels(self._pool, name).set(count)

    def granted(self, grant: Grant) -> None:
        self._granted.labels(self._pool).set(grant.replicas)
        self._epoch.labels(self._pool).set(grant.epoch)
        self._term.labels(self._pool).set(grant.term)

    def reported(self, report: PoolReport) -> None:
        unknown = float("nan")
        known = bool(report.load)
        rate_rps = sum(load.rate_rps for load in report.load)
        high_rps = sum(load.rate_high_rps for load in report.load)
        self._forecast.labels(self._pool).set(rate_rps if known else unknown)
        self._forecast_high.labels(self._pool).set(high_rps if known else unknown)
        for name, capacity_rps in report.capacity_rps.items():
            self._capacity.labels(self._pool, name).set(capacity_rps)
        for gauge, value in (
            (self._backlog, report.backlog_replica_s),
            (self._age, report.telemetry_age_s),
            (self._wish, report.wish),
        ):
            gauge.labels(self._pool).set(unknown if value is None else value)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"weir_poolplanner_{name}", text, ("pool", *labels), registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"weir_poolplanner_{name}", text, ("pool", *labels), registry=self.registry)
