"""What of the fleet's offered load is that of some of its pools.

Routers count classes over all pools. Who plans only some of a stage's pools counts of every class
the share that these have of the stage's legs, as `observe` does for one pool. Counts stay whole
numbers: what is left over goes to the next sample of the class.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from typing import Any

from weir.domain.fleet import Fleet, Stage
from weir.domain.ids import ClassName, PoolId
from weir.domain.telemetry import ClassTraffic, TrafficSample

__all__ = ["Portion", "portion_of"]

_WINDOW_S = 60.0


@dataclass(slots=True, kw_only=True)
class Portion:
    """`own` of the pools `peers`, which share a stage."""

    own: frozenset[PoolId]
    peers: frozenset[PoolId]
    _legs: deque[tuple[float, int, int]] = field(default_factory=deque)
    _left: dict[tuple[ClassName, str], float] = field(default_factory=dict)

    def of(self, sample: TrafficSample, now_s: float) -> TrafficSample:
        """The sample with the classes' counts as far as they are these pools'."""
        if self.own == self.peers:
            return sample
        legs = [pool for pool in sample.pools if pool.pool_id in self.peers]
        own = sum(pool.arrivals for pool in legs if pool.pool_id in self.own)
        self._legs.append((now_s, own, sum(pool.arrivals for pool in legs)))
        share = self._share(now_s)
        return replace(sample, classes=tuple(self._part(each, share) for each in sample.classes))

    def _share(self, now_s: float) -> float:
        while now_s - self._legs[0][0] > _WINDOW_S:
            self._legs.popleft()
        peers = sum(peers for _, _, peers in self._legs)
        if peers:
            return sum(own for _, own, _ in self._legs) / peers
        return len(self.own) / len(self.peers)

    def _part(self, traffic: ClassTraffic, share: float) -> ClassTraffic:
        parts: dict[str, Any] = {}
        for item in fields(traffic):
            count = getattr(traffic, item.name)
            if isinstance(count, int):
                parts[item.name] = self._whole(traffic.name, item.name, share * count)
        return replace(traffic, **parts)

    def _whole(self, name: ClassName, what: str, count: float) -> int:
        count += self._left.get((name, what), 0.0)
        self._left[name, what] = count - int(count)
        return int(count)


def portion_of(fleet: Fleet, own: Collection[PoolId]) -> Portion:
    """Of the stage at which requests come to these pools first."""
    planned = [pool for pool in fleet.pools if pool.id in own]
    enters = any(Stage.PREFILL in pool.role.stages for pool in planned)
    stage = Stage.PREFILL if enters else Stage.DECODE
    peers = frozenset(pool.id for pool in fleet.pools if stage in pool.role.stages)
    return Portion(own=frozenset(own) & peers, peers=peers)
