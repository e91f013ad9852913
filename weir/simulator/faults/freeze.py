"""An operator freezes a pool, or all of them, and thaws them later."""

from dataclasses import replace

from weir.domain.overrides import Overrides
from weir.simulator.faults.port import Heal, Stage

__all__ = ["Freeze"]


class Freeze:
    name = "freeze"
    help = "an operator freezes a pool or all of them, and thaws them"
    of_roles = True

    def start(self, stage: Stage) -> None:
        operator = stage.roles.operator
        pools = [spec.id for spec in stage.world.fleet.pools]

        def begin() -> Heal:
            frozen = pools if stage.rng.random() < 0.3 else [stage.rng.choice(pools)]
            stage.note("frozen", pools=frozen)

            def freeze(overrides: Overrides) -> Overrides:
                return replace(overrides, frozen=dict.fromkeys(frozen, "a fault"))

            operator.want(freeze)
            return heal

        def heal() -> None:
            stage.note("thawed")
            operator.want(lambda overrides: replace(overrides, frozen={}))

        stage.episodes(40.0, (10.0, 50.0), begin)
