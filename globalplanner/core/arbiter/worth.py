"""What replicas are worth where they are, and what one more or fewer would change."""

from collections.abc import Mapping

from globalplanner.core.arbiter.demand import served_by
from globalplanner.core.arbiter.snapshot import Rules, Snapshot
from weir.domain.ids import PoolId

__all__ = ["changed_by"]


def changed_by(
    snapshot: Snapshot,
    rules: Rules,
    replicas: Mapping[PoolId, int],
    steps: Mapping[PoolId, int],
) -> dict[PoolId, float]:
    """By pool, how the value changes if it alone has so many replicas more than `replicas`.

    Weighted requests/s within SLO. Each pool takes as long as a small decision.
    """
    value = _value(snapshot, rules, replicas)
    return {
        id: _value(snapshot, rules, {**replicas, id: max(0, replicas.get(id, 0) + step)}) - value
        for id, step in steps.items()
    }


def _value(snapshot: Snapshot, rules: Rules, replicas: Mapping[PoolId, int]) -> float:
    return sum(rate * stream.worth for stream, rate in served_by(snapshot, rules, replicas))
