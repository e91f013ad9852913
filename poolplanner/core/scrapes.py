"""What Dynamo's frontends and routers count, as Prometheus has scraped it, as traffic samples.

Read are the counters themselves with the times of their scrapes, not increases over fixed
windows: so each scrape of each target is one sample of that target, whose window is exactly
what lies between it and the scrape before. Nothing is counted twice or extrapolated, and what
was not scraped is not there: unknown, never zero.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from poolplanner.core.buckets import durations, increase, per_bucket
from poolplanner.core.promql import (
    CACHED,
    ENDED,
    HIT_RATE,
    IN_FLIGHT,
    ISL,
    ITL,
    OSL,
    STARTED,
    TTFT,
    DynamoMetrics,
    Series,
)
from weir.domain.ids import ClassName, PoolId, RouterId
from weir.domain.telemetry import ClassTraffic, PoolTraffic, TrafficSample

__all__ = ["Scrapes"]

ClassOf = Callable[[float, float], ClassName | None]
"""Which class requests of an ISL and an OSL belong to."""


@dataclass(slots=True, kw_only=True)
class Scrapes:
    """Turns answers into samples, each scrape once. `speed`: model seconds per second."""

    pool_id: PoolId
    metrics: DynamoMetrics
    class_of: ClassOf
    speed: float = 1.0
    _newest_s: dict[str, float] = field(default_factory=dict)
    _begun: bool = False

    def samples(
        self, answer: Iterable[Series], accept_length: float | None = None
    ) -> list[TrafficSample]:
        """What is new since the last answer; of the first one nothing, it may be old.

        `accept_length`: what the pool's engines have shown meanwhile.
        """
        targets: dict[str, list[Series]] = {}
        for series in answer:
            targets.setdefault(series.labels.get("instance", ""), []).append(series)
        samples, newest_s = [], {}
        for name, listed in targets.items():
            target = _Target(self, name, listed)
            known_s = self._newest_s.get(name)
            if self._begun:
                for before_s, at_s in target.windows():
                    if known_s is None or at_s > known_s:
                        samples.append(target.sample(before_s, at_s, accept_length))
            newest_s[name] = max(known_s or 0.0, *target.times[-1:], 0.0)
        self._newest_s, self._begun = newest_s, True
        return samples


class _Target:
    """One scraped process."""

    def __init__(self, scrapes: Scrapes, name: str, listed: Iterable[Series]) -> None:
        self._scrapes = scrapes
        self._name = name
        self._by_name: dict[str, list[tuple[Mapping[str, str], dict[float, float]]]] = {}
        prefix = scrapes.metrics.prefix
        for series in listed:
            short = series.labels.get("__name__", "").removeprefix(prefix)
            self._by_name.setdefault(short, []).append((series.labels, dict(series.points)))
        self._demand = STARTED if STARTED in self._by_name else ENDED
        times = {t for _, points in self._by_name.get(self._demand, ()) for t in points}
        self.times = sorted(times)

    def windows(self) -> Iterable[tuple[float, float]]:
        return zip(self.times, self.times[1:], strict=False)

    def sample(self, before_s: float, at_s: float, accept_length: float | None) -> TrafficSample:
        def gain(name: str) -> float:
            return sum(gains(self._by_name.get(name, ())))

        def gains(listed: Iterable[tuple[Mapping[str, str], dict[float, float]]]) -> list[float]:
            return [
                increase(points.get(before_s), points[at_s])
                for _, points in listed
                if at_s in points
            ]

        def buckets(name: str) -> list[tuple[float, float, float]]:
            by_edge: dict[float, float] = {}
            for labels, points in self._by_name.get(name, ()):
                edge = _edge(labels.get("le"))
                if edge is not None and at_s in points:
                    gained = increase(points.get(before_s), points[at_s])
                    by_edge[edge] = by_edge.get(edge, 0.0) + gained
            return per_bucket(by_edge)

        completed, osl_tokens = round(gain(f"{OSL}_count")), round(gain(f"{OSL}_sum"))
        isl_tokens = round(gain(f"{ISL}_sum"))
        pool = PoolTraffic(
            pool_id=self._scrapes.pool_id,
            arrivals=round(gain(self._demand)),
            isl_tokens=isl_tokens,
            completed=completed,
            osl_tokens=osl_tokens,
            in_flight=self._gauge(IN_FLIGHT, at_s),
            queued_tokens=None,
            cached_tokens=self._cached_tokens(isl_tokens, gain),
            accept_length=accept_length,
            first_token_s=durations(buckets(TTFT)),
            itl_s=durations(buckets(ITL)),
        )
        lengths = buckets(f"{ISL}_bucket")
        return TrafficSample(
            router_id=RouterId(f"prometheus {self._name}"),
            sequence=round(at_s * 1000.0),
            window_s=(at_s - before_s) * self._scrapes.speed,
            classes=_classes(pool, lengths, self._scrapes.class_of),
            pools=(pool,),
        )

    def _cached_tokens(self, isl_tokens: int, gain: Callable[[str], float]) -> int | None:
        """Counted, or prompts times the mean hit rate; None where neither is exported."""
        if f"{CACHED}_sum" in self._by_name:
            return min(isl_tokens, round(gain(f"{CACHED}_sum")))
        prompts = gain(f"{HIT_RATE}_count")
        if not prompts:
            return None
        return round(isl_tokens * min(1.0, gain(f"{HIT_RATE}_sum") / prompts))

    def _gauge(self, name: str, at_s: float) -> int | None:
        known = [points[at_s] for _, points in self._by_name.get(name, ()) if at_s in points]
        return round(sum(known)) if known else None


def _classes(
    pool: PoolTraffic, lengths: Sequence[tuple[float, float, float]], class_of: ClassOf
) -> tuple[ClassTraffic, ...]:
    """The pool's requests by class, as far as their prompt lengths tell.

    What is completed is split as what arrives; the mean of all lengths is kept.
    """
    osl_tokens = pool.osl_tokens / pool.completed if pool.completed else 1.0
    last = max((low for low, _, _ in lengths), default=0.0)
    middles = [
        (last if math.isinf(high) else (low + high) / 2.0, count) for low, high, count in lengths
    ]
    counted = sum(count for _, count in middles)
    total = sum(middle * count for middle, count in middles)
    if counted <= 0.0 or total <= 0.0:
        return ()
    scale = pool.isl_tokens / total
    by_class: dict[ClassName, tuple[float, float, float]] = {}
    for middle, count in middles:
        name = class_of(middle, osl_tokens)
        if name is not None:
            requests, tokens, squares = by_class.get(name, (0.0, 0.0, 0.0))
            by_class[name] = (
                requests + count,
                tokens + middle * count,
                squares + middle * middle * count,
            )
    return tuple(
        ClassTraffic(
            name=name,
            arrivals=round(count),
            isl_tokens=round(tokens * scale),
            isl_tokens_sq=round(squares * scale * scale),
            completed=round(pool.completed * count / counted),
            osl_tokens=round(pool.osl_tokens * count / counted),
        )
        for name, (count, tokens, squares) in by_class.items()
    )


def _edge(le: str | None) -> float | None:
    try:
        edge = float(le) if le is not None else math.nan
    except ValueError:
        return None
    return None if math.isnan(edge) else edge
