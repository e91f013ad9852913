"""Looks for the least margin with which the oracle's schedule really keeps every class's target.

Each trial is a whole simulation, so the margins lie on a grid that a few trials search by
halving. A trial ends as soon as more calls of a class have missed their targets than may.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from weir.simulator.call import Call, End
from weir.simulator.policies.oracle import Oracle
from weir.simulator.scenario import Scenario
from weir.simulator.world import World

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MARGINS", "least_margin", "run_oracle"]

MARGINS = (
    *(round(1.0 + 0.02 * step, 2) for step in range(15)),
    *(round(1.3 + 0.05 * step, 2) for step in range(6)),
    *(round(1.6 + 0.1 * step, 2) for step in range(5)),
)
"""2 % apart at first, coarser where only very uneven loads come."""

_FIRST_TRIAL = MARGINS.index(1.14)
_FIRST_STEP = 3


def run_oracle(
    scenario: Scenario,
    build: Callable[[Oracle], World],
    progress: Callable[[str], None] | None = None,
) -> tuple[World, float | None]:
    """The world of the least margin that will do, and that margin.

    None if none does: the world is then that of the largest. `build` makes each world anew.
    """
    say = progress or (lambda line: None)

    def attempt(margin: float) -> World | None:
        world = build(Oracle(margin))
        kept = _kept(world)
        say(f"oracle: margin {margin:.2f} {'will do' if kept else 'is too small'}")
        return world if kept else None

    found = least_margin(attempt)
    if found is not None:
        return found
    world = build(Oracle(MARGINS[-1]))
    world.run()
    return world, None


def least_margin(attempt: Callable[[float], World | None]) -> tuple[World, float] | None:
    """In growing steps from where the answer is most often, then by halving.

    A larger margin is taken to do no worse.
    """
    low, high, best = -1, len(MARGINS), None
    trial, step = _FIRST_TRIAL, _FIRST_STEP
    while high - low > 1:
        world = attempt(MARGINS[trial])
        if world is None:
            low = trial
        else:
            best, high = (world, MARGINS[trial]), trial
        if low < 0:
            trial = max(high - step, 0)
        elif best is None:
            trial = min(low + step, len(MARGINS) - 1)
        else:
            trial = (low + high) // 2
        step *= 2
    return best


class _HopelessError(Exception):
    """A class cannot reach its target any more."""


def _kept(world: World) -> bool:
    """Run it, unless too many calls miss their targets."""
    watch = _Watch(world)
    world.on_end.append(watch.ended)
    try:
        world.run()
    except _HopelessError:
        return False
    return True


class _Watch:
    """Counts calls that missed, as the recorder does, against those that may."""

    def __init__(self, world: World) -> None:
        scenario = world.scenario
        self._events = world.events
        self._feasible = scenario.feasible
        self._count_from_s = scenario.count_from_s
        self._slos = [c.slo for c in scenario.fleet.classes]
        self._spare = _spare(scenario)

    def ended(self, call: Call, end: End) -> None:
        if call.arrived_s < self._count_from_s or not self._feasible[call.id]:
            return
        index = call.class_index
        slo, first_s, gaps = self._slos[index], call.first_s, call.osl_tokens - 1
        if (
            end is End.COMPLETED
            and first_s is not None
            and first_s - call.arrived_s <= slo.ttft_s
            and (not gaps or (self._events.now_s - first_s) / gaps <= slo.itl_s)
        ):
            return
        self._spare[index] -= 1
        if self._spare[index] < 0:
            raise _HopelessError


def _spare(scenario: Scenario) -> list[int]:
    """By class: how many of its calls may miss."""
    counted = scenario.feasible & (scenario.columns.timestamp_s >= scenario.count_from_s)
    judged: NDArray[np.intp] = np.bincount(
        scenario.class_index[counted], minlength=len(scenario.fleet.classes)
    )
    return [
        int((1.0 - item.slo.percentile) * count + 1e-9)
        for item, count in zip(scenario.fleet.classes, judged.tolist(), strict=True)
    ]
