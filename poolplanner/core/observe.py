"""What reaches the pool, as its routers and engines tell it.

Samples are counts over windows; they may be lost, late, doubled or out of order, and come from
several routers. Invariant: a sample counts once, whatever the order of arrival; a lost one
leaves a gap, never a zero. What is older than `stale_s` is unknown, and unknown is None.

A router that falls silent keeps its last rate until it is forgotten (`_FORGET` times stale):
its requests have not gone away because its messages have.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from poolplanner.core.observation import Arrivals, ClassTotals, EngineLoad, Observation
from weir.domain.histogram import LogHistogram
from weir.domain.ids import ClassName, PoolId, RouterId, WorkerId
from weir.domain.telemetry import ClassTraffic, ForwardPassSample, PoolTraffic, TrafficSample

__all__ = ["Telemetry"]

_FORGET = 4.0
_RESTART_S = 5.0
"""A sequence that begins again, this long after the last new sample, is another process."""
_LATE_SAMPLES = 30
_MOST_SEEN = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    at_s: float
    router: RouterId
    window_s: float
    pool: PoolTraffic
    classes: tuple[ClassTraffic, ...]


@dataclass(slots=True, kw_only=True)
class _Router:
    at_s: float
    newest: int = -1
    pool: PoolTraffic | None = None
    seen: set[int] = field(default_factory=set)
    rate_rps: float | None = None
    fresh_arrivals: int = 0
    fresh_s: float = 0.0

    def remember(self, sequence: int) -> None:
        self.seen.add(sequence)
        if len(self.seen) > _MOST_SEEN:
            self.seen = {seen for seen in self.seen if seen >= self.newest - _LATE_SAMPLES}


@dataclass(slots=True, kw_only=True)
class Telemetry:
    """Takes samples in and answers what is known at `now_s` (model seconds, never backwards).

    `window_s`: what rates and percentiles look back on; `memory_s`: what lengths do.
    """

    pool_id: PoolId
    stale_s: float
    percentile: float = 0.95
    window_s: float = 10.0
    memory_s: float = 300.0
    totals: dict[ClassName, ClassTotals] = field(default_factory=dict)
    _records: deque[_Record] = field(default_factory=deque)
    _routers: dict[RouterId, _Router] = field(default_factory=dict)
    _engines: dict[WorkerId, tuple[float, ForwardPassSample]] = field(default_factory=dict)

    def on_traffic(self, sample: TrafficSample, now_s: float) -> bool:
        """Take in one router's sample; False if it says nothing new."""
        router = self._routers.setdefault(sample.router_id, _Router(at_s=now_s))
        if _begins_again(router, sample.sequence, now_s):
            router.newest = -1
            router.seen.clear()
        if sample.sequence in router.seen:
            return False
        pool = next((p for p in sample.pools if p.pool_id == self.pool_id), None)
        pool = pool or PoolTraffic(pool_id=self.pool_id)
        if sample.sequence > router.newest:
            router.newest, router.pool = sample.sequence, pool
        router.at_s = now_s
        router.remember(sample.sequence)
        router.fresh_arrivals += pool.arrivals
        router.fresh_s += sample.window_s
        if router.rate_rps is None and sample.window_s > 0.0:
            router.rate_rps = pool.arrivals / sample.window_s
        self._remember(sample, pool, now_s)
        return True

    def on_forward_pass(self, sample: ForwardPassSample, now_s: float) -> bool:
        """Take in one worker's sample; False if it says nothing new."""
        known = self._engines.get(sample.worker_id)
        if known is not None:
            at_s, newest = known
            if sample.sequence <= newest.sequence and now_s - at_s < _RESTART_S:
                return False
        self._engines[sample.worker_id] = (now_s, sample)
        return True

    def arrivals(self, now_s: float) -> Arrivals | None:
        """What arrived since the last call; None if no sample has come in since then.

        A router without a new sample counts with its last rate until it is forgotten.
        """
        self._forget(now_s)
        fresh = [r for r in self._routers.values() if r.fresh_s > 0.0]
        if not fresh:
            return None
        rate_rps = sum(r.rate_rps or 0.0 for r in self._routers.values() if r.fresh_s == 0.0)
        rate_rps += sum(r.fresh_arrivals / r.fresh_s for r in fresh)
        window_s = min(r.fresh_s for r in fresh)
        for router in fresh:
            router.fresh_arrivals, router.fresh_s = 0, 0.0
        return Arrivals(rate_rps=rate_rps, window_s=window_s)

    def observe(self, now_s: float) -> Observation:
        """Everything that is known now."""
        self._forget(now_s)
        engines = self._engine_load(now_s)
        if not self._routers:
            return Observation(age_s=None, engines=engines)
        age_s = now_s - max(router.at_s for router in self._routers.values())
        if age_s > self.stale_s:
            return Observation(age_s=age_s, engines=engines)
        recent = self._recent(now_s)
        self._update_rates(recent)
        live = [
            router.pool
            for router in self._routers.values()
            if router.pool is not None and now_s - router.at_s <= self.stale_s
        ]
        return Observation(
            age_s=age_s,
            rate_rps=sum(router.rate_rps or 0.0 for router in self._routers.values()),
            in_flight=sum(pool.in_flight for pool in live),
            queued_tokens=sum(pool.queued_tokens for pool in live),
            ttft_s=_quantile((r.pool.first_token_s for r in recent), self.percentile),
            itl_s=_quantile((r.pool.itl_s for r in recent), self.percentile),
            engines=engines,
        )

    def _remember(self, sample: TrafficSample, pool: PoolTraffic, now_s: float) -> None:
        self._records.append(
            _Record(
                at_s=now_s,
                router=sample.router_id,
                window_s=sample.window_s,
                pool=pool,
                classes=sample.classes,
            )
        )
        for traffic in sample.classes:
            self.totals.setdefault(traffic.name, ClassTotals()).add(traffic)

    def _forget(self, now_s: float) -> None:
        while self._records and now_s - self._records[0].at_s > self.memory_s:
            for traffic in self._records.popleft().classes:
                self.totals[traffic.name].add(traffic, sign=-1)
        forget_s = _FORGET * self.stale_s
        self._routers = {k: r for k, r in self._routers.items() if now_s - r.at_s <= forget_s}
        self._engines = {k: e for k, e in self._engines.items() if now_s - e[0] <= self.stale_s}

    def _recent(self, now_s: float) -> Sequence[_Record]:
        recent: list[_Record] = []
        for record in reversed(self._records):
            if now_s - record.at_s > self.window_s:
                break
            recent.append(record)
        return recent

    def _update_rates(self, recent: Iterable[_Record]) -> None:
        counts: dict[RouterId, tuple[int, float]] = {}
        for record in recent:
            arrivals, window_s = counts.get(record.router, (0, 0.0))
            counts[record.router] = (arrivals + record.pool.arrivals, window_s + record.window_s)
        for router_id, (arrivals, window_s) in counts.items():
            if window_s > 0.0 and router_id in self._routers:
                self._routers[router_id].rate_rps = arrivals / window_s

    def _engine_load(self, now_s: float) -> EngineLoad | None:
        samples = [s for at_s, s in self._engines.values() if now_s - at_s <= self.stale_s]
        if not samples:
            return None
        return EngineLoad(
            workers=len(samples),
            running=sum(s.running for s in samples),
            waiting=sum(s.waiting for s in samples),
            waiting_tokens=sum(s.waiting_tokens for s in samples),
            kv_used_tokens=sum(s.kv_used_tokens for s in samples),
            kv_total_tokens=sum(s.kv_total_tokens for s in samples),
        )


def _begins_again(router: _Router, sequence: int, now_s: float) -> bool:
    """Whether this comes from a new process that counts from the start."""
    silent = now_s - router.at_s > _RESTART_S
    if sequence in router.seen:
        return silent
    return sequence < router.newest - _LATE_SAMPLES


def _quantile(histograms: Iterable[LogHistogram], q: float) -> float | None:
    merged = LogHistogram()
    for histogram in histograms:
        merged.merge(histogram)
    return merged.quantile(q)
