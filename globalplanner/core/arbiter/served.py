"""Requests/s within SLO by class: counted, and told as people read them."""

from collections.abc import Iterable, Iterator, Mapping

from weir.domain.ids import ClassName
from weir.domain.planning import ClassLoad

__all__ = ["by_class", "change_lines", "rps"]

_NOTABLE_RPS = 0.005


def by_class(
    loads: Mapping[ClassName, ClassLoad], parts: Iterable[tuple[ClassName, float]]
) -> dict[ClassName, float]:
    """Sums of `parts`; 0 for a class of which something is offered and nothing served."""
    rates = {name: 0.0 for name, load in sorted(loads.items()) if load.rate_high_rps > 0.0}
    for name, rate_rps in parts:
        rates[name] = rates.get(name, 0.0) + rate_rps
    return rates


def change_lines(
    before: Mapping[ClassName, float],
    after: Mapping[ClassName, float],
    offered: Mapping[ClassName, float],
) -> Iterator[str]:
    """What classes gain or lose, and then what stays as it is."""
    same = []
    for name in sorted({*before, *after}):
        first, then = before.get(name, 0.0), after.get(name, 0.0)
        if abs(then - first) < _NOTABLE_RPS:
            same.append(name)
            continue
        yield (
            f"{name}: {rps(first)} -> {rps(then)} rps within SLO"
            f" of {rps(offered.get(name, 0.0))} offered"
        )
    for name in same:
        yield (
            f"{name}: {rps(after.get(name, 0.0))} rps within SLO"
            f" of {rps(offered.get(name, 0.0))} offered, as before"
        )


def rps(rate_rps: float) -> str:
    """As many digits as matter."""
    for most, digits in ((1.0, 2), (100.0, 1)):
        if abs(rate_rps) < most:
            return f"{rate_rps:.{digits}f}"
    return f"{rate_rps:.0f}"
