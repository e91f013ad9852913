"""What pools could serve if classes had other targets, before any pool has said so."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial

from globalplanner.core.arbiter.snapshot import PoolView, Rules, Snapshot
from weir.domain.fleet import RequestClass, Role, Slo
from weir.domain.planning import ClassLoad
from weir.domain.profile import EngineProfile
from weir.sizing.capacity import replica_capacity_rps
from weir.sizing.queueing import Queue

__all__ = ["with_classes"]

_Kind = tuple[EngineProfile, Role, int, int]


def with_classes(snapshot: Snapshot, classes: Iterable[RequestClass], rules: Rules) -> Snapshot:
    """`snapshot` with these classes.

    What pools have reported is scaled as their profiles tell for the lengths that are forecast.
    A class whose lengths nobody knows keeps its capacity.
    """
    after = tuple(classes)
    now = {c.name: c for c in snapshot.classes}
    loads = snapshot.loads or {}
    changed = [
        (now[c.name], c, loads[c.name])
        for c in after
        if c.name in loads and c.name in now and c.slo != now[c.name].slo
    ]
    capacity_rps = cache(_capacity_rps)
    pools = tuple(
        _within(view, changed, partial(capacity_rps, rules.utilization)) for view in snapshot.pools
    )
    return replace(snapshot, classes=after, pools=pools)


def _within(
    view: PoolView,
    changed: Iterable[tuple[RequestClass, RequestClass, ClassLoad]],
    capacity_rps: Callable[[_Kind, Slo, ClassLoad], float | None],
) -> PoolView:
    rates = dict(view.capacity_rps)
    for now, then, load in changed:
        if min(load.isl_tokens, load.osl_tokens) > 0.0:
            kind = _kind(view)
            was, would_be = (capacity_rps(kind, slo, load) for slo in (now.slo, then.slo))
            rate_rps = _scaled(rates.pop(now.name, None), was, would_be)
            if rate_rps is not None:
                rates[now.name] = rate_rps
    return replace(view, capacity_rps=rates)


def _scaled(reported: float | None, was: float | None, would_be: float | None) -> float | None:
    """The reported capacity times the ratio of both; the later one where there is no ratio."""
    if not reported or not was or not would_be:
        return would_be
    return reported * would_be / was


def _kind(view: PoolView) -> _Kind:
    """Pools of one kind serve the same: also as many replicas share what waits."""
    spec = view.spec
    return spec.profile, spec.role, spec.context_limit_tokens, max(1, view.replicas)


def _capacity_rps(utilization: float, kind: _Kind, slo: Slo, load: ClassLoad) -> float | None:
    profile, role, context_limit_tokens, replicas = kind
    return replica_capacity_rps(
        profile,
        role,
        slo,
        load.isl_tokens,
        load.osl_tokens,
        utilization=utilization,
        context_limit_tokens=context_limit_tokens,
        queue=Queue(replicas=float(replicas)),
    )
