"""Replicas that do not go when they are told to."""

from weir.simulator.faults.port import Stage
from weir.simulator.replica import Replica

__all__ = ["StuckPods"]

_SHARE = 0.4


class StuckPods:
    name = "stuck-pods"
    help = "four in ten pods hold their GPUs for up to a minute after they have drained"
    of_roles = False

    def start(self, stage: Stage) -> None:
        def stay(replica: Replica, drain_s: float) -> float | None:
            if not stage.is_on or stage.rng.random() >= _SHARE:
                return None
            stays_s = drain_s + stage.rng.uniform(1.0, 60.0)
            stage.note("pod is stuck", pool=replica.pool_id, replica=replica.id)
            return max(drain_s, min(stays_s, stage.calm_s - stage.world.now_s))

        stage.world.cluster.on_stop.append(stay)
