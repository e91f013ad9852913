"""An operator sets another budget than the document's, and takes that back later."""

from dataclasses import replace

from weir.domain.overrides import Overrides
from weir.simulator.faults.port import Heal, Stage

__all__ = ["LiveBudget"]


class LiveBudget:
    name = "live-budget"
    help = "an operator lowers or raises the GPU budget live, and takes it back"
    of_roles = True

    def start(self, stage: Stage) -> None:
        operator, gpus = stage.roles.operator, stage.world.fleet.budget.gpus

        def set_to(gpus: int | None) -> None:
            def change(overrides: Overrides) -> Overrides:
                return replace(overrides, budget_gpus=gpus)

            operator.want(change)

        def begin() -> Heal:
            wanted = stage.rng.randint(gpus // 2, gpus + gpus // 4)
            stage.note("the budget is set live", gpus=wanted)
            set_to(wanted)
            return heal

        def heal() -> None:
            stage.note("the document's budget counts again")
            set_to(None)

        stage.episodes(40.0, (10.0, 50.0), begin)
