"""How long requests wait at a router for the first worker, where nobody has said it."""

from collections.abc import Iterable

__all__ = ["no_endpoints_s"]

_START_UPS = 2.0
"""A start that is noticed late, or fails once, is waited for."""


def no_endpoints_s(queue_timeout_s: float, start_ups_s: Iterable[float]) -> float:
    """As long as for room, and for the slowest of these start-ups twice."""
    return queue_timeout_s + _START_UPS * max(start_ups_s)
