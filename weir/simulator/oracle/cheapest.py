"""The cheapest runs that cover enough, and what every such schedule costs at least.

A Lagrange multiplier prices covered work. The best schedule at a fixed price is known
(`levels`), and its cost plus the price of what is missing is a lower bound of the cost of every
schedule that covers enough (weak duality); the largest over all prices is the bound. It is
found by bisection, each time also at the price where the two neighbours cost the same, which
ends the search exactly.
"""

import numpy as np
from numpy.typing import NDArray

from weir.simulator.oracle.levels import Levels, Runs

__all__ = ["cheapest", "start_bins"]

_Floats = NDArray[np.float64]

_SLACK = 1e-9
"""Share of the work, or replica-bins, that may be missing for reasons of floating point."""

_FIRST_PRICES = np.concatenate([np.geomspace(0.5, 200.0, 16), [1e3, 1e4, 1e6]])
_ROUNDS = 12


def start_bins(bins: int, *, bin_s: float, start_up_s: float) -> _Floats:
    """Bins that a start costs, by the bin it serves from.

    The replicas of the first bin cost no start, and only start-up within the window counts.
    """
    return np.minimum(start_up_s / bin_s, np.arange(bins, dtype=np.float64))


def cheapest(levels: Levels, target: float) -> tuple[Runs, float]:
    """Runs that cover `target`, at nearly the least cost, and a lower bound of that cost.

    `target` must not be above what the levels can cover.
    """
    slack = _SLACK * max(1.0, levels.work)
    below = levels.runs(np.zeros(levels.value.shape, bool))
    above = levels.runs(levels.value > 0.0)
    if target <= slack:
        return below, 0.0
    bound = 0.0
    # at the last of these prices it is not worth missing as much as the slack
    prices = np.append(_FIRST_PRICES, 2.0 * _most_cost(levels) / slack)
    for _ in range(_ROUNDS):
        for runs in levels.best(prices):
            bound = max(bound, runs.cost + runs.price * (target - runs.covered))
            if runs.covered >= target - slack:
                above = runs
                break
            below = runs
        crossing = _crossing(below, above)
        if bound >= (1.0 - 1e-9) * (below.cost + crossing * (target - below.covered)):
            break
        between = np.geomspace(max(below.price, 1e-3), above.price, 8)[1:-1]
        prices = np.unique(np.append(between, crossing))
    runs = _trimmed(levels, below, above, target - slack)
    return runs, min(bound, runs.cost)


def _most_cost(levels: Levels) -> float:
    return float(levels.value.size * (1.0 + levels.start.max(initial=0.0)))


def _crossing(below: Runs, above: Runs) -> float:
    """The price at which both are equally good."""
    gained = above.covered - below.covered
    return (above.cost - below.cost) / gained if gained > 0.0 else below.price


def _trimmed(levels: Levels, below: Runs, above: Runs, target: float) -> Runs:
    """`above` without runs that `below` does not have either, as long as enough is covered.

    At the price between the two all these runs are worth what they cost, so none is better
    than another; the longest that can be spared go first.
    """
    spare = above.covered - target
    on = above.on.copy()
    pieces = _pieces(above.on & ~below.on)
    for first, end, level in sorted(pieces, key=lambda piece: piece[0] - piece[1]):
        work = float(levels.value[first:end, level].sum())
        if work <= spare:
            on[first:end, level] = False
            spare -= work
    trimmed = levels.runs(on, above.price)
    return trimmed if trimmed.cost < above.cost else above


def _pieces(flags: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """(first bin, bin after the last, level) of each run of consecutive bins."""
    edges = np.diff(np.pad(flags.T, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    level, first = np.nonzero(edges == 1)
    _, end = np.nonzero(edges == -1)
    return list(zip(first.tolist(), end.tolist(), level.tolist(), strict=True))
