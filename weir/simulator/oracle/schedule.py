"""The schedule of one pool that covers a known need with the least GPU-hours.

`need` is in replicas by bin. A pool holds whole replicas; each that starts holds its GPUs for
the start-up before it serves (it is ordered ahead, the need being known), and stops at once.
The replicas of the first bin are there from the start. Covered is the lesser of need and
replicas, bin by bin; what is not covered in its bin is lost.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weir.simulator.oracle.cheapest import cheapest, start_bins
from weir.simulator.oracle.levels import Levels

__all__ = ["PoolPlan", "plan_pool"]

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


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
    _check(need, bin_s=bin_s, cover=cover, margin=margin)
    if not 0 <= min_replicas <= max_replicas:
        raise ValueError(
            f"min_replicas {min_replicas} must be >= 0 and at most max_replicas {max_replicas}"
        )
    start = start_bins(len(need), bin_s=bin_s, start_up_s=start_up_s)
    exact = _plan(need, start, min_replicas, max_replicas, cover)
    executed = exact
    if margin != 1.0:
        executed = _plan(margin * need, start, min_replicas, max_replicas, cover)
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


def _check(need: _Floats, *, bin_s: float, cover: float, margin: float) -> None:
    if need.ndim != 1 or not np.isfinite(need).all() or (need < 0.0).any():
        raise ValueError("need must be one finite number >= 0 for each bin")
    if not (bin_s > 0.0 and margin > 0.0 and 0.0 < cover <= 1.0):
        raise ValueError(
            f"bin_s {bin_s}, margin {margin} and cover {cover} must be > 0, cover at most 1"
        )


def _plan(need: _Floats, start: _Floats, low: int, high: int, cover: float) -> _Solution:
    levels = Levels.between(need, low, high, start)
    always = float(np.minimum(need, low).sum())
    target = min(cover * float(need.sum()) - always, levels.work)
    runs, bound = cheapest(levels, target)
    fixed = float(low * len(need))
    return _Solution(
        replicas=low + runs.on.sum(axis=1, dtype=np.int64),
        cost=fixed + runs.cost,
        bound=fixed + bound,
    )
