"""Predictors around predictors: another scale, and somebody to ask when one says nothing."""

import math

from weir.forecast.outlook import Outlook
from weir.forecast.predictor import Predictor
from weir.forecast.samples import Sample

__all__ = ["Fallback", "Log1p"]

_LARGEST_LOG = 80.0
"""A logarithm beyond this is an artefact of the model; its exponential stays finite."""


class Log1p:
    """Forecasts log(1 + value): changes count by their share, and none goes below zero."""

    def __init__(self, inner: Predictor) -> None:
        self.inner = inner

    def observe(self, sample: Sample) -> None:
        self.inner.observe(Sample(sample.at_s, math.log1p(sample.value), sample.window_s))

    def predict(self, at_s: float, window_s: float) -> Outlook | None:
        outlook = self.inner.predict(at_s, window_s)
        return None if outlook is None else outlook.mapped(_unlog)


class Fallback:
    """As `first` says, and where it says nothing, as `second` does."""

    def __init__(self, first: Predictor, second: Predictor) -> None:
        self.first = first
        self.second = second

    def observe(self, sample: Sample) -> None:
        self.first.observe(sample)
        self.second.observe(sample)

    def predict(self, at_s: float, window_s: float) -> Outlook | None:
        outlook = self.first.predict(at_s, window_s)
        return self.second.predict(at_s, window_s) if outlook is None else outlook


def _unlog(value: float) -> float:
    return math.expm1(min(_LARGEST_LOG, max(0.0, value)))
