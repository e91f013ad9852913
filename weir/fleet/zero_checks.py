"""Pools that go to zero: requests that wait for the first replica must live to see it."""

from collections.abc import Iterator

from weir.domain.fleet import Fleet, PoolSpec
from weir.domain.waits import no_endpoints_s
from weir.fleet.finding import Finding, Level, at
from weir.fleet.settings import RouterSettings
from weir.fleet.tree import Tree

__all__ = ["zero_findings"]

_ROUTER = ("spec", "router")
_NOTICED_S = 5.0
"""Until a request is known, a start is decided on and ordered, and its end is known."""


def zero_findings(fleet: Fleet, tree: Tree) -> Iterator[Finding]:
    """Queue timeouts below what a start from nothing takes, and settings without effect."""
    for index, pool in enumerate(fleet.pools):
        path = ("spec", "pools", index)
        if pool.min_replicas > 0:
            if tree.get((*path, "scale_to_zero_after_s")) is not None:
                message = f"is ignored: min_replicas is {pool.min_replicas}"
                where = (*path, "scale_to_zero_after_s")
                yield at(tree, where, message, level=Level.WARNING)
            continue
        timeout_s = _waits_s(fleet, pool, tree)
        if pool.max_replicas and _last(pool, fleet) and timeout_s < pool.start_up_s + _NOTICED_S:
            message = (
                f"lets it have no replica, and a start takes {pool.start_up_s:g} s: requests wait "
                f"{timeout_s:g} s for one (spec.router.no_endpoints_timeout_s); let them wait "
                f"{pool.start_up_s + _NOTICED_S:g} s, or keep a replica"
            )
            yield at(tree, (*path, "min_replicas"), message, level=Level.WARNING)


def _waits_s(fleet: Fleet, pool: PoolSpec, tree: Tree) -> float:
    """How long requests wait for the first replica of the pool's model."""
    given = tree.get((*_ROUTER, "no_endpoints_timeout_s"))
    if isinstance(given, int | float):
        return float(given)
    queue_s = tree.get((*_ROUTER, "queue_timeout_s"))
    if not isinstance(queue_s, int | float):
        queue_s = RouterSettings().queue_timeout_s
    return no_endpoints_s(queue_s, (p.start_up_s for p in fleet.pools if p.model == pool.model))


def _last(pool: PoolSpec, fleet: Fleet) -> bool:
    """Whether no other pool of its model has a replica for its stages in any case."""
    return not any(
        other.model == pool.model
        and other.min_replicas > 0
        and {*pool.role.stages} <= {*other.role.stages}
        for other in fleet.pools
    )
