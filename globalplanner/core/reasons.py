"""Why each pool gets what it gets, in one line with its numbers."""

from collections.abc import Mapping

from globalplanner.core.demand import streams_of
from globalplanner.core.grow import blocked
from globalplanner.core.snapshot import Lull, Rules, Snapshot
from globalplanner.core.space import Allocation, Space
from globalplanner.core.spread import Portion, spread
from weir.domain.ids import PoolId

__all__ = ["explain", "explain_hold"]


def explain(
    space: Space,
    snapshot: Snapshot,
    rules: Rules,
    replicas: Allocation,
    lulls: Mapping[PoolId, Lull],
) -> dict[PoolId, str]:
    """One reason per pool: the change, what is offered, what that needs, what stands in the way."""
    portions = spread(space.goodput, streams_of(snapshot), replicas)
    prices = space.served(replicas).price_by_pool
    limited = blocked(space, replicas)
    reasons = {}
    for id, count in replicas.items():
        said = [f"{_change(space, id, count)}: {_need(space, portions, id, rules)}"]
        said.append(_backlog(space, id, rules))
        if space.views[id].held:
            said.append(f"held, {space.views[id].held}")
        elif id in lulls:
            said.append(_lull(lulls[id], snapshot.now_s, rules))
        elif count < space.views[id].replicas:
            said.append("gives GPUs up" if limited else f"for {rules.scale_down_dwell_s:.0f} s")
        elif prices.get(id, 0.0) > 0.0:
            said.append(_short(space, id, count, limited=limited))
        reasons[id] = ", ".join(part for part in said if part)
    return reasons


def explain_hold(space: Space, replicas: Allocation, why: str) -> dict[PoolId, str]:
    return {id: f"{_change(space, id, count)}: held, {why}" for id, count in replicas.items()}


def _change(space: Space, pool_id: PoolId, count: int) -> str:
    before = space.views[pool_id].replicas
    return f"{count}" if before == count else f"{before} -> {count}"


def _need(space: Space, portions: tuple[Portion, ...], pool_id: PoolId, rules: Rules) -> str:
    if not space.views[pool_id].capacity_rps:
        return "what a replica serves within SLO is unknown"
    rate = sum(portion.rate_by_pool.get(pool_id, 0.0) for portion in portions)
    need = sum(portion.busy_by_pool.get(pool_id, 0.0) for portion in portions)
    return f"offered {rate:.1f} rps needs {need:.1f} replicas at {rules.utilization * 100:.0f} %"


def _backlog(space: Space, pool_id: PoolId, rules: Rules) -> str:
    backlog_s = space.views[pool_id].backlog_replica_s
    if backlog_s is None:
        return "backlog unknown"
    more = backlog_s / rules.backlog_horizon_s
    return f"backlog {backlog_s:.0f} s needs {more:.1f} more" if backlog_s >= 0.5 else ""


def _lull(lull: Lull, now_s: float, rules: Rules) -> str:
    lasted_s = now_s - lull.since_s
    return f"{lull.replicas} would do for {lasted_s:.0f} of {rules.scale_down_dwell_s:.0f} s"


def _short(space: Space, pool_id: PoolId, count: int, *, limited: bool) -> str:
    if count >= space.views[pool_id].spec.max_replicas:
        return "more would help, it is at its maximum"
    return "more would help, the GPUs are used up" if limited else ""
