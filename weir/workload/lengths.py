"""Prompt and output lengths for generated requests."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weir.workload.cells import MAX_TOKENS
from weir.workload.columns import TraceColumns

__all__ = ["Lengths", "drawn_lengths", "fixed_lengths", "lognormal_lengths"]

Lengths = Callable[[NDArray[np.float64], np.random.Generator], TraceColumns]
"""Requests for these arrival times, which are in order."""


def fixed_lengths(isl_tokens: int, osl_tokens: int) -> Lengths:
    """All requests alike."""

    def lengths(times_s: NDArray[np.float64], rng: np.random.Generator) -> TraceColumns:
        alike = np.ones(len(times_s), np.int64)
        return TraceColumns.plain(times_s, isl_tokens * alike, osl_tokens * alike)

    return lengths


def lognormal_lengths(
    isl_tokens: float, osl_tokens: float, *, isl_cv: float, osl_cv: float
) -> Lengths:
    """Log-normal about these means, with these coefficients of variation, independently."""

    def lengths(times_s: NDArray[np.float64], rng: np.random.Generator) -> TraceColumns:
        isl = _lognormal(isl_tokens, isl_cv, len(times_s), rng)
        osl = _lognormal(osl_tokens, osl_cv, len(times_s), rng)
        return TraceColumns.plain(times_s, isl, osl)

    return lengths


def drawn_lengths(trace: TraceColumns) -> Lengths:
    """Requests of a trace, drawn with replacement: both lengths, class, tenant and reuse."""

    def lengths(times_s: NDArray[np.float64], rng: np.random.Generator) -> TraceColumns:
        return trace.take(rng.integers(len(trace), size=len(times_s))).at(times_s)

    return lengths


def _lognormal(mean: float, cv: float, size: int, rng: np.random.Generator) -> NDArray[Any]:
    variance = math.log1p(cv * cv)
    drawn = rng.lognormal(math.log(mean) - variance / 2.0, math.sqrt(variance), size)
    return np.clip(np.rint(drawn), 1, MAX_TOKENS).astype(np.int64)
