"""The simplex method for flow programs, many at once.

With other times an optimum stays optimal in its prices, so the next one is found from there in a
few steps (dual simplex: Lemke, Naval Research Logistics Quarterly 1, 1954). The value only falls
on the way: a search whose value is below its floor can end. After a change of worths or
capacities the leads are lowered until the prices are admissible; that gives flows that are
possible, from which the primal simplex goes on (Dantzig, "Linear Programming and Extensions",
1963). All programs take a step together, and those that are done drop out.
Deterministic: the same calls give the same solutions.
"""

from itertools import count

import numpy as np

from weir.sizing.basis import LEAST_LEAD, Basis, Floats, Indices, Optimum, Programs, Working

__all__ = ["near", "solve"]

_TINY = 1e-9
_SLACK = 1e-10
"""Of columns that are nearly admissible the one with the largest pivot is taken."""
_DRIFT = 1e-7
_STEPS_UNTIL_REFRESH = 40
"""Rounding errors add up from step to step."""


def solve(programs: Programs, which: Indices, time: Floats, basis: Basis | None = None) -> Optimum:
    """The optima of programs `which`, sooner found from the bases of like ones.

    `time`, shape (which, sources), must not be negative.
    """
    working = Working(programs, which, time)
    working.begin(basis if basis is not None else programs.idle(which))
    working.clip()
    _dual(working)
    found = working.found
    lost = (~found.reached).nonzero()[0]
    if lost.size:
        found.basis.put(lost, programs.idle(which[lost]))
    again = (found.lowered | ~found.reached).nonzero()[0]
    if again.size:
        working = Working(programs, which[again], time[again])
        working.begin(found.basis.take(again))
        _primal(working)
        found.put(again, working.found)
    return found


def near(
    programs: Programs,
    which: Indices,
    time: Floats,
    optimum: Optimum,
    floor: Floats | None = None,
) -> Optimum:
    """The optima of programs `which` from those for other times, which are used up.

    Shapes are as in `solve`. A search ends when the value is seen to be below its `floor`.
    """
    floor = np.full(len(which), -np.inf) if floor is None else floor
    working = Working(programs, which, time, floor)
    working.go_on(optimum)
    _dual(working)
    found = working.found
    lost = ((~found.reached & (found.value >= floor)) | found.lowered).nonzero()[0]
    if lost.size:
        found.put(lost, solve(programs, which[lost], time[lost]))
    return found


def _most_steps(working: Working) -> int:
    return 100 + 5 * int(working.sources + working.rows)


def _dual(working: Working) -> None:
    """Lower the value to what the times and limits allow; the prices are admissible."""
    most_steps, rows = _most_steps(working), working.rows
    floors = bool(np.isfinite(working.floor).any())
    for steps in count(1):
        left = working.time - working.by_source(working.amount)
        both = np.concatenate([working.amount, left], axis=1)
        worst = both.argmin(axis=1)
        below = both[working.b, worst]
        on = below < -working.tolerance
        if floors:
            working.reached = ~on | (working.value >= working.floor)
        if steps > most_steps:
            working.reached = ~on
        on &= working.reached
        if not on.all():
            if not working.leave(on):
                return
            worst, below = worst[on], below[on]
        keys = (worst >= rows).nonzero()[0]
        if keys.size:
            worst[keys] = working.swap(keys, worst[keys] - rows, below[keys])
        if not _dual_step(working, worst, below):
            return
        if steps % _STEPS_UNTIL_REFRESH == 0:
            _refresh(working)


def _refresh(working: Working) -> None:
    working.refresh()
    working.clip()


def _dual_step(working: Working, slot: Indices, below: Floats) -> bool:
    """What is in `slot` gives way to the column that keeps the prices admissible.

    Where no column can, rounding errors have grown too large: that program is given up. Whether
    any goes on.
    """
    b = working.b
    row = working.inverse[b, slot]
    rise, of_key = working.rise(row)
    usable = rise < -_TINY
    ratio = np.full(rise.shape, np.inf)
    np.divide(working.lead - _SLACK, rise, out=ratio, where=usable)
    nearest = ratio.min(axis=1)
    np.divide(working.lead, rise, out=ratio, where=usable)
    best = np.where(ratio <= nearest[:, None], rise, 0.0).argmin(axis=1)
    on = np.isfinite(nearest)
    if not on.all():
        working.reached &= on
        if not working.leave(on):
            return False
        slot, below, best = slot[on], below[on], best[on]
        rise, of_key, ratio = rise[on], of_key[on], ratio[on]
        b = working.b
    step, pivot = np.maximum(ratio[b, best], 0.0), rise[b, best]
    source, column = working.source_of[best], working.column_of[best]
    vectors = working.vectors(b, source, column)
    direction = np.matmul(working.inverse, vectors[:, :, None])[:, :, 0]
    if (np.abs(direction[b, slot] - pivot) > _DRIFT * (1.0 - pivot)).any():
        _refresh(working)
        return True
    rise *= step[:, None]
    working.lead -= rise
    of_key *= step[:, None]
    working.price -= of_key
    working.value = working.value + step * below
    working.pivot(b, slot, source, column, below / pivot, direction)
    return True


def _primal(working: Working) -> None:
    """Raise the value as far as it goes; the flows are possible."""
    most_steps = _most_steps(working)
    for steps in count(1):
        best = working.lead.argmax(axis=1)
        on = working.lead[working.b, best] > LEAST_LEAD
        if steps > most_steps:
            on[:] = False
        if not on.all():
            working.value = working.price_value()
            if not working.leave(on):
                return
            best = best[on]
        _primal_step(working, working.source_of[best], working.column_of[best])
        working.refresh()


def _primal_step(working: Working, source: Indices, column: Indices) -> None:
    """The column of `source` takes as much time as the others can leave to it."""
    b, rows = working.b, working.rows
    vectors = working.vectors(b, source, column)
    direction = np.matmul(working.inverse, vectors[:, :, None])[:, :, 0]
    keys = working.time - working.by_source(working.amount)
    drain = -working.by_source(direction)
    entering = (source >= 0).nonzero()[0]
    drain[entering, source[entering]] += 1.0
    drains = np.concatenate([direction, drain], axis=1)
    left = np.maximum(np.concatenate([working.amount, keys], axis=1), 0.0)
    ratio = np.full(drains.shape, np.inf)
    np.divide(left, drains, out=ratio, where=drains > _TINY)
    first = ratio.argmin(axis=1)
    amount = ratio[b, first]
    is_key = first >= rows
    q = np.where(is_key, first - rows, 0)
    shared = (working.source == q[:, None]).any(axis=1)
    slot = np.where(is_key, 0, first)
    swapped = (is_key & shared).nonzero()[0]
    if swapped.size:
        slots = working.swap(swapped, q[swapped], keys[swapped, q[swapped]])
        direction[swapped, slots] = drain[swapped, q[swapped]]
        slot[swapped] = slots
    alone = (is_key & ~shared).nonzero()[0]
    working.key[alone, source[alone]] = column[alone]
    on = (~is_key | shared).nonzero()[0]
    working.pivot(on, slot[on], source[on], column[on], amount[on], direction[on])
