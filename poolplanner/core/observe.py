"""What reaches the pool, as its routers and engines tell it.

Samples are counts over windows; they may be lost, late, doubled or out of order, and come from
several routers. Invariant: a sample counts once, whatever the order of arrival; a lost one
leaves a gap, never a zero. What is older than `stale_s` is unknown, and unknown is None.

A router that falls silent keeps its last rate until it is forgotten (`_FORGET` times stale):
its requests have not gone away because its messages have.

Offered load: the legs that routers sent to the pool, and its part of the requests that arrived
and were not sent on: those that are queued, were shed or gave up. That part is the pool's share
of the legs of its stage. A queued request counts when it arrives, and not again when it is sent.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from poolplanner.core.engines import Engines, accept_length, bounds
from poolplanner.core.observation import Arrivals, ClassTotals, Observation
from weir.domain.histogram import LogHistogram
from weir.domain.ids import ClassName, PoolId, RouterId
from weir.domain.telemetry import ClassTraffic, ForwardPassSample, PoolTraffic, TrafficSample

__all__ = ["Stages", "Telemetry"]

_FORGET = 4.0
_RESTART_S = 5.0
"""A sequence that begins again, this long after the last new sample, is another process."""
_LATE_SAMPLES = 30
_MOST_SEEN = 1000
_LONG_WINDOW_S = 60.0
"""Where the shortest window holds too few requests for a percentile, and for shares."""
_MOST_FOR_A_QUANTILE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """Pools at which requests `enter` the fleet, and `peers` of the same stage, itself included."""

    enter: frozenset[PoolId]
    peers: frozenset[PoolId]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """`unsent`: requests that arrived and did not enter a pool, less those that did later."""

    at_s: float
    router: RouterId
    window_s: float
    pool: PoolTraffic
    classes: tuple[ClassTraffic, ...]
    unsent: int
    peers: int


@dataclass(slots=True, kw_only=True)
class _Router:
    at_s: float
    newest: int = -1
    pool: PoolTraffic | None = None
    seen: set[int] = field(default_factory=set)
    rate_rps: float | None = None
    fresh_arrivals: int = 0
    fresh_unsent: int = 0
    fresh_s: float = 0.0

    def remember(self, sequence: int) -> None:
        self.seen.add(sequence)
        if len(self.seen) > _MOST_SEEN:
            self.seen = {seen for seen in self.seen if seen >= self.newest - _LATE_SAMPLES}


@dataclass(slots=True, kw_only=True)
class Telemetry:
    """Takes samples in and answers what is known at `now_s` (model seconds, never backwards).

    `window_s`: what rates look back on; `memory_s`: what lengths do. Without `stages` the legs
    that were sent are all the load there is.
    """

    pool_id: PoolId
    stale_s: float
    percentile: float = 0.95
    window_s: float = 10.0
    memory_s: float = 300.0
    stages: Stages | None = None
    totals: dict[ClassName, ClassTotals] = field(default_factory=dict)
    _records: deque[_Record] = field(default_factory=deque)
    _routers: dict[RouterId, _Router] = field(default_factory=dict)
    _engines: Engines = field(init=False)

    def __post_init__(self) -> None:
        self._engines = Engines(stale_s=self.stale_s, memory_s=self.memory_s)

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
        record = self._remember(sample, pool, now_s)
        router.fresh_arrivals += pool.arrivals
        router.fresh_unsent += record.unsent
        router.fresh_s += sample.window_s
        if router.rate_rps is None and sample.window_s > 0.0:
            router.rate_rps = pool.arrivals / sample.window_s
        return True

    def on_forward_pass(self, sample: ForwardPassSample, now_s: float) -> bool:
        """Take in one worker's sample; False if it says nothing new."""
        return self._engines.take(sample, now_s)

    def passes(self) -> tuple[ForwardPassSample, ...]:
        """What engines have measured since the last call, those left out that warm up."""
        return self._engines.passes()

    def arrivals(self, now_s: float) -> Arrivals | None:
        """What arrived since the last call; None if no sample has come in since then.

        A router without a new sample counts with its last rate until it is forgotten.
        """
        self._forget(now_s)
        fresh = [r for r in self._routers.values() if r.fresh_s > 0.0]
        if not fresh:
            return None
        share = self._share(now_s)
        rate_rps = sum(r.rate_rps or 0.0 for r in self._routers.values() if r.fresh_s == 0.0)
        rate_rps += sum(
            _offered_rps(r.fresh_arrivals, share * r.fresh_unsent, r.fresh_s) for r in fresh
        )
        window_s = min(r.fresh_s for r in fresh)
        for router in fresh:
            router.fresh_arrivals, router.fresh_unsent, router.fresh_s = 0, 0, 0.0
        return Arrivals(rate_rps=rate_rps, window_s=window_s)

    def observe(self, now_s: float, *, ready: int | None = None) -> Observation:
        """Everything that is known now, of a pool that has `ready` replicas."""
        self._forget(now_s)
        self._engines.began(now_s)
        if not self._routers:
            return self._with_engines(Observation(age_s=None), now_s, ready)
        age_s = now_s - max(router.at_s for router in self._routers.values())
        if age_s > self.stale_s:
            return self._with_engines(Observation(age_s=age_s), now_s, ready)
        self._update_rates(now_s)
        live = [
            router.pool
            for router in self._routers.values()
            if router.pool is not None and now_s - router.at_s <= self.stale_s
        ]
        seen = Observation(
            age_s=age_s,
            rate_rps=sum(router.rate_rps or 0.0 for router in self._routers.values()),
            in_flight=_all(pool.in_flight for pool in live),
            queued_tokens=_all(pool.queued_tokens for pool in live),
            ttft_s=self._quantile("first_token_s", now_s),
            itl_s=self._quantile("itl_s", now_s),
        )
        return self._with_engines(seen, now_s, ready)

    def _with_engines(self, seen: Observation, now_s: float, ready: int | None) -> Observation:
        samples = self._engines.newest(now_s)
        both = bounds(samples, ready=ready, in_flight=seen.in_flight)
        least, most = both if both is not None else (None, None)
        hit_rate = self._engines.hit_rate(now_s)
        return replace(
            seen,
            engines=least,
            engines_most=most,
            hit_rate=hit_rate if hit_rate is not None else self._hit_rate(),
            accept_length=accept_length(samples),
        )

    def _hit_rate(self) -> float | None:
        """Of the prompts in the memory, as far as sources of traffic tell."""
        told = [record.pool for record in self._records if record.pool.cached_tokens is not None]
        total = sum(pool.isl_tokens for pool in told)
        return min(1.0, sum(pool.cached_tokens or 0 for pool in told) / total) if total else None

    def _remember(self, sample: TrafficSample, pool: PoolTraffic, now_s: float) -> _Record:
        entered, peers = pool.arrivals, pool.arrivals
        if self.stages is not None:
            entered = sum(p.arrivals for p in sample.pools if p.pool_id in self.stages.enter)
            peers = sum(p.arrivals for p in sample.pools if p.pool_id in self.stages.peers)
        arrived = sum(traffic.arrivals for traffic in sample.classes)
        counted = self.stages is not None and bool(sample.classes)
        record = _Record(
            at_s=now_s,
            router=sample.router_id,
            window_s=sample.window_s,
            pool=pool,
            classes=sample.classes,
            unsent=arrived - entered if counted else 0,
            peers=peers,
        )
        self._records.append(record)
        for traffic in sample.classes:
            self.totals.setdefault(traffic.name, ClassTotals()).add(traffic)
        return record

    def _forget(self, now_s: float) -> None:
        while self._records and now_s - self._records[0].at_s > self.memory_s:
            for traffic in self._records.popleft().classes:
                self.totals[traffic.name].add(traffic, sign=-1)
        forget_s = _FORGET * self.stale_s
        self._routers = {k: r for k, r in self._routers.items() if now_s - r.at_s <= forget_s}

    def _since(self, now_s: float, window_s: float) -> Iterable[_Record]:
        """Newest first."""
        for record in reversed(self._records):
            if now_s - record.at_s > window_s:
                return
            yield record

    def _share(self, now_s: float) -> float:
        """The pool's part of what its stage has not been sent, as of what it has."""
        own = peers = 0
        for record in self._since(now_s, _LONG_WINDOW_S):
            own += record.pool.arrivals
            peers += record.peers
        if peers:
            return own / peers
        return 1.0 / len(self.stages.peers) if self.stages is not None else 1.0

    def _update_rates(self, now_s: float) -> None:
        counts: dict[RouterId, tuple[int, int, float]] = {}
        for record in self._since(now_s, self.window_s):
            sent, unsent, window_s = counts.get(record.router, (0, 0, 0.0))
            counts[record.router] = (
                sent + record.pool.arrivals,
                unsent + record.unsent,
                window_s + record.window_s,
            )
        share = self._share(now_s)
        for router_id, (sent, unsent, window_s) in counts.items():
            if window_s > 0.0 and router_id in self._routers:
                rate_rps = _offered_rps(sent, share * unsent, window_s)
                self._routers[router_id].rate_rps = rate_rps

    def _quantile(self, name: str, now_s: float) -> float | None:
        """Over the window, or a longer one where that holds too few to tell."""
        enough = min(_MOST_FOR_A_QUANTILE, math.ceil(1.0 / max(1e-9, 1.0 - self.percentile) - 1e-9))
        merged = LogHistogram()
        for record in self._since(now_s, max(self.window_s, _LONG_WINDOW_S)):
            if now_s - record.at_s > self.window_s and merged.total >= enough:
                break
            merged.merge(getattr(record.pool, name))
        return merged.quantile(self.percentile)


def _offered_rps(sent: int, unsent: float, window_s: float) -> float:
    return max(0.0, sent + unsent) / window_s


def _all(counts: Iterable[int | None]) -> int | None:
    """Their sum; None if one of them is not known."""
    known = list(counts)
    return None if None in known else sum(count or 0 for count in known)


def _begins_again(router: _Router, sequence: int, now_s: float) -> bool:
    """Whether this comes from a new process that counts from the start."""
    silent = now_s - router.at_s > _RESTART_S
    if sequence in router.seen:
        return silent
    return sequence < router.newest - _LATE_SAMPLES
