"""What is asked of a slow fit, and what comes of it: both plain data, to cross a process."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from weir.forecast.samples import Grid

__all__ = ["ArimaFit", "Fit", "FitTask", "Fitted", "ProphetFit"]


@dataclass(frozen=True, slots=True, eq=False)
class FitTask:
    """Fit the model `kind` (arima, prophet) to `grid`, to be used until `ahead_s` after it."""

    kind: str
    grid: Grid
    ahead_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ArimaFit:
    """An ARIMA without season: its coefficients, which any newer data can be put into.

    `centre` is the mean of the series after `differences`, `variance` that of a surprise.
    """

    ar: tuple[float, ...]
    ma: tuple[float, ...]
    differences: int
    centre: float
    variance: float
    step_s: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProphetFit:
    """A forecast already made: row i holds the values at `LEVELS` at `start_s + i * step_s`."""

    values: NDArray[np.float64]
    start_s: float
    step_s: float


Fit = ArimaFit | ProphetFit


class Fitted(Protocol):
    """A predictor whose model is fitted elsewhere; until the first fit it says nothing."""

    def task(self) -> FitTask | None:
        """What to fit now; None if nothing new has come since the last time, or too little."""

    def accept(self, fit: Fit) -> None:
        """Use this fit from now on."""
