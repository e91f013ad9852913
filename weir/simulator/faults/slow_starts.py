"""Replicas that take much longer to start."""

from weir.domain.fleet import PoolSpec
from weir.simulator.cluster import StartPlan
from weir.simulator.faults.port import Stage

__all__ = ["SlowStarts"]

_SHARE = 0.3


class SlowStarts:
    name = "slow-starts"
    help = "three in ten starts take two to six times as long"
    of_roles = False

    def start(self, stage: Stage) -> None:
        def slow(spec: PoolSpec, plan: StartPlan) -> None:
            if stage.is_on and stage.rng.random() < _SHARE:
                plan.delay_s *= stage.rng.uniform(2.0, 6.0)
                stage.note("slow start", pool=spec.id, delay_s=round(plan.delay_s, 3))

        stage.world.cluster.on_start.append(slow)
