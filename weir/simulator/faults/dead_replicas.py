"""Replicas that die under their calls."""

from weir.simulator.faults.port import Stage

__all__ = ["DeadReplicas"]


class DeadReplicas:
    name = "dead-replicas"
    help = "a replica dies in the middle of its streams"
    of_roles = False

    def start(self, stage: Stage) -> None:
        cluster = stage.world.cluster

        def happen() -> None:
            living = [r for pool in cluster.pools.values() for r in pool.replicas.values()]
            busy = [replica for replica in living if replica.in_flight]
            if living:
                replica = stage.rng.choice(busy or living)
                stage.note(
                    "dies", pool=replica.pool_id, replica=replica.id, calls=replica.in_flight
                )
                cluster.kill(replica)

        stage.moments(30.0, happen)
