"""Kubernetes' HorizontalPodAutoscaler at 70 % utilisation.

Utilisation is what an operator who knows language models would take, as the GPU's own is 100 %
with a single sequence running: see `ReplicaSeen.utilization`. An HPA has at least one replica.
"""

from collections.abc import Mapping

from weir.domain.ids import PoolId
from weir.simulator.policies.autoscaled import Autoscaled
from weir.simulator.policies.kubernetes import SYNC_S, Behaviour, by_utilization
from weir.simulator.policies.port import Policy
from weir.simulator.policies.scaler import Wish
from weir.simulator.policies.seen import PoolSeen

__all__ = ["HpaScaler", "make"]

_TARGET = 0.7


class HpaScaler:
    interval_s = SYNC_S

    def __init__(self) -> None:
        self._behaviours: dict[PoolId, Behaviour] = {}

    def desired(self, seen: Mapping[PoolId, PoolSeen], now_s: float) -> Mapping[PoolId, Wish]:
        return {pool_id: self._wish(pool_id, pool, now_s) for pool_id, pool in seen.items()}

    def _wish(self, pool_id: PoolId, pool: PoolSeen, now_s: float) -> Wish:
        behaviour = self._behaviours.get(pool_id)
        if behaviour is None:
            behaviour = self._behaviours[pool_id] = Behaviour(pool.wanted, now_s)
        utilizations = [replica.utilization for replica in pool.ready]
        unready = max(0, pool.wanted - len(utilizations))
        recommended = max(1, by_utilization(utilizations, unready, pool.wanted, _TARGET))
        mean = sum(utilizations) / len(utilizations) if utilizations else 0.0
        replicas = behaviour.limited(recommended, pool.wanted, now_s)
        return Wish(replicas, f"utilisation {mean:.0%} of {_TARGET:.0%}")


def make(argument: str) -> Policy:
    return Autoscaled(lambda world: HpaScaler())
