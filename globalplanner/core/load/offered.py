"""What users offer, by class and before any routing, as all routers together tell it.

Samples may be lost, late, doubled or out of order. Invariant: of each router only samples
newer than its newest count; a lost one leaves a gap, never a zero. A router that falls silent
keeps its last rate until it is forgotten; when all are silent the load is unknown, not zero.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from globalplanner.core.load.burst import BurstFilter
from globalplanner.core.load.lengths import Lengths
from globalplanner.core.load.predicted import Predicted
from weir.domain.ids import ClassName, RouterId
from weir.domain.planning import ClassLoad
from weir.domain.telemetry import ClassTraffic, TrafficSample
from weir.forecast.trend import Forecast, Trend, observe, predict

__all__ = ["OfferedLoad"]

_HIGH_QUANTILE = 0.97
_MOST_MARGIN = 0.09
"""The upper quantile is at most this much above the mean: head room is the pools' business."""
_ENOUGH = 0.9
_QUIET_S = 60.0
"""If so long nothing has come of a class, or waited, nothing is forecast.

A filter only approaches zero. What waits may do so for as long as a first replica takes to start.
"""
_RESTART_S = 5.0
"""A lower sequence, this long after the last new sample, is that of a new process."""
_FORGET = 4.0
"""A silent router is forgotten after this many times `stale_s`."""


@dataclass(slots=True)
class _Series:
    """One class at one router: what came since it was last folded in, and its last rate.

    `decoding`: how many requests decoded then, None if the router does not tell.
    """

    filter: BurstFilter = field(default_factory=BurstFilter)
    admitted: float = 0.0
    rate_rps: float = 0.0
    waiting: int = 0
    decoding_ms: int | None = None
    decoding: float | None = None


@dataclass(slots=True)
class _Router:
    sequence: int
    at_s: float
    window_s: float = 0.0
    series: dict[ClassName, _Series] = field(default_factory=dict)


