"""What routers counted in the windows of the last minutes, and what it comes to."""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from poolplanner.core.observation import ClassTotals
from weir.domain.histogram import LogHistogram
from weir.domain.ids import ClassName, PoolId, RouterId
from weir.domain.telemetry import ClassTraffic, PoolTraffic, TrafficSample
from weir.sizing.outputs import Outputs

__all__ = ["Record", "Stages", "Windows"]

_LONG_WINDOW_S = 60.0
"""Where the shortest window holds too few requests for a percentile, and for shares."""
_MOST_FOR_A_QUANTILE = 100
_ENOUGH_FOR_A_MEAN = 20
_REMEMBERED = 100
"""So many requests are remembered however long ago they came: what they are like is known still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """Pools at which requests `enter` the fleet, and `peers` of the same stage, itself included."""

    enter: frozenset[PoolId]
    peers: frozenset[PoolId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One router's window. `peers`: legs sent to all pools of the stage; `unsent`: requests that
    arrived and did not enter a pool, less those that had arrived before and did."""

    at_s: float
    router: RouterId
    window_s: float
    pool: PoolTraffic
    classes: tuple[ClassTraffic, ...]
    unsent: int
    peers: int


@dataclass(frozen=True, slots=True)
class _Counted:
    """What is still asked of a window whose percentiles and shares are not: its sums."""

    at_s: float
    classes: tuple[ClassTraffic, ...]
    arrivals: int
    prompt_tokens: int
    cached_tokens: int


@dataclass(slots=True, kw_only=True)
class Windows:
    """The windows of `memory_s`, newest last, and those before that hold the last requests.

    `totals` are their sums by class; `outputs` remembers as long as outputs take.
    """

    stages: Stages | None
    window_s: float
    memory_s: float
    totals: dict[ClassName, ClassTotals] = field(default_factory=dict)
    outputs: dict[ClassName, Outputs] = field(default_factory=dict)
    accept_length: float | None = None
    """The newest that a source of traffic has told."""
    _records: deque[Record] = field(default_factory=deque)
    _counted: deque[_Counted] = field(default_factory=deque)
    _arrivals: int = 0
    _prompt_tokens: int = 0
    _cached_tokens: int = 0

    def add(self, sample: TrafficSample, pool: PoolTraffic, now_s: float) -> Record:
        """Take in a sample of which `pool` is the part about this one."""
        entered, peers = pool.arrivals, pool.arrivals
        if self.stages is not None:
            entered = sum(p.arrivals for p in sample.pools if p.pool_id in self.stages.enter)
            if self.stages.enter.isdisjoint(self.stages.peers):
                # Pools that prefill are sized as if all prompts came to them, these as well.
                entered += sum(p.direct for p in sample.pools)
            peers = sum(p.arrivals for p in sample.pools if p.pool_id in self.stages.peers)
        arrived = sum(traffic.arrivals for traffic in sample.classes)
        counted = self.stages is not None and bool(sample.classes)
        record = Record(
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
            self.outputs.setdefault(traffic.name, Outputs(now_s)).add(traffic, now_s)
        self._arrivals += _arrivals(record)
        prompt_tokens, cached_tokens = _prompts(pool)
        self._prompt_tokens += prompt_tokens
        self._cached_tokens += cached_tokens
        if pool.accept_length is not None:
            self.accept_length = pool.accept_length
        return record

    def forget(self, now_s: float) -> None:
        """Drop what is beyond the memory, and of what is older than all windows all but sums."""
        kept_s = max(self.window_s, _LONG_WINDOW_S)
        while self._records and now_s - self._records[0].at_s > kept_s:
            self._count(self._records.popleft())
        while self._counted and now_s - self._counted[0].at_s > self.memory_s:
            if self._arrivals - self._counted[0].arrivals < _REMEMBERED:
                return
            self._drop(self._counted.popleft())

    def _count(self, record: Record) -> None:
        completed = any(traffic.completed for traffic in record.classes)
        if completed or _arrivals(record):
            prompts = _prompts(record.pool)
            self._counted.append(_Counted(record.at_s, record.classes, _arrivals(record), *prompts))

    def _drop(self, counted: _Counted) -> None:
        for traffic in counted.classes:
            self.totals[traffic.name].add(traffic, sign=-1)
        self._arrivals -= counted.arrivals
        self._prompt_tokens -= counted.prompt_tokens
        self._cached_tokens -= counted.cached_tokens

    def offered_rps(self, now_s: float) -> dict[RouterId, float]:
        """By router, over the window; those without a sample in it are left out."""
        counts: dict[RouterId, tuple[int, int, float]] = {}
        for record in self._since(now_s, self.window_s):
            sent, unsent, window_s = counts.get(record.router, (0, 0, 0.0))
            counts[record.router] = (
                sent + record.pool.arrivals,
                unsent + record.unsent,
                window_s + record.window_s,
            )
        share = self.share(now_s)
        return {
            router: max(0.0, sent + share * unsent) / window_s
            for router, (sent, unsent, window_s) in counts.items()
            if window_s > 0.0
        }

    def share(self, now_s: float) -> float:
        """The pool's part of what its stage has not been sent, as of what it has."""
        own = peers = 0
        for record in self._since(now_s, _LONG_WINDOW_S):
            own += record.pool.arrivals
            peers += record.peers
        if peers:
            return own / peers
        return 1.0 / len(self.stages.peers) if self.stages is not None else 1.0

    def latency_s(self, name: str, q: float | None, now_s: float) -> float | None:
        """Quantile `q`, or the mean (None), of a histogram of the pool.

        Over the window, or longer where that holds too few.
        """
        enough = _ENOUGH_FOR_A_MEAN
        if q is not None:
            enough = min(_MOST_FOR_A_QUANTILE, math.ceil(1.0 / max(1e-9, 1.0 - q) - 1e-9))
        merged = LogHistogram()
        for record in self._since(now_s, max(self.window_s, _LONG_WINDOW_S)):
            if now_s - record.at_s > self.window_s and merged.total >= enough:
                break
            merged.merge(getattr(record.pool, name))
        return merged.mean() if q is None else merged.quantile(q)

    def hit_rate(self) -> float | None:
        """Of the prompts that are remembered, as far as sources of traffic tell."""
        if not self._prompt_tokens:
            return None
        return min(1.0, self._cached_tokens / self._prompt_tokens)

    def _since(self, now_s: float, window_s: float) -> Iterable[Record]:
        """Newest first."""
        for record in reversed(self._records):
            if now_s - record.at_s > window_s:
                return
            yield record


def _prompts(pool: PoolTraffic) -> tuple[int, int]:
    """Tokens of the prompts of which it is told how many were cached, and of these so many."""
    return (0, 0) if pool.cached_tokens is None else (pool.isl_tokens, pool.cached_tokens)


def _arrivals(record: Record) -> int:
    """At the fleet, or at the pool where the source does not tell classes."""
    return max(record.pool.arrivals, sum(traffic.arrivals for traffic in record.classes))
