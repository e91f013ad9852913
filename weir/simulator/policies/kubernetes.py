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
_DOWN_PERIOD_S = 60.0
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
    """Of one pool: turns recommendations into steps. It begins with the present number.

    `down_share`: the part of a pool that may go in a minute.
    """

    def __init__(self, current: int, now_s: float, down_share: float = 1.0) -> None:
        self._recommended: deque[tuple[float, int]] = deque([(now_s, current)])
        self._gone: deque[tuple[float, int]] = deque()
        self._down_share = down_share

    def limited(self, recommendation: int, current: int, now_s: float) -> int:
        """Called once every `SYNC_S`, which is the period of the limit upwards too."""
        _forget(self._recommended, now_s - _DOWN_WINDOW_S)
        self._recommended.append((now_s, recommendation))
        if recommendation > current:
            return min(recommendation, max(int(_UP_SHARE * current), current + _UP_PODS))
        highest = max(replicas for _, replicas in self._recommended)
        replicas = max(min(current, highest), self._least(current, now_s))
        self._gone.append((now_s, current - replicas))
        return replicas

    def _least(self, current: int, now_s: float) -> int:
        _forget(self._gone, now_s - _DOWN_PERIOD_S + 1e-6)
        before = current + sum(gone for _, gone in self._gone)
        return min(current, int(before * (1.0 - self._down_share)))


def _forget(entries: deque[tuple[float, int]], before_s: float) -> None:
    while entries and entries[0][0] < before_s:
        entries.popleft()
