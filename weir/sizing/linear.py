"""Small linear programs: maximise `worth @ x` with `rows @ x <= limits` and `x >= 0`.

The simplex method on a dense tableau (Dantzig, "Linear Programming and Extensions", 1963).
Limits must not be negative, so x = 0 is a first solution. The entering column is the one
with the largest gain, lowest index first; after many steps without progress it is the
lowest index (Bland, Mathematics of Operations Research 2, 1977), which cannot cycle. With
other limits an optimum stays optimal in its prices, so the next one is found from there in a
few steps (dual simplex; Lemke, Naval Research Logistics Quarterly 1, 1954).
Deterministic: the same calls give the same solutions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "Optimum", "maximise"]

Floats = NDArray[np.float64]

_TINY = 1e-9
_STALLED_STEPS = 50
_MOST_DUAL_STEPS = 100
_MOST_GENERATIONS = 50
"""Rounding errors add up from optimum to optimum; then it is time to begin afresh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimum:
    """`prices`: what one more unit of each limit would add to `value`, at most."""

    value: float
    x: Floats
    prices: Floats
    _tableau: Floats
    _basis: NDArray[np.intp]
    _generation: int = 0

    def with_limits(self, limits: Floats) -> "Optimum | None":
        """The optimum of the same program within other limits; None if it is not near.

        Raises `ValueError` if a limit is negative.
        """
        _check(limits)
        if self._generation >= _MOST_GENERATIONS:
            return None
        tableau, basis = self._tableau.copy(), self._basis.copy()
        columns = len(self.x)
        tableau[:, -1] = tableau[:, columns:-1] @ limits
        if not _pivot_to_feasible(tableau, basis):
            return None
        _pivot_to_optimum(tableau, basis)
        return _optimum(tableau, basis, columns, self._generation + 1)


def maximise(worth: Floats, rows: Floats, limits: Floats) -> Optimum:
    """Solve one program; shapes (columns,), (rows, columns), (rows,).

    Raises `ValueError` if a limit is negative or the value has no bound.
    """
    _check(limits)
    count, columns = rows.shape
    tableau = np.zeros((count + 1, columns + count + 1))
    tableau[:count, :columns] = rows
    tableau[:count, columns:-1] = np.eye(count)
    tableau[:count, -1] = limits
    tableau[-1, :columns] = -worth
    basis = np.arange(columns, columns + count)
    _pivot_to_optimum(tableau, basis)
    return _optimum(tableau, basis, columns)


def _check(limits: Floats) -> None:
    if limits.size and float(limits.min()) < 0.0:
        raise ValueError("limits must be >= 0")


def _optimum(
    tableau: Floats, basis: NDArray[np.intp], columns: int, generation: int = 0
) -> Optimum:
    x = np.zeros(tableau.shape[1] - 1)
    x[basis] = tableau[:-1, -1]
    return Optimum(
        value=float(tableau[-1, -1]),
        x=x[:columns],
        prices=np.maximum(0.0, tableau[-1, columns:-1]),
        _tableau=tableau,
        _basis=basis,
        _generation=generation,
    )


def _pivot_to_optimum(tableau: Floats, basis: NDArray[np.intp]) -> None:
    stalled = 0
    while True:
        gains = tableau[-1, :-1]
        column = int(gains.argmin())
        if gains[column] >= -_TINY:
            return
        if stalled > _STALLED_STEPS:
            column = int(np.flatnonzero(gains < -_TINY)[0])
        row = _leaving(tableau, basis, column)
        before = tableau[-1, -1]
        _pivot(tableau, basis, row, column)
        np.maximum(tableau[:-1, -1], 0.0, out=tableau[:-1, -1])
        stalled = 0 if tableau[-1, -1] > before + _TINY else stalled + 1


def _leaving(tableau: Floats, basis: NDArray[np.intp], column: int) -> int:
    entries = tableau[:-1, column]
    usable = entries > _TINY
    if not usable.any():
        raise ValueError("the value has no bound")
    ratios = np.full(entries.shape, np.inf)
    np.divide(tableau[:-1, -1], entries, out=ratios, where=usable)
    ties = np.flatnonzero(ratios <= ratios.min() + _TINY)
    return int(ties[basis[ties].argmin()])


def _pivot_to_feasible(tableau: Floats, basis: NDArray[np.intp]) -> bool:
    """Mend what other limits have broken, keeping the prices; False if it takes too long."""
    for _ in range(_MOST_DUAL_STEPS):
        row = int(tableau[:-1, -1].argmin())
        if tableau[row, -1] >= -_TINY:
            np.maximum(tableau[:-1, -1], 0.0, out=tableau[:-1, -1])
            return True
        entries = tableau[row, :-1]
        usable = entries < -_TINY
        if not usable.any():
            return False
        ratios = np.full(entries.shape, np.inf)
        np.divide(tableau[-1, :-1], -entries, out=ratios, where=usable)
        _pivot(tableau, basis, row, int(ratios.argmin()))
    return False


def _pivot(tableau: Floats, basis: NDArray[np.intp], row: int, column: int) -> None:
    tableau[row] /= tableau[row, column]
    factors = tableau[:, column].copy()
    factors[row] = 0.0
    tableau -= np.outer(factors, tableau[row])
    basis[row] = column
