"""Change the offered rate of a trace without changing its shape."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from weir.workload.columns import TraceColumns
from weir.workload.draws import generator_of

__all__ = ["superpose"]

_MOST_SHIFT_S = 60.0


def superpose(
    columns: TraceColumns,
    factor: float,
    seed: int = 0,
    *,
    start_s: float = -math.inf,
    end_s: float = math.inf,
) -> TraceColumns:
    """`columns` at `factor` times their rate; the same seed, the same result.

    Above 1 there are so many copies of the trace, each shifted by an offset of its own within
    60 s either way, so that they keep the trace's curve and bursts but do not arrive together;
    for the fraction one more copy is there, in which each request is kept with that
    probability. Below 1 only this thinning is left, and at 1 the trace is as it was. A copy's
    requests that leave the trace on one side come back on the other.

    Only requests with `start_s` <= time < `end_s` are returned, the same as without the bounds
    and cheaper than cutting afterwards. Raises `ValueError` if `factor` is not a finite number
    above 0.
    """
    if not 0.0 < factor < math.inf:
        raise ValueError(f"factor must be a finite number > 0, not {factor}")
    if factor == 1.0 or not len(columns):
        return columns.between(start_s, end_s)
    times_s: list[NDArray[np.float64]] = []
    sources: list[NDArray[np.int64]] = []
    for shifted_s, kept in _copies(columns.timestamp_s, factor, generator_of(seed, "superpose")):
        inside = kept[(shifted_s[kept] >= start_s) & (shifted_s[kept] < end_s)]
        times_s.append(shifted_s[inside])
        sources.append(inside)
    joined_s, source = np.concatenate(times_s), np.concatenate(sources)
    order = np.argsort(joined_s, kind="stable")
    return columns.take(source[order]).at(joined_s[order])


def _copies(
    times_s: NDArray[np.float64], factor: float, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Times of all requests of each copy, and which of them the copy keeps."""
    whole, share = int(factor), factor - int(factor)
    everyone = np.arange(len(times_s))
    offsets_s = rng.uniform(-_MOST_SHIFT_S, _MOST_SHIFT_S, whole + 1).tolist()
    for offset_s in offsets_s[:whole]:
        yield _shifted(times_s, offset_s), everyone
    if share:
        kept = everyone[rng.random(len(times_s)) < share]
        yield (_shifted(times_s, offsets_s[whole]) if whole else times_s), kept


def _shifted(times_s: NDArray[np.float64], offset_s: float) -> NDArray[np.float64]:
    """All times later by `offset_s`, around a circle that closes one mean gap after the last."""
    first_s, last_s = float(times_s[0]), float(times_s[-1])
    if last_s == first_s:
        return times_s
    around_s = (last_s - first_s) * len(times_s) / (len(times_s) - 1)
    shifted_s = times_s + math.fmod(offset_s, around_s)
    shifted_s[shifted_s < first_s] += around_s
    shifted_s[shifted_s >= first_s + around_s] -= around_s
    return shifted_s
