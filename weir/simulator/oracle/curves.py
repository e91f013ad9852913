"""From single requests to curves of work over time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bins", "done_by", "per_bin"]

_Floats = NDArray[np.float64]

_SHORTEST_S = 1e-3
"""Work of no duration is spread over this, so that rates stay finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """`count` bins of `bin_s` from `start_s` on."""

    start_s: float
    bin_s: float
    count: int


def done_by(bins: Bins, begin_s: _Floats, duration_s: _Floats, work: _Floats) -> _Floats:
    """All work done by each edge of the bins, if each item is done evenly over its duration."""
    duration_s = np.maximum(duration_s, _SHORTEST_S)
    rate = work / duration_s
    return _ramps(bins, begin_s, rate) - _ramps(bins, begin_s + duration_s, rate)


def per_bin(bins: Bins, begin_s: _Floats, duration_s: _Floats, work: _Floats) -> _Floats:
    """Work done in each bin, if each item is done evenly over its duration."""
    return np.maximum(0.0, np.diff(done_by(bins, begin_s, duration_s, work)))


def _ramps(bins: Bins, begin_s: _Floats, rate: _Floats) -> _Floats:
    """By edge: the sum of rate * (edge - begin) over what began before it."""
    begin_s = begin_s - bins.start_s
    edge = np.ceil(begin_s / bins.bin_s).clip(0, bins.count + 1).astype(np.intp)
    size = bins.count + 2
    begun = np.cumsum(np.bincount(edge, rate, size))[:-1]
    offset = np.cumsum(np.bincount(edge, rate * begin_s, size))[:-1]
    edges_s = bins.bin_s * np.arange(bins.count + 1, dtype=np.float64)
    return edges_s * begun - offset
