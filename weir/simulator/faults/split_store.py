"""The store's leader is cut off and does not know it: who speaks to it reads what was."""

from weir.simulator.faults.port import Heal, Stage

__all__ = ["SplitStore"]


class SplitStore:
    name = "split-store"
    help = "some GlobalPlanners speak to a cut-off store: they read old values and write nothing"
    of_roles = True

    def start(self, stage: Stage) -> None:
        store = stage.roles.plane.store

        def begin() -> Heal:
            names = [role.process.name for role in stage.roles.global_planners]
            split = stage.rng.sample(names, stage.rng.randint(1, len(names)))
            for name in split:
                store.split_off(name)
            stage.note("split off", processes=split)

            def heal() -> None:
                for name in split:
                    store.join(name)
                stage.note("over")

            return heal

        stage.episodes(40.0, (2.0, 25.0), begin)
