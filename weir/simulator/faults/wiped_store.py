"""The store loses everything while it is up, and its revisions begin anew."""

from weir.simulator.faults.port import Stage

__all__ = ["WipedStore"]


class WipedStore:
    name = "wiped-store"
    help = "the store loses everything while it is up, and counts its revisions anew"
    of_roles = True

    def start(self, stage: Stage) -> None:
        store = stage.roles.plane.store

        def happen() -> None:
            store.wipe()
            stage.note("wiped")

        stage.moments(80.0, happen)
