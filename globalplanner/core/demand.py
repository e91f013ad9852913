"""From what is offered and reported to streams and supplies, whose value can be weighed."""

import math
from collections.abc import Mapping, Sequence

from globalplanner.core.snapshot import PoolView, Rules, Snapshot
from weir.domain.fleet import RequestClass, Role
from weir.domain.ids import ClassName, ModelName, PoolId
from weir.sizing.value import Goodput, Stream, Supply

__all__ = ["backlog_replicas", "goodput_of", "streams_of", "supplies_of"]

_NO_LIMIT: Mapping[PoolId, float] = {}

_PRIORITY_FACTOR = 100.0
_PRIORITY_SPAN = 1e6
"""Classes of a higher priority outweigh lower ones, within what floating point can tell apart."""


def goodput_of(
    snapshot: Snapshot, rules: Rules, most_backlog: Mapping[PoolId, float] = _NO_LIMIT
) -> Goodput:
    """The value function of this moment.

    `most_backlog`: of a pool's queued work only what keeps this many replicas busy counts.
    """
    streams = streams_of(snapshot)
    supplies = supplies_of(snapshot, streams, rules, most_backlog)
    return Goodput(streams, supplies, utilization=rules.utilization)


def supplies_of(
    snapshot: Snapshot,
    streams: Sequence[Stream],
    rules: Rules,
    most_backlog: Mapping[PoolId, float] = _NO_LIMIT,
) -> list[Supply]:
    """What each pool can do, by pool id."""
    return [
        Supply(
            pool_id=view.spec.id,
            role=view.spec.role,
            model=view.spec.model,
            capacity_rps=view.capacity_rps,
            backlog_replicas=min(
                backlog_replicas(view, rules), most_backlog.get(view.spec.id, math.inf)
            ),
            backlog_worth=_replica_worth(view, streams),
        )
        for view in sorted(snapshot.pools, key=lambda view: view.spec.id)
    ]


def backlog_replicas(view: PoolView, rules: Rules) -> float:
    """Replicas that queued work would keep busy, to be done within the horizon."""
    horizons = (view.backlog_replica_s or 0.0) / rules.backlog_horizon_s
    return min(horizons, float(view.spec.max_replicas))


def streams_of(snapshot: Snapshot) -> tuple[Stream, ...]:
    """The offered load by class and model, at the upper quantile of its forecast."""
    loads = snapshot.loads or {}
    worths = _worths(snapshot.classes)
    weights = _pool_weights(snapshot.pools)
    return tuple(
        Stream(
            class_name=c.name,
            model=model,
            rate_rps=share * (loads[c.name].rate_high_rps if c.name in loads else 0.0),
            worth=worths[c.name] * weights[model],
        )
        for c in sorted(snapshot.classes, key=lambda c: c.name)
        for model, share in _split(c.name, snapshot.pools).items()
    )


def _worths(classes: Sequence[RequestClass]) -> dict[ClassName, float]:
    ranks = {p: rank for rank, p in enumerate(sorted({c.priority for c in classes}))}
    steps = max(1, len(ranks) - 1)
    factor = min(_PRIORITY_FACTOR, _PRIORITY_SPAN ** (1.0 / steps))
    return {c.name: c.weight * factor ** ranks[c.priority] for c in classes}


def _pool_weights(pools: Sequence[PoolView]) -> dict[ModelName, float]:
    """Mean weight of each model's pools: what its requests are worth when GPUs are short."""
    by_model: dict[ModelName, list[float]] = {}
    for view in pools:
        by_model.setdefault(view.spec.model, []).append(view.spec.weight)
    return {model: sum(weights) / len(weights) for model, weights in sorted(by_model.items())}


def _split(name: ClassName, pools: Sequence[PoolView]) -> dict[ModelName, float]:
    """A class's share by model, as its requests reach the pools now; equal if unknown."""
    models = sorted({view.spec.model for view in pools})
    seen = dict.fromkeys(models, 0.0)
    for view in pools:
        if view.spec.role is not Role.DECODE:
            seen[view.spec.model] += view.load_rps.get(name, 0.0)
    total = sum(seen.values())
    if total <= 0.0:
        return dict.fromkeys(models, 1.0 / len(models))
    return {model: rate / total for model, rate in seen.items()}


def _replica_worth(view: PoolView, streams: Sequence[Stream]) -> float:
    """Value per second of a busy replica; that of one stage for a prefill or decode pool."""
    able = [
        (stream, view.capacity_rps[stream.class_name])
        for stream in streams
        if stream.model == view.spec.model and view.capacity_rps.get(stream.class_name, 0.0) > 0.0
    ]
    busy = sum(stream.rate_rps / capacity for stream, capacity in able)
    if busy > 0.0:
        worth = sum(stream.rate_rps * stream.worth for stream, _ in able) / busy
    else:
        worth = max((stream.worth * capacity for stream, capacity in able), default=0.0)
    return worth if view.spec.role is Role.AGG else 0.5 * worth
