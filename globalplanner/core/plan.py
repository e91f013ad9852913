"""The routing plan: what share of each class each pool gets, and where to turn next."""

from collections.abc import Mapping

from globalplanner.core.demand import streams_of
from globalplanner.core.snapshot import SharesByClass, Snapshot, SpillByClass
from globalplanner.core.space import Allocation, Space
from globalplanner.core.spread import spread
from weir.domain.fleet import Role, Stage
from weir.domain.ids import ClassName, PoolId

__all__ = ["differs", "shares_of"]

_DIGITS = 3
_NOTABLE = 0.02


def shares_of(
    space: Space, snapshot: Snapshot, replicas: Allocation
) -> tuple[SharesByClass, SpillByClass]:
    """Shares by what serves now: of the replicas decided on those that are ready.

    As long as nothing is ready shares are by what is decided.
    """
    ready = {id: min(count, space.views[id].ready) for id, count in replicas.items()}
    portions = spread(
        space.goodput, streams_of(snapshot), ready if any(ready.values()) else replicas
    )
    rates: dict[ClassName, dict[Stage, dict[PoolId, float]]] = {}
    for portion in portions:
        stage_rates = rates.setdefault(portion.class_name, {}).setdefault(portion.stage, {})
        for pool_id, rate in portion.rate_by_pool.items():
            stage_rates[pool_id] = stage_rates.get(pool_id, 0.0) + rate
    shares = {
        name: {stage: _normal(by_pool) for stage, by_pool in stages.items()}
        for name, stages in rates.items()
    }
    spill = {
        name: {stage: _spill(space, name, stage, by_pool) for stage, by_pool in stages.items()}
        for name, stages in shares.items()
    }
    return shares, spill


def differs(shares: SharesByClass, others: SharesByClass) -> bool:
    """Whether a share has changed by a notable amount, or a pool has come or gone."""
    if shares.keys() != others.keys():
        return True
    return any(
        shares[name].keys() != others[name].keys()
        or any(_apart(shares[name][stage], others[name][stage]) for stage in shares[name])
        for name in shares
    )


def _apart(shares: Mapping[PoolId, float], others: Mapping[PoolId, float]) -> bool:
    pools = {*shares, *others}
    gaps = [(shares.get(id, 0.0), others.get(id, 0.0)) for id in pools]
    return any(abs(a - b) >= _NOTABLE or (a > 0.0) != (b > 0.0) for a, b in gaps)


def _normal(rates: Mapping[PoolId, float]) -> dict[PoolId, float]:
    """Rounded shares that sum to 1; the largest takes what rounding leaves."""
    total = sum(rates.values())
    shares = {id: round(rate / total, _DIGITS) for id, rate in sorted(rates.items())}
    shares = {id: share for id, share in shares.items() if share > 0.0}
    largest = max(shares, key=lambda id: (shares[id], id))
    rest = sum(share for id, share in shares.items() if id != largest)
    return {**shares, largest: round(1.0 - rest, _DIGITS)}


def _spill(
    space: Space, name: ClassName, stage: Stage, shares: Mapping[PoolId, float]
) -> tuple[PoolId, ...]:
    """Pools of the stage: those with a share, largest first, then others by capacity."""
    decodes = stage is Stage.DECODE
    pools = [view for view in space.views.values() if (view.spec.role is Role.DECODE) is decodes]
    pools.sort(
        key=lambda view: (
            -shares.get(view.spec.id, 0.0),
            -view.capacity_rps.get(name, 0.0),
            view.spec.id,
        )
    )
    return tuple(view.spec.id for view in pools)
