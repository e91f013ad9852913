"""Cross-checks of a whole fleet: can every pool be reached, every class be served?

An error is a fleet that cannot work as written; a warning one that works, though probably
not as meant.
"""

from collections.abc import Callable, Iterator

from weir.domain.fleet import Fleet
from weir.fleet.budget_checks import budget_findings
from weir.fleet.class_checks import class_findings
from weir.fleet.dynamo_checks import dynamo_findings
from weir.fleet.finding import Finding, in_order
from weir.fleet.pool_checks import pool_findings
from weir.fleet.targets import target_findings
from weir.fleet.tree import Tree
from weir.fleet.window_checks import window_findings
from weir.fleet.zero_checks import zero_findings

__all__ = ["cross_check"]

_CHECKS: tuple[Callable[[Fleet, Tree], Iterator[Finding]], ...] = (
    pool_findings,
    budget_findings,
    window_findings,
    zero_findings,
    class_findings,
    dynamo_findings,
    target_findings,
)


def cross_check(fleet: Fleet, tree: Tree) -> list[Finding]:
    """Everything wrong or doubtful about `fleet`, which was read from `tree`."""
    return in_order(finding for check in _CHECKS for finding in check(fleet, tree))
