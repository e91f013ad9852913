"""Its online model of a forward pass: least squares over at most 64 samples.

Samples are kept by buckets of what they work on, 16 on one axis or 4 x 4 on two; over capacity
the oldest one of the fullest bucket leaves, so that what is rare is not forgotten.
"""

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Regression"]

_CAPACITY = 64
_BUCKETS = 16
_MIN_SAMPLES = 5
_TOLERANCE = 1e-6


class Regression:
    """Duration in seconds over features that are >= 0; `spans` is how large each may get.

    `work` is the index of the feature that must not speed a pass up: a fit in which it does is
    refused. Other coefficients are no less than 0.
    """

    def __init__(self, spans: Sequence[float], work: int) -> None:
        self._spans = tuple(spans)
        self._work = work
        self._per_axis = round(_BUCKETS ** (1.0 / len(self._spans)))
        self._buckets: dict[tuple[int, ...], deque[tuple[float, ...]]] = {}
        self._count = 0
        self._fitted = True
        self._coefficients: NDArray[np.float64] | None = None

    def add(self, features: Sequence[float], duration_s: float) -> None:
        """Samples that took no time are of an idle engine and say nothing."""
        if duration_s <= 0.0:
            return
        bucket = tuple(
            min(self._per_axis - 1, int(self._per_axis * value / span))
            for value, span in zip(features, self._spans, strict=True)
        )
        self._buckets.setdefault(bucket, deque()).append((*features, duration_s))
        self._count += 1
        if self._count > _CAPACITY:
            max(self._buckets.values(), key=len).popleft()
            self._count -= 1
        self._fitted = False

    def estimate_s(self, features: Sequence[float]) -> float | None:
        """None until there are enough samples, and while they make no sense."""
        if not self._fitted:
            self._coefficients = self._fit()
            self._fitted = True
        if self._coefficients is None:
            return None
        first, *slopes = self._coefficients.tolist()
        duration_s = first + sum(s * value for s, value in zip(slopes, features, strict=True))
        return float(duration_s) if duration_s > 0.0 else None

    def _fit(self) -> NDArray[np.float64] | None:
        if self._count < _MIN_SAMPLES:
            return None
        table = np.array([sample for bucket in self._buckets.values() for sample in bucket])
        scale = np.array((1.0, *self._spans))
        features = np.column_stack((np.ones(len(table)), table[:, :-1])) / scale
        found: NDArray[np.float64] = np.linalg.lstsq(features, table[:, -1], rcond=1e-9)[0] / scale
        if found[1 + self._work] < -_TOLERANCE:
            return None
        found[1:] = np.maximum(found[1:], 0.0)
        return found
