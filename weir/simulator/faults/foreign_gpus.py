"""Others hold GPUs of a node group, and the document says so."""

from dataclasses import replace

from weir.domain.fleet import Fleet
from weir.simulator.faults.document import edit
from weir.simulator.faults.port import Heal, Stage

__all__ = ["ForeignGpus"]


class ForeignGpus:
    name = "foreign-gpus"
    help = "others take GPUs of a node group, which the document tells, and give them back"
    of_roles = True

    def start(self, stage: Stage) -> None:
        groups = stage.world.fleet.node_groups

        def begin() -> Heal | None:
            group = stage.rng.choice(groups)
            gpus = stage.rng.randint(1, group.gpus - 1)

            def change(fleet: Fleet) -> Fleet:
                return replace(
                    fleet,
                    node_groups=tuple(
                        replace(g, foreign_gpus=gpus) if g.name == group.name else g
                        for g in fleet.node_groups
                    ),
                )

            return edit(stage, change, node_group=group.name, gpus=gpus)

        stage.episodes(50.0, (10.0, 50.0), begin)
