"""An operator sets other targets for a class, and takes them back later."""

from dataclasses import replace

from weir.domain.overrides import ClassTargets, Overrides
from weir.simulator.faults.port import Heal, Stage

__all__ = ["LiveTargets"]


class LiveTargets:
    name = "live-targets"
    help = "an operator sets another TTFT, weight and priority for a class, and takes them back"
    of_roles = True

    def start(self, stage: Stage) -> None:
        operator, rng = stage.roles.operator, stage.rng
        classes = stage.world.fleet.classes

        def begin() -> Heal:
            item = rng.choice(classes)
            targets = ClassTargets(
                ttft_s=item.slo.ttft_s * rng.uniform(0.5, 3.0),
                weight=rng.uniform(0.1, 10.0),
                priority=rng.randint(-2, 2),
            )
            stage.note("targets are set live", **{"class": item.name})

            def change(overrides: Overrides) -> Overrides:
                return replace(overrides, targets={item.name: targets})

            operator.want(change)
            return heal

        def heal() -> None:
            stage.note("the document's targets count again")
            operator.want(lambda overrides: replace(overrides, targets={}))

        stage.episodes(40.0, (10.0, 50.0), begin)