class OfferedLoad:
    """Take samples in with `add`, `fold` them before each decision, then ask for `loads`.

    A measurement covers at least `window_s`: over less, chance looks like change. `predicted`
    forecasts in place of the trend; the trend's level is its floor.
    """

    def __init__(
        self,
        classes: Iterable[ClassName],
        *,
        stale_s: float,
        window_s: float = 2.0,
        predicted: Predicted | None = None,
    ) -> None:
        self._predicted = predicted
        self._stale_s = stale_s
        self._window_s = window_s
        self._routers: dict[RouterId, _Router] = {}
        self._trends: dict[ClassName, Trend | None] = dict.fromkeys(classes)
        self._lengths: dict[ClassName, Lengths] = {}
        self._came_at_s: dict[ClassName, float] = {}

    def follow(self, classes: Iterable[ClassName]) -> None:
        """From now on these classes count; what is known of them stays."""
        self._trends = {name: self._trends.get(name) for name in classes}

    def add(self, sample: TrafficSample, now_s: float) -> bool:
        """Take in one router's sample; False if it says nothing new."""
        router = self._routers.get(sample.router_id)
        if router is None:
            router = self._routers[sample.router_id] = _Router(sample.sequence, now_s)
        elif sample.sequence > router.sequence or now_s - router.at_s > _RESTART_S:
            router.sequence, router.at_s = sample.sequence, now_s
        else:
            return False
        if sample.window_s <= 0.0:
            return True
        router.window_s += sample.window_s
        for traffic in sample.classes:
            if traffic.name in self._trends:
                self._count(router, traffic, sample.window_s, now_s)
        return True

    def fold(self, now_s: float) -> None:
        """Turn what came in since the last measurement into the next one, if it is enough."""
        forget_s = _FORGET * self._stale_s
        self._routers = {k: r for k, r in self._routers.items() if now_s - r.at_s <= forget_s}
        fresh = [router for router in self._routers.values() if router.window_s > 0.0]
        if not fresh or max(router.window_s for router in fresh) < _ENOUGH * self._window_s:
            return
        for router in fresh:
            for series in router.series.values():
                series.rate_rps = series.admitted / router.window_s
                series.admitted = 0.0
                ms, series.decoding_ms = series.decoding_ms, None
                series.decoding = None if ms is None else ms / 1000.0 / router.window_s
        window_s = min(router.window_s for router in fresh)
        for name, trend in self._trends.items():
            found = [router.series[name] for router in self._of(name)]
            rate_rps = sum(series.rate_rps for series in found)
            waiting = any(series.waiting for series in found)
            if rate_rps > 0.0 or waiting or name not in self._came_at_s:
                self._came_at_s[name] = now_s
            self._trends[name] = observe(trend, rate_rps, now_s, window_s=window_s)
            if name in self._lengths:
                told = [s.decoding for s in found if s.decoding is not None]
                decoding = sum(told) if len(told) == len(found) else None
                self._lengths[name].measured(rate_rps, decoding, window_s)
            if self._predicted is not None:
                self._predicted.observe(name, rate_rps, now_s, window_s=window_s)
        for router in fresh:
            router.window_s = 0.0

    def age_s(self, now_s: float) -> float | None:
        """Age of the newest sample of any router; None if there is none."""
        return min((now_s - router.at_s for router in self._routers.values()), default=None)

    def known(self, now_s: float) -> bool:
        """Whether every router has been heard lately.

        One that is silent, but not yet forgotten, makes all of it unknown: its requests have
        not gone away because its messages have.
        """
        ages = [now_s - router.at_s for router in self._routers.values()]
        folded = any(trend is not None for trend in self._trends.values())
        return folded and bool(ages) and max(ages) <= self._stale_s

    def loads(self, now_s: float, *, ahead_s: float) -> Mapping[ClassName, ClassLoad] | None:
        """Forecast for `now_s + ahead_s` by class; None if it is not known."""
        if not self.known(now_s):
            return None
        forecasts = self.forecasts(now_s, ahead_s=ahead_s)
        return {name: self._load(name, forecast, ahead_s) for name, forecast in forecasts.items()}

    def forecasts(self, now_s: float, *, ahead_s: float) -> Mapping[ClassName, Forecast]:
        """Rates at `now_s + ahead_s` of the classes that anything is known of, however old."""
        return {
            name: self._forecast(name, trend, max(now_s + ahead_s, trend.at_s))
            for name, trend in self._trends.items()
            if trend is not None
        }

    def _forecast(self, name: ClassName, trend: Trend, at_s: float) -> Forecast:
        if trend.at_s - self._came_at_s[name] >= _QUIET_S:
            return Forecast(mean=0.0, std=0.0)
        found = None
        if self._predicted is not None:
            now_rps = predict(trend, trend.at_s).mean
            found = self._predicted.at(name, at_s, floor_rps=now_rps)
        return predict(trend, at_s) if found is None else found

    def _count(self, router: _Router, traffic: ClassTraffic, window_s: float, now_s: float) -> None:
        arrivals, series = traffic.arrivals, router.series.get(traffic.name)
        if series is None:
            series = router.series[traffic.name] = _Series()
            # Some have waited since before this router was heard: there is demand, but no rate.
            arrivals += traffic.queued > arrivals
        series.waiting = traffic.queued
        rate_rps = arrivals / window_s
        series.admitted += series.filter.admit(rate_rps, window_s) * window_s
        if traffic.decoding_ms is not None:
            series.decoding_ms = (series.decoding_ms or 0) + traffic.decoding_ms
        self._lengths.setdefault(traffic.name, Lengths(now_s)).add(traffic, now_s)

    def _of(self, name: ClassName) -> list[_Router]:
        return [router for router in self._routers.values() if name in router.series]

    def _load(self, name: ClassName, forecast: Forecast, ahead_s: float) -> ClassLoad:
        high_rps = forecast.quantile(_HIGH_QUANTILE)
        lengths = self._lengths.get(name)
        return ClassLoad(
            name=name,
            rate_rps=forecast.mean,
            rate_high_rps=min(max(forecast.mean, high_rps), forecast.mean * (1.0 + _MOST_MARGIN)),
            isl_tokens=lengths.isl_tokens if lengths else 0.0,
            osl_tokens=lengths.osl_tokens if lengths else 0.0,
            decoding_rps=lengths.decoding_until(ahead_s, forecast.mean) if lengths else None,
        )
