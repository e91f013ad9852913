"""What the HorizontalPodAutoscaler makes of a metric, with the defaults of Kubernetes.

A recommendation within 10 % of the present number changes nothing. Downwards the highest one
of the last 300 s counts; upwards a pool may double or grow by 4 in 15 s, whichever is more.
"""

import math
from collections import deque
from collections.abc import Sequence

__all__ = ["SYNC_S", "Behaviour", "by_average_value", "by_utilization"]

SYNC_S = 15.0
_TOLERANCE = 0.1
_DOWN_WINDOW_S = 300.0
_UP_SHARE = 2.0
_UP_PODS = 4


def by_utilization(utilizations: Sequence[float], unready: int, current: int, target: float) -> int:
    """Replicas that bring the mean utilisation of the ready ones (each 0..1) to the target.

    When more are wanted, those that are not ready count as idle ones, so that replicas on their
    way are not ordered twice.
    """
    if not utilizations:
        return current
    ready = len(utilizations)
    ratio = sum(utilizations) / ready / target
    if ratio <= 1.0 or not unready:
        return current if abs(ratio - 1.0) <= _TOLERANCE else math.ceil(ratio * ready - 1e-9)
    counted = ready + unready
    ratio *= ready / counted
    if ratio <= 1.0 + _TOLERANCE:
        return current
    return max(current, math.ceil(ratio * counted - 1e-9))


def by_average_value(total: float, current: int, target: float) -> int:
    """Replicas that bring a metric which they share to the target for each."""
    if current and abs(total / (target * current) - 1.0) <= _TOLERANCE:
        return current
    return math.ceil(total / target - 1e-9)


class Behaviour:
    """Of one pool: turns recommendations into steps. It begins with the present number."""

    def __init__(self, current: int, now_s: float) -> None:
        self._recommended: deque[tuple[float, int]] = deque([(now_s, current)])

    def limited(self, recommendation: int, current: int, now_s: float) -> int:
        """Called once every `SYNC_S`, which is the period of the limit upwards too."""
        recent = self._recommended
        recent.append((now_s, recommendation))
        while recent[0][0] < now_s - _DOWN_WINDOW_S:
            recent.popleft()
        if recommendation > current:
            return min(recommendation, max(int(_UP_SHARE * current), current + _UP_PODS))
        return min(current, max(replicas for _, replicas in recent))
