"""Which budget window counts at a moment.

A window begins at the first moment at which clocks in its zone show its start, or later, on one of
its days, and ends at the first at which they show its end, or later. So it lasts without a break
when clocks are set back in it, and what an hour that is left out would begin begins after that
hour. Of several windows at a time the first counts.
"""

from bisect import bisect_right
from collections.abc import Sequence

from weir.domain.schedule import DAY_S, BudgetWindow, TimeZone

__all__ = ["holds", "window_at"]

_EPOCH_WEEKDAY = 3
"""1 January 1970 was a Thursday."""
_MOST_SHIFT_S = 2 * DAY_S
"""No two clocks of the world are further apart."""


def window_at(windows: Sequence[BudgetWindow], unix_s: float) -> BudgetWindow | None:
    """The window that counts at this Unix time, None if there is none."""
    return next((window for window in windows if holds(window, unix_s)), None)


def holds(window: BudgetWindow, unix_s: float) -> bool:
    """Whether `unix_s` is in the window."""
    today = (unix_s + _offset_s(window.zone, unix_s)) // DAY_S
    return any(_holds_from(window, int(today) + later, unix_s) for later in (-2, -1, 0, 1))


def _holds_from(window: BudgetWindow, day: int, unix_s: float) -> bool:
    """Whether the window that begins on `day`, counted from the epoch, holds `unix_s`."""
    if (day + _EPOCH_WEEKDAY) % 7 not in window.days:
        return False
    from_s = day * DAY_S + window.from_s
    to_s = from_s + window.length_s
    return _first_s(window.zone, from_s) <= unix_s < _first_s(window.zone, to_s)


def _offset_s(zone: TimeZone, unix_s: float) -> float:
    return zone.offsets_s[bisect_right(zone.since_unix_s, unix_s) - 1]


def _first_s(zone: TimeZone, local_s: float) -> float:
    """The first Unix time at which clocks of the zone show `local_s`, or later."""
    index = bisect_right(zone.since_unix_s, local_s - _MOST_SHIFT_S) - 1
    ends = (*zone.since_unix_s[index + 1 :], float("inf"))
    for since_s, offset_s, until_s in zip(
        zone.since_unix_s[index:], zone.offsets_s[index:], ends, strict=True
    ):
        found_s = max(since_s, local_s - offset_s)
        if found_s < until_s:
            return found_s
    return float("inf")
