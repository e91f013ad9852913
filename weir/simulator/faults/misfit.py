"""The document says that a pool's replicas take more GPUs than those do that run."""

from dataclasses import replace

from weir.domain.fleet import Fleet
from weir.simulator.faults.document import edit
from weir.simulator.faults.port import Heal, Stage

__all__ = ["Misfit"]


class Misfit:
    """The pool's planner goes on with the document that it was started with."""

    name = "misfit"
    help = "the document gives a pool's replicas one GPU more than they have, and is put right"
    of_roles = True

    def start(self, stage: Stage) -> None:
        pools = [spec.id for spec in stage.world.fleet.pools]

        def begin() -> Heal | None:
            misfit = stage.rng.choice(pools)

            def change(fleet: Fleet) -> Fleet:
                return replace(
                    fleet,
                    pools=tuple(
                        replace(p, gpus_per_replica=p.gpus_per_replica + (p.id == misfit))
                        for p in fleet.pools
                    ),
                )

            return edit(stage, change, misfit=misfit)

        stage.episodes(60.0, (5.0, 40.0), begin)
