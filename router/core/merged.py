"""Traffic samples of several processes as one router's.

Counts add up, whenever they were counted. States (what is queued or in flight) are of the newest
sample of each process, so one that has not answered this time still has what it had.
"""

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from weir.domain.histogram import LogHistogram
from weir.domain.ids import RouterId
from weir.domain.telemetry import ClassTraffic, PoolTraffic, TrafficSample

__all__ = ["Merged"]

_T = TypeVar("_T", ClassTraffic, PoolTraffic)
_NAMES = frozenset({"name", "pool_id"})
_STATES = frozenset({"queued", "in_flight", "queued_tokens", "hopeless_queued_tokens"})


class Merged:
    """`add` the samples of a window, then `close` it. `sequence`: that of the last one."""

    def __init__(self, router_id: RouterId, *, sequence: int = 0) -> None:
        self._router_id = router_id
        self.sequence = sequence
        self._newest: dict[str, TrafficSample] = {}
        self._counts: list[TrafficSample] = []

    def add(self, process: str, sample: TrafficSample) -> None:
        self._newest[process] = sample
        self._counts.append(sample)

    def left(self, process: str) -> None:
        """It has ended: it has nothing queued or in flight any more."""
        self._newest.pop(process, None)

    def close(self, window_s: float) -> TrafficSample | None:
        """The sample of a window that has lasted so long; None before any process has told."""
        counts, self._counts = self._counts, []
        states = list(self._newest.values())
        if not counts and not states:
            return None
        self.sequence += 1
        return TrafficSample(
            router_id=self._router_id,
            sequence=self.sequence,
            window_s=window_s,
            classes=_merged(
                _by_name(s.classes for s in counts), _by_name(s.classes for s in states)
            ),
            pools=_merged(_by_name(s.pools for s in counts), _by_name(s.pools for s in states)),
        )


def _by_name(samples: Iterable[Sequence[_T]]) -> dict[str, list[_T]]:
    found: dict[str, list[_T]] = {}
    for traffic in samples:
        for one in traffic:
            name = one.name if isinstance(one, ClassTraffic) else one.pool_id
            found.setdefault(name, []).append(one)
    return found


def _merged(counts: dict[str, list[_T]], states: dict[str, list[_T]]) -> tuple[_T, ...]:
    return tuple(
        _one(counts.get(name, []), states.get(name, []))
        for name in dict.fromkeys((*counts, *states))
    )


def _one(counts: Sequence[_T], states: Sequence[_T]) -> _T:
    """Of one class or pool."""
    of = (counts or states)[0]
    values: dict[str, Any] = {}
    for each in fields(of):
        if each.name in _NAMES:
            continue
        parts = [getattr(one, each.name) for one in (states if each.name in _STATES else counts)]
        if isinstance(getattr(of, each.name), LogHistogram):
            values[each.name] = _histogram(parts)
        else:
            known = [part for part in parts if part is not None]
            values[each.name] = sum(known) if known or each.default is not None else None
    return replace(of, **values)


def _histogram(parts: Iterable[LogHistogram]) -> LogHistogram:
    merged = LogHistogram()
    for part in parts:
        merged.merge(part)
    return merged
