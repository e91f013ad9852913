"""Replicas that never become ready."""

from weir.domain.fleet import PoolSpec
from weir.simulator.cluster import StartPlan
from weir.simulator.faults.port import Stage

__all__ = ["FailedStarts"]

_SHARE = 0.3


class FailedStarts:
    name = "failed-starts"
    help = "three in ten replicas die while they start"
    of_roles = False

    def start(self, stage: Stage) -> None:
        def fail(spec: PoolSpec, plan: StartPlan) -> None:
            if stage.is_on and stage.rng.random() < _SHARE:
                plan.fails = True
                plan.delay_s *= stage.rng.random()
                stage.note("start fails", pool=spec.id, delay_s=round(plan.delay_s, 3))

        stage.world.cluster.on_start.append(fail)
