"""The budget in the document is changed while everything runs, and later changed back."""

from collections.abc import Callable
from dataclasses import replace

from weir.domain.fleet import Fleet
from weir.simulator.faults.document import edit
from weir.simulator.faults.port import Heal, Stage

__all__ = ["ChangedBudget"]


class ChangedBudget:
    name = "budget"
    help = "the GPU budget is lowered or raised in the document, and later put back"
    of_roles = False

    def start(self, stage: Stage) -> None:
        gpus = stage.world.fleet.budget.gpus

        def begin() -> Heal | None:
            wanted = gpus + max(1, round(gpus * stage.rng.uniform(0.1, 0.3)))
            if stage.rng.random() < 0.7:
                wanted = stage.rng.randint(max(1, gpus // 2), max(1, gpus - 1))
            for least in range(wanted, max(wanted, gpus) + 1):
                if least != gpus and (heal := edit(stage, _with_budget(least), gpus=least)):
                    return heal
            return None

        stage.episodes(30.0, (20.0, 60.0), begin)


def _with_budget(gpus: int) -> Callable[[Fleet], Fleet]:
    def change(fleet: Fleet) -> Fleet:
        return replace(fleet, budget=replace(fleet.budget, gpus=gpus))

    return change
