"""A deployment controller: it keeps as many replicas of each pool as are wanted.

The budget is a quota for it: a replica that would exceed the fleet's GPUs, those of its GPU
class or its nodes is not started before there is room. Replicas that leave hold their GPUs
until they are gone.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from weir.domain.fleet import PoolSpec
from weir.domain.ids import PoolId
from weir.simulator.cluster import PoolOfReplicas
from weir.simulator.journal import Step
from weir.simulator.replica import Phase, Replica

if TYPE_CHECKING:
    from weir.simulator.world import World

__all__ = ["Deployments", "free_gpus", "within"]


def free_gpus(world: "World", spec: PoolSpec) -> int:
    """GPUs that this pool could still take; below 0 if a limit is exceeded."""
    cluster, budget = world.cluster, world.fleet.budget
    free = min(budget.gpus - cluster.held_gpus, cluster.free_gpus(spec))
    limit = budget.by_gpu_class.get(spec.gpu_class)
    if limit is None:
        return free
    pools = cluster.pools.values()
    used = sum(pool.gpus for pool in pools if pool.spec.gpu_class == spec.gpu_class)
    return min(free, limit - used)


class Deployments:
    """`wanted` is by pool, between the pool's least and most replicas.

    `drain_s`: how long a replica that leaves may finish its calls; by the settings, if not given.
    """

    def __init__(self, world: "World", drain_s: float | None = None) -> None:
        self.wanted: dict[PoolId, int] = {spec.id: 0 for spec in world.fleet.pools}
        self._world = world
        self._cluster = world.cluster
        self._drain_s = world.planner_settings.drain_s if drain_s is None else drain_s
        self._due = False
        world.cluster.on_change.append(self._changed)

    def place(self, counts: Mapping[PoolId, int]) -> None:
        """Replicas that have been there before anything began, as far as the quota allows."""
        for spec in self._world.fleet.pools:
            count = within(spec, counts.get(spec.id, 0))
            room = max(0, free_gpus(self._world, spec)) // spec.gpus_per_replica
            self.wanted[spec.id] = count
            self._cluster.place(spec.id, min(count, room))

    def want(self, pool_id: PoolId, count: int, reason: str) -> None:
        """Change what is wanted of a pool; the journal hears of it."""
        before = self.wanted[pool_id]
        count = within(self._cluster.pools[pool_id].spec, count)
        if count != before:
            self.wanted[pool_id] = count
            now_s = self._world.now_s
            step = Step(at_s=now_s, pool_id=pool_id, before=before, after=count, reason=reason)
            self._world.journal.step(step)
        self._adjust(self._cluster.pools[pool_id])

    def _adjust(self, pool: PoolOfReplicas) -> None:
        missing = self.wanted[pool.spec.id] - pool.staying
        while missing > 0 and free_gpus(self._world, pool.spec) >= pool.spec.gpus_per_replica:
            if self._cluster.start(pool.spec.id) is None:
                return
            missing -= 1
        if missing < 0:
            staying = (r for r in pool.replicas.values() if r.phase is not Phase.TERMINATING)
            for replica in sorted(staying, key=_first_to_go)[:-missing]:
                self._cluster.stop(replica, self._drain_s)

    def _changed(self, pool: PoolOfReplicas) -> None:
        """A replica may have died, or GPUs may have come free: look once it is over."""
        if not self._due and not self._world.over:
            self._due = True
            self._world.events.after(0.0, self._look)

    def _look(self, _: object) -> None:
        for pool in self._cluster.pools.values():
            self._adjust(pool)
        self._due = False


def within(spec: PoolSpec, count: int) -> int:
    """The count, or the nearest that the pool may have."""
    return max(spec.min_replicas, min(spec.max_replicas, count))


def _first_to_go(replica: Replica) -> tuple[bool, float, float]:
    """Those that do not serve yet, the newest before others; then those with the least load."""
    return (replica.phase is Phase.READY, replica.load, -replica.started_at_s)
