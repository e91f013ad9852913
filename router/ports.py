"""What the router's service needs from outside."""

from typing import Protocol

from weir.domain.telemetry import TrafficSample

__all__ = ["TrafficSink"]


class TrafficSink(Protocol):
    def publish(self, sample: TrafficSample) -> None:
        """Send without waiting; a sample that cannot be sent is dropped and counted."""
