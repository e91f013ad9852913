"""An operator drains a pool, and lets it be sized again later."""

from dataclasses import replace

from weir.domain.overrides import Overrides
from weir.simulator.faults.port import Heal, Stage

__all__ = ["Drain"]


class Drain:
    name = "drain"
    help = "an operator drains a pool, and lets it be sized again"
    of_roles = True

    def start(self, stage: Stage) -> None:
        operator = stage.roles.operator
        pools = [spec.id for spec in stage.world.fleet.pools]

        def begin() -> Heal:
            pool_id = stage.rng.choice(pools)
            stage.note("drained", pool=pool_id)

            def drain(overrides: Overrides) -> Overrides:
                return replace(overrides, drained={pool_id: "a fault"})

            operator.want(drain)
            return heal

        def heal() -> None:
            stage.note("sized again")
            operator.want(lambda overrides: replace(overrides, drained={}))

        stage.episodes(50.0, (10.0, 40.0), begin)
