"""A pool's arrivals by class, where the source counts lengths apart from arrivals.

Prometheus tells how many requests have begun, and of which lengths those were whose length was
counted, which may be others or none. What has begun is the load; the lengths only split it, and
the last split known stands in where a window has none. Without any the load is not known.
"""

from dataclasses import dataclass, field, replace

from weir.domain.ids import ClassName
from weir.domain.telemetry import ClassTraffic, PoolTraffic, TrafficSample

__all__ = ["Split"]


@dataclass(slots=True)
class Split:
    """Of one pool's samples, in the order in which they come."""

    _known: tuple[ClassTraffic, ...] = ()
    _left: dict[ClassName, float] = field(default_factory=dict)

    def of(self, sample: TrafficSample) -> TrafficSample | None:
        """The sample with as many requests in its classes as have begun; None if not known."""
        (pool,) = sample.pools
        counted = sum(traffic.arrivals for traffic in sample.classes)
        if counted:
            self._known = sample.classes
        if counted == pool.arrivals:
            return sample
        if not self._known:
            return None
        return replace(sample, classes=self._classes(sample, pool))

    def _classes(self, sample: TrafficSample, pool: PoolTraffic) -> tuple[ClassTraffic, ...]:
        """Outputs are those of the sample itself: they are of requests that have ended."""
        ended = {traffic.name: traffic for traffic in sample.classes}
        counted = sum(traffic.arrivals for traffic in self._known)
        classes = []
        for known in self._known:
            arrivals = self._whole(known.name, pool.arrivals * known.arrivals / counted)
            now = ended.get(known.name, ClassTraffic(name=known.name))
            isl_tokens = round(arrivals * known.isl_tokens / max(1, known.arrivals))
            classes.append(replace(now, arrivals=arrivals, isl_tokens=isl_tokens))
        return tuple(classes)

    def _whole(self, name: ClassName, count: float) -> int:
        """What is left over goes to the next sample."""
        count += self._left.get(name, 0.0)
        self._left[name] = count - int(count)
        return int(count)
