"""Large sparse linear programs by HiGHS, with whole numbers where they are asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "Found", "Rows", "minimise"]

Floats = NDArray[np.float64]

_GAP = 1e-9
"""Of whole numbers, as a share: what is found is the best one."""


@dataclass(slots=True)
class Rows:
    """Sums of columns, each at most its limit."""

    most: list[float] = field(default_factory=list)
    _row: list[int] = field(default_factory=list)
    _column: list[int] = field(default_factory=list)
    _factor: list[float] = field(default_factory=list)

    def add(self, factors: Mapping[int, float], most: float) -> int:
        """The number of the new row."""
        number = len(self.most)
        self.most.append(most)
        self._row += [number] * len(factors)
        self._column += factors.keys()
        self._factor += factors.values()
        return number

    def entries(self) -> tuple[list[float], tuple[list[int], list[int]]]:
        """Factors, and their rows and columns."""
        return self._factor, (self._row, self._column)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """`prices`: what one more of each row's limit would take off the cost; without whole numbers
    only. `proven`: nothing costs less.
    """

    x: Floats
    prices: Floats | None
    proven: bool


def minimise(
    cost: Floats,
    rows: Rows,
    most: Floats,
    low: Floats,
    high: Floats,
    *,
    whole: int,
    within_s: float,
) -> Found | None:
    """The cheapest columns between `low` and `high`, of which the first `whole` are whole numbers.

    `most` are the limits of `rows`. None: none was found in time, or there are none.
    """
    # Takes a second and tens of MB, which nobody should pay who does not ask.
    from scipy import optimize, sparse

    matrix = sparse.csr_array(rows.entries(), shape=(len(most), len(cost)))
    if not whole:
        found = optimize.linprog(
            cost,
            A_ub=matrix,
            b_ub=most,
            bounds=np.column_stack([low, high]),
            method="highs",
            options={"time_limit": within_s},
        )
        if found.status != 0:
            return None
        return Found(x=found.x, prices=-found.ineqlin.marginals, proven=True)
    integrality = np.zeros(len(cost))
    integrality[:whole] = 1
    found = optimize.milp(
        cost,
        constraints=optimize.LinearConstraint(matrix, ub=most),
        bounds=optimize.Bounds(low, high),
        integrality=integrality,
        options={"time_limit": within_s, "mip_rel_gap": _GAP},
    )
    return None if found.x is None else Found(x=found.x, prices=None, proven=found.status == 0)
