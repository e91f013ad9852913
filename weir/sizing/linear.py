"""Small linear programs: maximise `worth @ x` with `rows @ x <= limits` and `x >= 0`.

The simplex method on a dense tableau (Dantzig, "Linear Programming and Extensions", 1963).
Limits must not be negative, so x = 0 is a first solution. The entering column is the one
with the largest gain, lowest index first; after many steps without progress it is the
lowest index (Bland, Mathematics of Operations Research 2, 1977), which cannot cycle.
Deterministic: the same numbers give the same solution.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "Solution", "maximise"]

Floats = NDArray[np.float64]

_TINY = 1e-9
_STALLED_STEPS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """`prices`: what one more unit of each limit would add to `value`, at most."""

    value: float
    x: Floats
    prices: Floats


def maximise(worth: Floats, rows: Floats, limits: Floats) -> Solution:
    """Solve one program; shapes (columns,), (rows, columns), (rows,).

    Raises `ValueError` if a limit is negative or the value has no bound.
    """
    if limits.size and float(limits.min()) < 0.0:
        raise ValueError("limits must be >= 0")
    count, columns = rows.shape
    tableau = np.zeros((count + 1, columns + count + 1))
    tableau[:count, :columns] = rows
    tableau[:count, columns:-1] = np.eye(count)
    tableau[:count, -1] = limits
    tableau[-1, :columns] = -worth
    basis = np.arange(columns, columns + count)
    _pivot_to_optimum(tableau, basis)
    x = np.zeros(columns + count)
    x[basis] = tableau[:count, -1]
    return Solution(
        value=float(tableau[-1, -1]),
        x=x[:columns],
        prices=np.maximum(0.0, tableau[-1, columns:-1]),
    )


def _pivot_to_optimum(tableau: Floats, basis: NDArray[np.intp]) -> None:
    stalled = 0
    while True:
        gains = tableau[-1, :-1]
        column = int(np.argmin(gains))
        if gains[column] >= -_TINY:
            return
        if stalled > _STALLED_STEPS:
            column = int(np.flatnonzero(gains < -_TINY)[0])
        row = _leaving(tableau, basis, column)
        before = tableau[-1, -1]
        _pivot(tableau, row, column)
        basis[row] = column
        stalled = 0 if tableau[-1, -1] > before + _TINY else stalled + 1


def _leaving(tableau: Floats, basis: NDArray[np.intp], column: int) -> int:
    entries = tableau[:-1, column]
    usable = entries > _TINY
    if not usable.any():
        raise ValueError("the value has no bound")
    ratios = np.full(entries.shape, np.inf)
    np.divide(tableau[:-1, -1], entries, out=ratios, where=usable)
    ties = np.flatnonzero(ratios <= ratios.min() + _TINY)
    return int(ties[np.argmin(basis[ties])])


def _pivot(tableau: Floats, row: int, column: int) -> None:
    tableau[row] /= tableau[row, column]
    factors = tableau[:, column].copy()
    factors[row] = 0.0
    tableau -= np.outer(factors, tableau[row])
    np.maximum(tableau[:-1, -1], 0.0, out=tableau[:-1, -1])
