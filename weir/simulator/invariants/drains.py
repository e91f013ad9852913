"""B6: scale-in never cuts a running stream.

A replica that is told to leave goes when its calls have ended or its drain is over, not before.
A pool planner tells a replica that routers may use to leave only after it has been announced as
draining for as long as routers need to hear of it, and no router chooses one that it knows to
be draining.
"""

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING

from router.core.request import Route
from weir.domain.ids import PoolId, WorkerId
from weir.domain.planning import PoolMembers
from weir.simulator.invariants.log import ViolationLog
from weir.simulator.replica import Replica

if TYPE_CHECKING:
    from weir.simulator.world import World

__all__ = ["DrainRule"]

_CLOCK_ERROR = 0.06
"""A process's clock may run so much faster than the others'."""
_ROUNDING_S = 1e-6


class DrainRule:
    """`settle_s`: how long a drain must have been announced."""

    def __init__(self, world: "World", log: ViolationLog, *, settle_s: float) -> None:
        self._world = world
        self._log = log
        self._settle_s = settle_s * (1.0 - _CLOCK_ERROR)
        self._newest: dict[PoolId, tuple[int, int]] = {}
        self._draining_since_s: dict[PoolId, dict[WorkerId, float | None]] = {}
        """Of replicas that routers may know, by pool; None: they may use it."""
        world.cluster.on_remove.append(self._removed)

    def announced(self, members: PoolMembers, life: int) -> None:
        """The store has been given a pool's members, by this life of its planner."""
        pool_id, now_s = members.pool_id, self._world.now_s
        if (life, members.version) <= self._newest.get(pool_id, (0, 0)):
            return
        self._newest[pool_id] = (life, members.version)
        before = self._draining_since_s.get(pool_id, {})
        self._draining_since_s[pool_id] = {
            worker.id: _since(before, worker.id, now_s) if worker.draining else None
            for worker in members.workers
        }

    def stop_ordered(self, pool_id: PoolId, worker_id: WorkerId) -> None:
        """A pool planner tells a replica to leave."""
        known = self._draining_since_s.get(pool_id, {})
        if worker_id not in known:
            return
        since_s = known[worker_id]
        if since_s is None:
            self._log.found("B6", f"{worker_id} is told to leave, but not announced as draining")
        elif self._world.now_s - since_s < self._settle_s - _ROUNDING_S:
            self._log.found(
                "B6",
                f"{worker_id} is told to leave {self._world.now_s - since_s:.3f} s after its drain "
                "was announced",
            )

    def chosen(self, route: Route) -> None:
        """A router sends a call there."""
        for leg in (route.prefill, route.decode):
            if leg is not None and leg.worker.draining:
                self._log.found(
                    "B6", f"{leg.worker.id} gets a call, but its router knows it drains"
                )

    def _removed(self, replica: Replica) -> None:
        left_s = replica.drained_by_s - self._world.now_s
        if replica.in_flight and left_s > _ROUNDING_S:
            self._log.found(
                "B6",
                f"{replica.id} ends under {replica.in_flight} calls, {left_s:.3f} s before its "
                "drain is over",
            )


def _since(before: Mapping[WorkerId, float | None], worker_id: WorkerId, now_s: float) -> float:
    """Since when a draining replica is known to be: one that was never announced, for ever."""
    if worker_id not in before:
        return -inf
    since_s = before[worker_id]
    return now_s if since_s is None else since_s
