"""What Dynamo's frontends and routers count, as Prometheus has scraped it, as traffic samples.

Read are the counters themselves with the times of their scrapes, not increases over fixed
windows: so each scrape of each target is one sample of that target, whose window is exactly
what lies between it and the scrape before. Nothing is counted twice or extrapolated, and what
was not scraped is not there: unknown, never zero.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from poolplanner.core.buckets import MOST, durations, increase, per_bucket
from weir.domain.ids import ClassName, PoolId, RouterId
from weir.domain.telemetry import ClassTraffic, PoolTraffic, TrafficSample

__all__ = ["DynamoMetrics", "Scrapes", "Series", "query", "series_of"]

ClassOf = Callable[[float, float], ClassName | None]
"""Which class requests of an ISL and an OSL belong to."""

_STARTED, _ENDED = "requests_started_total", "requests_total"
_TTFT, _ITL = "time_to_first_token_seconds_bucket", "inter_token_latency_seconds_bucket"
_ISL, _OSL = "input_sequence_tokens", "output_sequence_tokens"
_IN_FLIGHT = "inflight_requests"
_HIT_RATE, _CACHED = "kv_hit_rate", "cached_tokens"
"""What routers expect of the prefix caches, and what frontends are told of them."""
_NAMES = (
    _STARTED,
    _ENDED,
    _TTFT,
    _ITL,
    *(f"{name}_{part}" for name in (_ISL, _OSL) for part in ("sum", "count", "bucket")),
    *(f"{name}_{part}" for name in (_HIT_RATE, _CACHED) for part in ("sum", "count")),
    _IN_FLIGHT,
)
_MOST_SERIES = 200_000


class DynamoMetrics(StrEnum):
    """Whose counts: all requests of a model, or those that one pool's router was given."""

    FRONTEND = "frontend"
    ROUTER = "router"

    @property
    def prefix(self) -> str:
        return {
            DynamoMetrics.FRONTEND: "dynamo_frontend_",
            DynamoMetrics.ROUTER: "dynamo_component_router_",
        }[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One time series: `points` are (unix seconds, value), oldest first."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


def query(metrics: DynamoMetrics, *, namespace: str, models: Sequence[str], range_s: float) -> str:
    """PromQL for everything that is read, as scraped in the last `range_s` seconds.

    The namespace is compared as it is written in the source's labels, models without regard to
    upper and lower case.
    """
    names = "|".join(_NAMES)
    selectors = [f'__name__=~"{metrics.prefix}({names})"']
    if metrics is DynamoMetrics.ROUTER:
        selectors.append(f"dynamo_namespace={_quoted(namespace.replace('-', '_'))}")
    else:
        either = "|".join(re.escape(model) for model in models)
        selectors.append(f"dynamo_namespace={_quoted(namespace)}")
        selectors.append(f"model=~{_quoted(f'(?i:{either})')}")
    return f"{{{','.join(selectors)}}}[{max(1, math.ceil(range_s))}s]"


def series_of(answer: object) -> list[Series]:
    """The series of an answer of Prometheus's query API.

    Raises `ValueError` if it is an error or not such an answer. Points that are no numbers
    which can be counted with are left out.
    """
    if not isinstance(answer, dict):
        raise ValueError("the answer is no JSON object")
    if answer.get("status") != "success":
        raise ValueError(f"{answer.get('errorType')}: {answer.get('error')}")
    data = answer.get("data")
    result = data.get("result") if isinstance(data, dict) else None
    if not isinstance(result, list) or len(result) > _MOST_SERIES:
        raise ValueError("the answer holds no list of series, or too many")
    try:
        return [_series(each["metric"], each["values"]) for each in result]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the answer holds something else than series: {error!r}") from None


@dataclass(slots=True, kw_only=True)
class Scrapes:
    """Turns answers into samples, each scrape once. `speed`: model seconds per second."""

    pool_id: PoolId
    metrics: DynamoMetrics
    class_of: ClassOf
    speed: float = 1.0
    _newest_s: dict[str, float] = field(default_factory=dict)
    _begun: bool = False

    def samples(self, answer: Iterable[Series]) -> list[TrafficSample]:
        """What is new since the last answer; of the first one nothing, it may be old."""
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
                        samples.append(target.sample(before_s, at_s))
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
        self._demand = _STARTED if _STARTED in self._by_name else _ENDED
        times = {t for _, points in self._by_name.get(self._demand, ()) for t in points}
        self.times = sorted(times)

    def windows(self) -> Iterable[tuple[float, float]]:
        return zip(self.times, self.times[1:], strict=False)

    def sample(self, before_s: float, at_s: float) -> TrafficSample:
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

        completed, osl_tokens = round(gain(f"{_OSL}_count")), round(gain(f"{_OSL}_sum"))
        isl_tokens = round(gain(f"{_ISL}_sum"))
        pool = PoolTraffic(
            pool_id=self._scrapes.pool_id,
            arrivals=round(gain(self._demand)),
            isl_tokens=isl_tokens,
            completed=completed,
            osl_tokens=osl_tokens,
            in_flight=self._gauge(_IN_FLIGHT, at_s),
            queued_tokens=None,
            cached_tokens=self._cached_tokens(isl_tokens, gain),
            first_token_s=durations(buckets(_TTFT)),
            itl_s=durations(buckets(_ITL)),
        )
        lengths = buckets(f"{_ISL}_bucket")
        return TrafficSample(
            router_id=RouterId(f"prometheus {self._name}"),
            sequence=round(at_s * 1000.0),
            window_s=(at_s - before_s) * self._scrapes.speed,
            classes=_classes(pool, lengths, self._scrapes.class_of),
            pools=(pool,),
        )

    def _cached_tokens(self, isl_tokens: int, gain: Callable[[str], float]) -> int | None:
        """Counted, or prompts times the mean hit rate; None where neither is exported."""
        if f"{_CACHED}_sum" in self._by_name:
            return min(isl_tokens, round(gain(f"{_CACHED}_sum")))
        prompts = gain(f"{_HIT_RATE}_count")
        if not prompts:
            return None
        return round(isl_tokens * min(1.0, gain(f"{_HIT_RATE}_sum") / prompts))

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
    by_class: dict[ClassName, tuple[float, float]] = {}
    for middle, count in middles:
        name = class_of(middle, osl_tokens)
        if name is not None:
            before = by_class.get(name, (0.0, 0.0))
            by_class[name] = (before[0] + count, before[1] + middle * count)
    return tuple(
        ClassTraffic(
            name=name,
            arrivals=round(count),
            isl_tokens=round(tokens * pool.isl_tokens / total),
            completed=round(pool.completed * count / counted),
            osl_tokens=round(pool.osl_tokens * count / counted),
        )
        for name, (count, tokens) in by_class.items()
    )


def _series(metric: Mapping[str, str], values: Sequence[Sequence[object]]) -> Series:
    labels = {str(key): str(value) for key, value in metric.items()}
    points = [(float(str(at_s)), float(str(value))) for at_s, value in values]
    sound = (point for point in points if all(abs(number) <= MOST for number in point))
    return Series(labels=labels, points=tuple(sorted(sound)))


def _edge(le: str | None) -> float | None:
    try:
        edge = float(le) if le is not None else math.nan
    except ValueError:
        return None
    return None if math.isnan(edge) else edge


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
