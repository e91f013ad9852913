"""KEDA on queue length: an HPA on a metric that all replicas share.

The queue is what Prometheus would tell of a pool's calls, waiting at the gateway or in engines
and running, on the average of the last minute. (Waiting calls alone are none until a pool is
overloaded, and do not say when replicas are too many; a single scrape is mostly noise.) The
target for a replica that decodes are the calls at which it puts out 70 % of its most, as a load
test would find by the document's profile; for a prefill replica it is one call, in work.

As calls become fewer faster than load (with less of it each is quicker), and replicas on their
way do not count, this swings far with the defaults. So at most 10 % of a pool go in a minute.

KEDA's own loop, every 30 s, only switches between none and one replica, and back to none after
300 s without a call.
"""

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from weir.domain.fleet import PoolSpec, Role
from weir.domain.ids import PoolId
from weir.simulator.homes import homes_of
from weir.simulator.policies.autoscaled import Autoscaled
from weir.simulator.policies.caps import Lengths, limits, mean_lengths, sequences_at
from weir.simulator.policies.kubernetes import SYNC_S, Behaviour, by_average_value
from weir.simulator.policies.port import Policy
from weir.simulator.policies.scaler import Wish
from weir.simulator.policies.seen import PoolSeen

if TYPE_CHECKING:
    from weir.simulator.scenario import Scenario

__all__ = ["KedaScaler", "make", "target_calls"]

_SHARE = 0.7
_SCRAPES = 4
_DOWN_SHARE = 0.1
_POLLING_S = 30.0
_COOLDOWN_S = 300.0


def target_calls(spec: PoolSpec, cap: float, lengths: Lengths) -> float:
    """Calls for each replica, which is given up to `cap`."""
    if spec.role is Role.PREFILL:
        return 1.0
    return float(sequences_at(_SHARE, spec.profile, spec.role, cap, lengths))


class _Pool:
    def __init__(self, replicas: int, now_s: float) -> None:
        self.behaviour = Behaviour(replicas, now_s, _DOWN_SHARE)
        self.scraped: deque[int] = deque(maxlen=_SCRAPES)
        self.polled_s = self.busy_s = now_s


class KedaScaler:
    interval_s = SYNC_S

    def __init__(self, targets: Mapping[PoolId, float]) -> None:
        self._targets = targets
        self._pools: dict[PoolId, _Pool] = {}

    def desired(self, seen: Mapping[PoolId, PoolSeen], now_s: float) -> Mapping[PoolId, Wish]:
        return {pool_id: self._wish(pool_id, pool, now_s) for pool_id, pool in seen.items()}

    def _wish(self, pool_id: PoolId, pool: PoolSeen, now_s: float) -> Wish:
        known = self._pools.setdefault(pool_id, _Pool(pool.wanted, now_s))
        replicas = self._replicas(known, pool, self._targets[pool_id], now_s)
        mean = sum(known.scraped) / len(known.scraped)
        return Wish(replicas, f"{mean:.3g} calls, {self._targets[pool_id]:g} for a replica")

    def _replicas(self, known: _Pool, pool: PoolSeen, target: float, now_s: float) -> int:
        known.scraped.append(pool.in_flight)
        if pool.in_flight:
            known.busy_s = now_s
        if now_s - known.polled_s >= _POLLING_S:
            known.polled_s = now_s
            if not pool.wanted:
                return 1 if pool.in_flight else 0
            if not pool.spec.min_replicas and now_s - known.busy_s >= _COOLDOWN_S:
                return 0
        if not pool.wanted:
            return 0
        mean = sum(known.scraped) / len(known.scraped)
        recommended = by_average_value(mean, pool.wanted, target)
        return known.behaviour.limited(max(1, recommended), pool.wanted, now_s)


def make(argument: str) -> Policy:
    return Autoscaled(lambda world: KedaScaler(_targets(world.scenario)))


def _targets(scenario: "Scenario") -> dict[PoolId, float]:
    fleet = scenario.fleet
    homes = homes_of(fleet, fleet.models[0].name)
    limit, lengths = limits(scenario, homes), mean_lengths(scenario, homes)
    return {
        spec.id: target_calls(spec, limit(spec, spec.profile), lengths[spec.id])
        for spec in fleet.pools
    }
