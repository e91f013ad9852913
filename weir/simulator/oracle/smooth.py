"""The least demanding way to do work that may wait a little.

Work done by time t lies between what must be done by then and what can be done by then. Of all
ways through that corridor the shortest path (a string pulled tight) has the most even rate: no
other needs fewer replicas at any constant number of them, whatever the share that is to be
covered, since it minimises every convex cost of the rate at once (Salehi et al., "Supporting
stored video: reducing rate variability and end-to-end resource requirements through optimal
smoothing", IEEE/ACM Transactions on Networking 6(4), 1998). It is found by the funnel
algorithm, in time linear in the number of points.
"""

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["tight_string"]

_Floats = NDArray[np.float64]
_Point = tuple[int, float]


def tight_string(least: _Floats, most: _Floats) -> _Floats:
    """The shortest path from `most[0]` to `least[-1]` between the two, at the same points.

    Both are cumulative, do not fall, and are at equal distances; `least` <= `most`. Where
    `least` is below the start, it counts as the start.
    """
    if len(least) < 2:
        return most.copy()
    lower = np.maximum(least, most[0])
    upper = np.maximum(most, lower)
    upper[-1] = lower[-1]
    corners = _corners(lower.tolist(), upper.tolist())
    return np.interp(np.arange(len(least)), [k for k, _ in corners], [y for _, y in corners])


def _corners(lower: Sequence[float], upper: Sequence[float]) -> list[_Point]:
    """Where the path touches: a funnel from its last fixed corner opens to each next gate."""
    apex = (0, upper[0])
    fixed = [apex]
    under = deque([apex])  # along the upper boundary, bending upwards
    over = deque([apex])  # along the lower boundary, bending downwards
    for k in range(1, len(lower)):
        _extend(under, over, (k, upper[k]), 1.0, fixed)
        _extend(over, under, (k, lower[k]), -1.0, fixed)
    return fixed + list(over)[1:]


def _extend(
    side: deque[_Point], other: deque[_Point], point: _Point, sign: float, fixed: list[_Point]
) -> None:
    """Add `point` to its side; corners of the other side that are now passed become fixed."""
    while len(side) > 1 and sign * (_slope(side[-2], side[-1]) - _slope(side[-1], point)) >= 0.0:
        side.pop()
    if len(side) == 1:
        while len(other) > 1 and sign * (_slope(other[0], other[1]) - _slope(other[0], point)) > 0:
            other.popleft()
            fixed.append(other[0])
        side[0] = other[0]
    side.append(point)


def _slope(a: _Point, b: _Point) -> float:
    return (b[1] - a[1]) / (b[0] - a[0])
