"""A mergeable histogram of durations: 4 % wide logarithmic buckets, sparse."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, log

__all__ = ["LogHistogram"]

_GROWTH = 1.04
_SMALLEST_S = 1e-4
_LOG_GROWTH = log(_GROWTH)
_MIDDLE = 0.5 * (1.0 + 1.0 / _GROWTH)
"""Of a bucket, over its upper edge."""


@dataclass(slots=True)
class LogHistogram:
    """Counts by bucket. Bucket i holds values in (1e-4·1.04^(i-1), 1e-4·1.04^i]; 0 the rest below.

    A quantile is exact to the width of a bucket (4 %), a mean to half of it.
    """

    counts: dict[int, int] = field(default_factory=dict)
    total: int = 0

    @classmethod
    def of(cls, counts: Mapping[int, int]) -> "LogHistogram":
        return cls(counts=dict(counts), total=sum(counts.values()))

    def add(self, value_s: float, count: int = 1) -> None:
        bucket = 0
        if value_s > _SMALLEST_S:
            bucket = ceil(log(value_s / _SMALLEST_S) / _LOG_GROWTH)
        counts = self.counts
        counts[bucket] = counts.get(bucket, 0) + count
        self.total += count

    def merge(self, other: "LogHistogram") -> None:
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.total += other.total

    def mean(self) -> float | None:
        """Of all values, each taken to be in the middle of its bucket; None if empty."""
        if not self.total:
            return None
        weighed = sum(count * _GROWTH**bucket for bucket, count in self.counts.items())
        return _SMALLEST_S * _MIDDLE * weighed / self.total

    def quantile(self, q: float) -> float | None:
        """Upper edge of the bucket that holds quantile `q` (0..1), None if empty."""
        if not self.total:
            return None
        rank, seen = q * self.total, 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= rank:
                break
        return _SMALLEST_S * _GROWTH**bucket
