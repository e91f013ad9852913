"""Others hold GPUs of a node group, and nobody has been told: starts there are refused."""

from weir.simulator.faults.port import Heal, Stage

__all__ = ["OccupiedNodes"]


class OccupiedNodes:
    name = "occupied-nodes"
    help = "others hold all that is free of a node group: starts are refused, and pools withdraw"
    of_roles = True

    def start(self, stage: Stage) -> None:
        cluster = stage.world.cluster

        def begin() -> Heal | None:
            group = stage.rng.choice(cluster.fleet.node_groups)
            pools = [p.spec for p in cluster.pools.values() if p.spec.node_group == group.name]
            free = cluster.free_gpus(pools[0]) if pools else 0
            if free <= 0:
                return None
            cluster.foreign_gpus[group.name] = free
            stage.note("occupied", node_group=group.name, gpus=free)

            def heal() -> None:
                stage.note("free again", node_group=group.name)
                cluster.foreign_gpus.pop(group.name, None)

            return heal

        stage.episodes(40.0, (10.0, 50.0), begin)
