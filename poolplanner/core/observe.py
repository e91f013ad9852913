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

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from poolplanner.core.engines import Engines, bounds
from poolplanner.core.observation import Arrivals, ClassTotals, Observation
from poolplanner.core.windows import Stages, Windows
from weir.domain.ids import ClassName, PoolId, RouterId
from weir.domain.telemetry import ForwardPassSample, PoolTraffic, TrafficSample
from weir.sizing.outputs import Outputs

__all__ = ["Telemetry"]

_FORGET = 4.0
_RESTART_S = 5.0
"""A sequence that begins again, this long after the last new sample, is another process."""
_LATE_SAMPLES = 30
_MOST_SEEN = 250


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

    `percentile` is that of latencies, None their mean. `window_s`: what rates look back on;
    `memory_s`: what lengths do. Without `stages` the legs that were sent are all the load there is.
    """

    pool_id: PoolId
    stale_s: float
    percentile: float | None = 0.95
    window_s: float = 10.0
    memory_s: float = 60.0
    stages: Stages | None = None
    _routers: dict[RouterId, _Router] = field(default_factory=dict)
    _windows: Windows = field(init=False)
    _engines: Engines = field(init=False)

    def __post_init__(self) -> None:
        self._windows = Windows(stages=self.stages, window_s=self.window_s, memory_s=self.memory_s)
        self._engines = Engines(stale_s=self.stale_s, memory_s=self.memory_s)

    @property
    def totals(self) -> Mapping[ClassName, ClassTotals]:
        """Sums over the memory, all pools together."""
        return self._windows.totals

    @property
    def outputs(self) -> Mapping[ClassName, Outputs]:
        """What is known of outputs, all pools together."""
        return self._windows.outputs

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
        record = self._windows.add(sample, pool, now_s)
        router.fresh_arrivals += pool.arrivals
        router.fresh_unsent += record.unsent
        router.fresh_s += sample.window_s
        if router.rate_rps is None and sample.window_s > 0.0:
            router.rate_rps = pool.arrivals / sample.window_s
        return True

    def on_forward_pass(self, sample: ForwardPassSample, now_s: float) -> bool:
        """Take in one worker's sample; False if it says nothing new."""
        return self._engines.take(sample, now_s)

    def engines(self, now_s: float) -> Sequence[ForwardPassSample]:
        """The newest sample of each engine that is heard."""
        return self._engines.newest(now_s)

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
        share = self._windows.share(now_s)
        rate_rps = sum(r.rate_rps or 0.0 for r in self._routers.values() if r.fresh_s == 0.0)
        rate_rps += sum(
            max(0.0, r.fresh_arrivals + share * r.fresh_unsent) / r.fresh_s for r in fresh
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
        for router_id, rate_rps in self._windows.offered_rps(now_s).items():
            if router_id in self._routers:
                self._routers[router_id].rate_rps = rate_rps
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
            hopeless_queued_tokens=sum(pool.hopeless_queued_tokens or 0 for pool in live),
            ttft_s=self._windows.latency_s("first_token_s", self.percentile, now_s),
            itl_s=self._windows.latency_s("itl_s", self.percentile, now_s),
        )
        return self._with_engines(seen, now_s, ready)

    def _with_engines(self, seen: Observation, now_s: float, ready: int | None) -> Observation:
        samples = self._engines.newest(now_s)
        both = bounds(samples, ready=ready, in_flight=seen.in_flight)
        least, most = both if both is not None else (None, None)
        hit_rate, accept_length = self._engines.hit_rate(now_s), self._engines.accept_length(now_s)
        return replace(
            seen,
            engines=least,
            engines_most=most,
            hit_rate=hit_rate if hit_rate is not None else self._windows.hit_rate(),
            accept_length=accept_length if accept_length else self._windows.accept_length,
        )

    def _forget(self, now_s: float) -> None:
        self._windows.forget(now_s)
        forget_s = _FORGET * self.stale_s
        self._routers = {k: r for k, r in self._routers.items() if now_s - r.at_s <= forget_s}


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
