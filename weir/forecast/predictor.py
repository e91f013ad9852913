"""The one interface of all predictors: irregular samples in, a distribution at a time out."""

from typing import Protocol

from weir.forecast.outlook import Outlook
from weir.forecast.samples import Sample

__all__ = ["Predictor"]


class Predictor(Protocol):
    """One series. Samples come in order of time; what is not measured is simply left out."""

    def observe(self, sample: Sample) -> None:
        """Take in one measurement, newer than all before."""

    def predict(self, at_s: float, window_s: float) -> Outlook | None:
        """What a measurement over `window_s` that ends at `at_s` will show.

        None while it knows too little, and where it cannot see that far. `at_s` must not lie
        before the last sample.
        """
