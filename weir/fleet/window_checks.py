"""Budget windows that never count, or change nothing."""

from collections.abc import Iterator

from weir.domain.fleet import Fleet
from weir.domain.schedule import DAY_S, BudgetWindow
from weir.fleet.finding import Finding, Level, at
from weir.fleet.tree import Path, Tree

__all__ = ["window_findings"]

_MINUTE_S = 60
_WEEK_MINUTES = 7 * DAY_S // _MINUTE_S


def window_findings(fleet: Fleet, tree: Tree) -> Iterator[Finding]:
    """Windows that earlier ones of their time zone cover, and windows without a number."""
    covered: dict[str, set[int]] = {}
    for index, window in enumerate(fleet.budget.windows):
        path: Path = ("spec", "budget", "windows", index)
        earlier = covered.setdefault(window.zone.name, set())
        minutes = _minutes(window)
        if minutes <= earlier:
            message = "never counts: earlier windows hold all of it, and the first one counts"
            yield at(tree, path, message, level=Level.WARNING)
        elif window.gpus is None and window.power_w is None and not window.by_gpu_class:
            message = "changes nothing: give it `gpus`, `gpuClasses` or `power_w`"
            yield at(tree, path, message, level=Level.WARNING)
        earlier |= minutes


def _minutes(window: BudgetWindow) -> set[int]:
    """Those of the week that it holds, from Monday, midnight on."""
    length = window.length_s // _MINUTE_S
    starts = [(day * DAY_S + window.from_s) // _MINUTE_S for day in window.days]
    return {(start + minute) % _WEEK_MINUTES for start in starts for minute in range(length)}
