"""The least GPU-hours that cover a known need, and a bound below which nobody can go.

`need` is in replicas by bin. A pool holds whole replicas; each that starts holds its GPUs for
the start-up before it serves (it is ordered ahead, the need being known), and stops at once.
The replicas of the first bin are there from the start. Covered is the lesser of need and
replicas, bin by bin; what is not covered in its bin is lost.

A Lagrange multiplier prices covered work; at a fixed price the pool separates into levels,
which a small dynamic programme solves (`levels`). The dual value at any price is a lower bound
of the cost of every schedule that covers enough; the best one over all prices is the bound. The
schedule is the one at the least price that covers enough, less the runs it can do without.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weir.simulator.oracle.levels import Levels, Runs

__all__ = ["PoolPlan", "plan_pool"]

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]

_SLACK = 1e-9
"""Share of the work, or replica-bins, that may be missing for reasons of floating point."""

_FIRST_PRICES = np.concatenate([np.geomspace(0.5, 200.0, 16), [1e3, 1e4, 1e6]])
_ROUNDS = 12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PoolPlan:
    """Serving replicas by bin, what they cost, and what any schedule costs at least."""

    replicas: _Ints
    bin_s: float
    start_up_s: float
    gpu_hours: float
    gpu_hours_bound: float

    def orders(self, lead_s: float | None = None) -> _Ints:
        """Replicas to hold from the start of each bin on, so that the planned ones serve.

        A replica is ordered `lead_s` (the start-up time, if not given) before it serves, in
        whole bins.
        """
        lead_s = self.start_up_s if lead_s is None else lead_s
        ahead = min(math.ceil(lead_s / self.bin_s - 1e-9), max(0, len(self.replicas) - 1))
        wanted = self.replicas.copy()
        for shift in range(1, ahead + 1):
            np.maximum(wanted[:-shift], self.replicas[shift:], out=wanted[:-shift])
        return wanted


def plan_pool(
    need: _Floats,
    *,
    bin_s: float,
    start_up_s: float,
    gpus_per_replica: int,
    min_replicas: int,
    max_replicas: int,
    cover: float = 0.995,
    margin: float = 1.0,
) -> PoolPlan:
    """The schedule for `margin` times the need; the bound is of the need itself.

    `cover` is the share of the need that must be covered, or of what `max_replicas` can cover
    if that is less. Raises `ValueError` if an argument is out of range.
    """
    _check(need, bin_s=bin_s, cover=cover, margin=margin, least=min_replicas, most=max_replicas)
    start = _start_bins(len(need), bin_s=bin_s, start_up_s=start_up_s)
    low, high = min_replicas, max_replicas
    exact = _plan(need, start, low, high, cover)
    executed = exact if margin == 1.0 else _plan(margin * need, start, low, high, cover)
    hours = bin_s * gpus_per_replica / 3600.0
    return PoolPlan(
        replicas=executed.replicas,
        bin_s=bin_s,
        start_up_s=start_up_s,
        gpu_hours=executed.cost * hours,
        gpu_hours_bound=exact.bound * hours,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Solution:
    """Costs in replica-bins."""

    replicas: _Ints
    cost: float
    bound: float


def _check(
    need: _Floats, *, bin_s: float, cover: float, margin: float, least: int, most: int
) -> None:
    if need.ndim != 1 or not np.isfinite(need).all() or (need < 0.0).any():
        raise ValueError("need must be one finite number >= 0 for each bin")
    if not (bin_s > 0.0 and margin > 0.0 and 0.0 < cover <= 1.0):
        raise ValueError(f"bin_s {bin_s}, margin {margin} and cover {cover} must be > 0")
    if not 0 <= least <= most:
        raise ValueError(f"min_replicas {least} and max_replicas {most} must be 0 <= min <= max")


def _start_bins(bins: int, *, bin_s: float, start_up_s: float) -> _Floats:
    """What a start costs by the bin it serves from: only start-up within the window counts."""
    return np.minimum(start_up_s / bin_s, np.arange(bins, dtype=np.float64))


def _plan(need: _Floats, start: _Floats, low: int, high: int, cover: float) -> _Solution:
    always = float(np.minimum(need, low).sum())
    levels = Levels.between(need, start, low, high)
    work = always + levels.work
    target = min(cover * float(need.sum()), work) - always
    runs, bound = _cheapest(levels, target, slack=_SLACK * max(1.0, work))
    fixed = float(low * len(need))
    return _Solution(
        replicas=low + runs.on.sum(axis=1, dtype=np.int64),
        cost=fixed + runs.cost,
        bound=fixed + min(bound, runs.cost),
    )


def _cheapest(levels: Levels, target: float, *, slack: float) -> tuple[Runs, float]:
    """Runs that cover `target` less `slack` at little cost, and a bound of the least cost."""
    below = levels.runs(np.zeros(levels.value.shape, bool), 0.0)
    if target <= slack:
        return below, 0.0
    above = levels.runs(levels.value > 0.0, math.inf)  # replaced by the first search
    bound = 0.0
    prices = np.append(_FIRST_PRICES, 2.0 * _most_cost(levels) / slack)
    for _ in range(_ROUNDS):
        for runs in levels.best(prices):
            bound = max(bound, runs.cost + runs.price * (target - runs.covered))
            if runs.covered >= target - slack:
                above = runs
                break
            below = runs
        crossing = _crossing(below, above)
        at_crossing = below.cost + crossing * (target - below.covered)
        if bound >= at_crossing - 1e-9 * max(1.0, at_crossing):
            break
        between = np.geomspace(max(below.price, 1e-3), above.price, 8)[1:-1]
        prices = np.unique(np.append(between, crossing))
    return _trimmed(levels, below, above, target - slack), bound


def _most_cost(levels: Levels) -> float:
    return float(levels.value.size * (1.0 + levels.start.max(initial=0.0)))


def _crossing(below: Runs, above: Runs) -> float:
    """The price at which both are equally good."""
    gained = above.covered - below.covered
    return (above.cost - below.cost) / gained if gained > 0.0 else below.price


def _trimmed(levels: Levels, below: Runs, above: Runs, target: float) -> Runs:
    """`above` without runs that `below` does not have, as long as enough is covered.

    At the price between both these runs are worth what they cost, so none is better than
    another; the longest that fit go first.
    """
    more = above.on & ~below.on
    spare = above.covered - target
    on = above.on.copy()
    pieces = sorted(_pieces(more), key=lambda piece: piece[0] - piece[1])
    for first, end, level in pieces:
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
