"""Why each pool gets what it gets, in one line with its numbers."""

from collections.abc import Mapping, Sequence

import numpy as np

from globalplanner.core.arbiter.snapshot import Lull
from globalplanner.core.arbiter.space import Space
from globalplanner.core.arbiter.spread import Spread
from globalplanner.core.arbiter.stand import Stand
from globalplanner.core.budget.limits import used_up
from weir.domain.ids import ClassName, PoolId
from weir.sizing.basis import Floats

__all__ = ["explain", "explain_classes", "explain_hold"]

_MOST_NAMED = 4


def explain(
    stand: Stand,
    replicas: Sequence[int],
    needed: Spread,
    lulls: Mapping[PoolId, Lull],
    now_s: float,
) -> dict[PoolId, str]:
    """One reason per pool: the change, what is offered, what that needs, what stands in the way."""
    space = stand.space
    offered = needed.rate_rps.sum(axis=1).tolist()
    busy = needed.busy.tolist()
    reasons = {}
    for i, (id, count) in enumerate(zip(space.layout.ids, replicas, strict=True)):
        said = [f"{_change(space, i, count)}: {_need(space, i, offered[i], busy[i])}"]
        said.append(_backlog(space, i))
        said.append(_outcome(stand, i, count, lulls.get(id), now_s))
        reasons[id] = ", ".join(part for part in said if part)
    return reasons


def explain_hold(space: Space, replicas: Sequence[int], why: str) -> dict[PoolId, str]:
    return {
        id: f"{_change(space, i, count)}: {_held(space, i, count, why)}"
        for i, (id, count) in enumerate(zip(space.layout.ids, replicas, strict=True))
    }


def explain_classes(
    stand: Stand, served_rps: Floats, replicas: Sequence[int]
) -> dict[ClassName, str]:
    """One line per class: offered, served within SLO, by which pools, and what limits it."""
    space, layout = stand.space, stand.space.layout
    offered = space.offer.demand.rate_rps.sum(axis=0)
    entering = space.offer.entering
    lines = {}
    for c, name in enumerate(layout.names):
        rates = np.where(entering, served_rps[:, c], 0.0)
        total = float(rates.sum())
        line = f"offered {offered[c]:.1f} rps, served within SLO {total:.1f}"
        if total > 0.05:
            by = [i for i in np.argsort(-rates, kind="stable").tolist() if rates[i] > 0.05]
            shown = [f"{layout.ids[i]} {rates[i]:.1f}" for i in by[:_MOST_NAMED]]
            line += f" by {', '.join(shown)}" + (", ..." if len(by) > _MOST_NAMED else "")
        if total < offered[c] - 0.05:
            line += f"; {_limits(stand, c, replicas)}"
        lines[name] = line
    return lines


def _limits(stand: Stand, c: int, replicas: Sequence[int]) -> str:
    """What keeps a class from being served in full."""
    space, layout = stand.space, stand.space.layout
    able = np.flatnonzero(space.goodput.usable_rps[:, c] > 0.0).tolist()
    if not able:
        return "infeasible: no pools can serve it within SLO, so nothing grows for it"
    at_most = [layout.ids[i] for i in able if replicas[i] >= space.high[i]]
    tight = [limit for k, limit in enumerate(layout.limits) if _tight(stand, k, able)]
    parts = []
    if len(at_most) == len(able) or not tight:
        parts.append(f"at their maximum: {', '.join(at_most[:_MOST_NAMED])}" if at_most else "")
    if tight:
        parts.append(used_up(tight))
    return " and ".join(part for part in parts if part) or "others are worth more"


def _tight(stand: Stand, limit: int, pools: Sequence[int]) -> bool:
    takes = stand.space.layout.takes[limit, [*pools]]
    return bool(takes.any()) and stand.free[limit] < int(takes[takes > 0].min())


def _change(space: Space, pool: int, count: int) -> str:
    before = space.views[pool].replicas
    return f"{count}" if before == count else f"{before} -> {count}"


def _wished(space: Space, pool: int) -> str:
    view = space.views[pool]
    if view.wish is None:
        return ""
    target = f", by its target {view.spec.target}" if view.spec.thresholds is not None else ""
    return f"asked for {view.wish} by its own planner{target}"


def _held(space: Space, pool: int, count: int, why: str) -> str:
    """A pool whose planner says what it needs is not held because demand is unknown."""
    view = space.views[pool]
    wished = _wished(space, pool)
    if view.wish is None or view.held:
        return ", ".join(part for part in (wished, f"held, {view.held or why}") if part)
    if view.ceiling is not None and count >= view.ceiling:
        return f"{wished}, may have {view.ceiling} for now"
    return f"{wished}, the GPUs are used up" if count < view.wish else wished


def _need(space: Space, pool: int, offered_rps: float, busy: float) -> str:
    wished = _wished(space, pool)
    if wished:
        return wished
    if not space.views[pool].capacity_rps:
        return "what a replica serves within SLO is unknown"
    share = space.rules.utilization * 100
    return f"offered {offered_rps:.1f} rps needs {busy:.1f} replicas at {share:.0f} %"


def _backlog(space: Space, pool: int) -> str:
    view = space.views[pool]
    if view.wish is not None:
        return ""
    if view.backlog_replica_s is None:
        return "backlog unknown"
    more = view.backlog_replica_s / space.rules.backlog_horizon_s
    waits = view.backlog_replica_s >= 0.5
    return f"backlog {view.backlog_replica_s:.0f} s needs {more:.1f} more" if waits else ""


def _outcome(stand: Stand, pool: int, count: int, lull: Lull | None, now_s: float) -> str:
    """Why it does not have more, or has fewer."""
    space, view = stand.space, stand.space.views[pool]
    if view.held:
        return f"held, {view.held}"
    if view.ceiling is not None and count >= view.ceiling:
        return f"may have {view.ceiling} for now"
    if lull is not None:
        lasted_s, dwell_s = now_s - lull.since_s, space.rules.dwell_s(view.spec, lull.replicas)
        return f"{lull.replicas} would do for {lasted_s:.0f} of {dwell_s:.0f} s"
    if count < view.replicas:
        if stand.replicas[pool] < space.now[pool]:
            return "gives GPUs up"
        return (
            "" if count >= space.now[pool] else f"for {space.rules.dwell_s(view.spec, count):.0f} s"
        )
    return _short(stand, pool, count)


def _short(stand: Stand, pool: int, count: int) -> str:
    space = stand.space
    if stand.hope(pool) <= space.negligible:
        return ""
    if count >= space.high[pool]:
        return "more would help, it is at its maximum"
    if stand.fits(((pool, 1),)):
        return ""
    needs, limits = stand.needs(((pool, 1),)), space.layout.limits
    watts = all(limits[k].watts for k, need in needs.items() if need > stand.free[k])
    return f"more would help, the {'power is' if watts else 'GPUs are'} used up"
