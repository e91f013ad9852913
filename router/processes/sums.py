"""Metrics of several processes as those of one router.

Counters and histograms are sums, those of processes that have ended included; gauges are of the
processes that run. Invariant, for each class: arrivals = requests that ended + queued + in flight;
what a process had open when it died has failed.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean

import orjson
from prometheus_client import CollectorRegistry, Metric

__all__ = ["Ended", "Family", "add_up", "families_of", "read", "snapshot"]

_Key = tuple[str, tuple[tuple[str, str], ...]]
"""Name and labels of a sample."""

_REQUESTS = "weir_router_requests_total"
_OPEN = frozenset({"weir_router_queued", "weir_router_in_flight"})
_MIN, _MAX = min, max
_OF_ALL: Mapping[str, Callable[[Iterable[float]], float]] = {
    "weir_router_pool_pace": fmean,
    "weir_router_pool_workers": fmean,
    "weir_router_kv_blocks": fmean,
    "weir_router_kv_known_workers": fmean,
    "weir_router_plan_term": _MAX,
    "weir_router_plan_version": _MAX,
    "weir_router_nats_connected": _MIN,
    "weir_router_others_heard": _MAX,
    "process_start_time_seconds": _MIN,
    "process_max_fds": _MIN,
}
"""Gauges of what every process sees of one thing; all others are summed."""


@dataclass(slots=True, kw_only=True)
class Family:
    """Samples of one metric, as a process had them."""

    name: str
    text: str
    kind: str
    samples: dict[_Key, float] = field(default_factory=dict)


def snapshot(metrics: Iterable[Metric]) -> bytes:
    """What `read` makes families of, in another process."""
    return orjson.dumps(
        [
            [m.name, m.documentation, m.type, [[s.name, s.labels, s.value] for s in m.samples]]
            for m in metrics
        ]
    )


def families_of(registry: CollectorRegistry) -> list[Family]:
    """What this process has."""
    return read(snapshot(registry.collect()))


def read(data: bytes) -> list[Family]:
    return [
        Family(
            name=name,
            text=text,
            kind=kind,
            samples={(sample, tuple(labels.items())): value for sample, labels, value in samples},
        )
        for name, text, kind, samples in orjson.loads(data)
    ]


class Ended:
    """What processes that have ended leave behind."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}

    @property
    def families(self) -> list[Family]:
        return list(self._families.values())

    def add(self, last: Iterable[Family]) -> None:
        """`last`: what one had at its end, as far as anybody knows."""
        families = list(last)
        for family in families:
            if family.kind == "gauge":
                continue
            known = self._families.setdefault(
                family.name, Family(name=family.name, text=family.text, kind=family.kind)
            )
            for key, value in family.samples.items():
                known.samples[key] = known.samples.get(key, 0.0) + value
        for family in families:
            if family.name in _OPEN:
                self._fail(family)

    def _fail(self, still_open: Family) -> None:
        requests = self._families[_REQUESTS.removesuffix("_total")].samples
        for (_, labels), count in still_open.samples.items():
            key = _REQUESTS, (*labels, ("outcome", "failed"))
            requests[key] = requests.get(key, 0.0) + count


def add_up(running: Iterable[Iterable[Family]], ended: Iterable[Family] = ()) -> list[Metric]:
    """One family of each name."""
    values: dict[str, dict[_Key, list[float]]] = {}
    families: dict[str, Family] = {}
    for family in (*(each for process in running for each in process), *ended):
        families.setdefault(family.name, family)
        samples = values.setdefault(family.name, {})
        for key, value in family.samples.items():
            samples.setdefault(key, []).append(value)
    return [_metric(family, values[name]) for name, family in families.items()]


def _metric(family: Family, samples: Mapping[_Key, list[float]]) -> Metric:
    metric = Metric(family.name, family.text, family.kind)
    of_all = _OF_ALL.get(family.name, sum)
    for (name, labels), values in samples.items():
        metric.add_sample(name, dict(labels), of_all(values))
    return metric
