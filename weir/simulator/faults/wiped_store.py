"""The store loses everything while it is up."""

from weir.simulator.faults.port import Stage

__all__ = ["WipedStore", "wiped"]


class WipedStore:
    name = "wiped-store"
    help = "the store loses everything while it is up"
    of_roles = True

    def start(self, stage: Stage) -> None:
        def happen() -> None:
            if wiped(stage):
                stage.note("wiped")

        stage.moments(80.0, happen)


def wiped(stage: Stage) -> bool:
    """Wipe the store, unless a pool is in nobody's document: then nobody could know of it."""
    world, roles = stage.world, stage.roles
    documents = [world.fleet, *(r.has_read for r in roles.global_planners if r.process.alive)]
    if any(len(each.pools) < len(world.scenario.fleet.pools) for each in documents):
        return False
    roles.plane.store.wipe()
    return True
