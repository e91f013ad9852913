"""A pool is taken out of the document, and put back later; its planner goes on reporting."""

from dataclasses import replace

from weir.domain.fleet import Fleet
from weir.simulator.faults.document import edit
from weir.simulator.faults.port import Heal, Stage
from weir.simulator.roles.keys import RECORD_KEY

__all__ = ["RemovedPools"]


class RemovedPools:
    name = "removed-pools"
    help = "a pool is taken out of the document, and put back"
    of_roles = True

    def start(self, stage: Stage) -> None:
        pools = [spec.id for spec in stage.world.fleet.pools]

        store = stage.roles.plane.store

        def begin() -> Heal | None:
            if store.get(RECORD_KEY) is None:
                return None  # nobody could know of the pool
            removed = stage.rng.choice(pools)

            def change(fleet: Fleet) -> Fleet:
                return replace(fleet, pools=tuple(p for p in fleet.pools if p.id != removed))

            return edit(stage, change, removed=removed)

        stage.episodes(50.0, (5.0, 50.0), begin)
