"""Somebody scales a pool by hand, past everybody who plans."""

from weir.simulator.cluster import PoolOfReplicas
from weir.simulator.faults.port import Stage
from weir.simulator.replica import Phase

__all__ = ["ManualEdits"]


class ManualEdits:
    name = "manual-edits"
    help = "somebody starts or stops a few of a pool's replicas by hand"
    of_roles = False

    def start(self, stage: Stage) -> None:
        world, cluster = stage.world, stage.world.cluster

        def happen() -> None:
            pool = stage.rng.choice(list(cluster.pools.values()))
            count = stage.rng.randint(1, 2)
            if stage.rng.random() < 0.5:
                up(pool, count)
            else:
                down(pool, count)

        def up(pool: PoolOfReplicas, count: int) -> None:
            started = sum(cluster.start(pool.spec.id) is not None for _ in range(count))
            if started:
                world.invariants.edited(pool.spec, started)
                stage.note("scaled up by hand", pool=pool.spec.id, replicas=started)

        def down(pool: PoolOfReplicas, count: int) -> None:
            staying = [r for r in pool.replicas.values() if r.phase is not Phase.TERMINATING]
            victims = stage.rng.sample(staying, min(count, len(staying)))
            for replica in victims:
                cluster.stop(replica, world.planner_settings.drain_s)
            if victims:
                stage.note("scaled down by hand", pool=pool.spec.id, replicas=len(victims))

        stage.moments(30.0, happen)
