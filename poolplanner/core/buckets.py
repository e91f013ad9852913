"""Counters that may begin anew, and the buckets of a histogram as durations."""

import math
from collections.abc import Iterable, Mapping

from weir.domain.histogram import LogHistogram

__all__ = ["MOST", "durations", "increase", "per_bucket"]

MOST = 2.0**53
"""Nothing that is counted is more: from here on floats skip whole numbers."""

_PARTS = 8


def increase(before: float | None, after: float) -> float:
    """What a counter has gained; one that fell, or was not there, has begun at zero."""
    if before is None or after < before:
        return max(0.0, after)
    return after - before


def per_bucket(cumulative: Mapping[float, float]) -> list[tuple[float, float, float]]:
    """Lower edge, upper edge and count of each bucket with something in it.

    `cumulative`: by upper edge, as Prometheus has them. Counts that fall where they cannot are
    taken as no gain.
    """
    buckets, low, below = [], 0.0, 0.0
    for edge in sorted(cumulative):
        count = cumulative[edge] - below
        if count > 0.0:
            buckets.append((low, edge, count))
            below = cumulative[edge]
        low = edge
    return buckets


def durations(buckets: Iterable[tuple[float, float, float]]) -> LogHistogram:
    """Counts spread evenly over their buckets, so that a quantile is off by a bucket at most.

    What is beyond the last finite edge is known to be at least that.
    """
    histogram = LogHistogram()
    for low, high, count in buckets:
        whole = round(count)
        parts = 1 if math.isinf(high) else min(_PARTS, whole)
        for part in range(parts):
            share = whole * (part + 1) // parts - whole * part // parts
            inside = low if math.isinf(high) else low + (high - low) * (part + 0.5) / parts
            histogram.add(inside, share)
    return histogram
