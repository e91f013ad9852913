"""The budget in the document is changed while everything runs, and later changed back."""

from dataclasses import replace

from globalplanner.core.limits import check_floors
from weir.domain.errors import InfeasibleFloorsError
from weir.domain.fleet import Fleet
from weir.simulator.faults.port import Heal, Stage
from weir.simulator.process import Process

__all__ = ["ChangedBudget"]

_RESTART_S = (0.2, 3.0)


class ChangedBudget:
    name = "budget"
    help = "the GPU budget is lowered or raised, and later put back"
    of_roles = False

    def start(self, stage: Stage) -> None:
        fleet = stage.world.fleet

        def begin() -> Heal | None:
            gpus = fleet.budget.gpus
            wanted = gpus + max(1, round(gpus * stage.rng.uniform(0.1, 0.3)))
            if stage.rng.random() < 0.7:
                wanted = stage.rng.randint(max(1, gpus // 2), max(1, gpus - 1))
            changed = _with_budget(fleet, wanted)
            if changed.budget.gpus == gpus:
                return None
            _put_in_force(stage, changed)
            return lambda: _put_in_force(stage, fleet)

        stage.episodes(30.0, (20.0, 60.0), begin)


def _with_budget(fleet: Fleet, gpus: int) -> Fleet:
    """With this budget, or the least above it that holds the floors."""
    while True:
        changed = replace(fleet, budget=replace(fleet.budget, gpus=gpus))
        try:
            check_floors(changed)
        except InfeasibleFloorsError:
            gpus += 1
        else:
            return changed


def _put_in_force(stage: Stage, fleet: Fleet) -> None:
    """A GlobalPlanner reads its document when it starts, so it is started again."""
    world = stage.world
    stage.note("the budget is changed", gpus=fleet.budget.gpus)
    world.change_document(fleet)
    if world.roles is None:
        return
    for role in world.roles.global_planners:
        role.fleet = fleet
        if role.process.alive:
            role.process.crash()
            again_s = stage.rng.uniform(*_RESTART_S)
            world.events.after(again_s, _start, role.process)


def _start(process: Process) -> None:
    process.start()
