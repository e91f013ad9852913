"""The newest traffic samples, for those who ask for them."""

from collections import deque
from collections.abc import Sequence

from router.ports import TrafficSink
from weir import codec
from weir.api.v1 import telemetry_pb2
from weir.domain.telemetry import TrafficSample

__all__ = ["RecentTraffic"]

_KEPT_SAMPLES = 10


class RecentTraffic:
    """Keeps the newest samples for those who ask; a `TrafficSink` that tells `others` too."""

    def __init__(self, others: Sequence[TrafficSink]) -> None:
        self._others = others
        self._samples: deque[telemetry_pb2.TrafficSample] = deque(maxlen=_KEPT_SAMPLES)

    def publish(self, sample: TrafficSample) -> None:
        self._samples.append(codec.encode_traffic(sample))
        for other in self._others:
            other.publish(sample)

    def after(self, sequence: int) -> list[telemetry_pb2.TrafficSample]:
        """Those with a higher one; all if none is as high, for then they are of another process."""
        if not any(sample.sequence >= sequence for sample in self._samples):
            return list(self._samples)
        return [sample for sample in self._samples if sample.sequence > sequence]
