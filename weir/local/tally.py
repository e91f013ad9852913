"""Counters of processes that may restart, and latencies of the last moments."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from weir.domain.histogram import LogHistogram
from weir.domain.ids import ClassName, PoolId
from weir.domain.telemetry import PoolTraffic, TrafficSample

__all__ = ["ClassView", "ResettingCounters", "TrafficWindow"]


@dataclass(slots=True)
class ResettingCounters:
    """Sums of counters that start from zero again when their process does.

    What a process counted after it was last read and before it died is lost.
    """

    _total: dict[str, float] = field(default_factory=dict)
    _last: dict[str, float] = field(default_factory=dict)

    def read(self, values: Mapping[str, float]) -> None:
        """Fold in one reading; a value below the last one means a restart."""
        for name, value in values.items():
            last = self._last.get(name, 0.0)
            grown = value - last if value >= last else value
            self._total[name] = self._total.get(name, 0.0) + grown
            self._last[name] = value

    def total(self, name: str) -> float | None:
        """None if the counter was never seen."""
        return self._total.get(name)

    def __bool__(self) -> bool:
        return bool(self._total)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassView:
    """One class over the window; None where nothing was measured."""

    rate_rps: float
    queued: int
    ttft_p95_s: float | None
    itl_p95_s: float | None


@dataclass(slots=True)
class TrafficWindow:
    """The traffic samples of the last `window_s` model seconds."""

    window_s: float = 30.0
    _samples: deque[tuple[float, TrafficSample]] = field(default_factory=deque)

    def add(self, sample: TrafficSample, now_s: float) -> None:
        self._samples.append((now_s, sample))
        self._forget(now_s)

    def class_view(self, name: ClassName, now_s: float) -> ClassView | None:
        """None if no router has sent a sample lately."""
        self._forget(now_s)
        found = [(s, c) for _, s in self._samples for c in s.classes if c.name == name]
        if not self._samples:
            return None
        ttft_s, itl_s = LogHistogram(), LogHistogram()
        for _, traffic in found:
            ttft_s.merge(traffic.ttft_s)
            itl_s.merge(traffic.itl_s)
        newest = {sample.router_id: traffic.queued for sample, traffic in found}
        return ClassView(
            rate_rps=sum(traffic.arrivals for _, traffic in found) / self._covered_s(),
            queued=sum(newest.values()),
            ttft_p95_s=ttft_s.quantile(0.95),
            itl_p95_s=itl_s.quantile(0.95),
        )

    def pool_traffic(self, pool_id: PoolId, now_s: float) -> PoolTraffic | None:
        """The newest state of a pool, summed over the routers; None if none has sent it."""
        self._forget(now_s)
        newest = {
            sample.router_id: traffic
            for _, sample in self._samples
            for traffic in sample.pools
            if traffic.pool_id == pool_id
        }
        if not newest:
            return None
        return PoolTraffic(
            pool_id=pool_id,
            in_flight=sum(traffic.in_flight or 0 for traffic in newest.values()),
            queued_tokens=sum(traffic.queued_tokens or 0 for traffic in newest.values()),
        )

    def _covered_s(self) -> float:
        """Seconds that the kept samples of one router cover."""
        covered_s: dict[str, float] = {}
        for _, sample in self._samples:
            covered_s[sample.router_id] = covered_s.get(sample.router_id, 0.0) + sample.window_s
        return max(1e-9, *covered_s.values())

    def _forget(self, now_s: float) -> None:
        while self._samples and self._samples[0][0] < now_s - self.window_s:
            self._samples.popleft()
