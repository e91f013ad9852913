"""Processes that die and come back, without what they had in memory."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from weir.simulator.faults.port import Heal, Stage
from weir.simulator.faults.wiped_store import wiped
from weir.simulator.process import Process

if TYPE_CHECKING:
    from weir.simulator.roles.together import Roles

__all__ = ["Crash", "CrashedStore"]


class Crash:
    """One of the processes that `of` names, at a time."""

    of_roles = True

    def __init__(self, name: str, help: str, of: Callable[["Roles"], Sequence[Process]]) -> None:
        self.name = name
        self.help = help
        self._of = of

    def start(self, stage: Stage) -> None:
        def begin() -> Heal | None:
            living = [process for process in self._of(stage.roles) if process.alive]
            if not living:
                return None
            process = stage.rng.choice(living)
            stage.note("crashes", process=process.name)
            process.crash()

            def heal() -> None:
                stage.note("is back", process=process.name)
                process.start()

            return heal

        stage.episodes(30.0, (0.2, 20.0), begin)


class CrashedStore:
    name = "crash-store"
    help = "the store dies and comes back, half of the times without what it had stored"
    of_roles = True

    def start(self, stage: Stage) -> None:
        store = stage.roles.plane.store

        def begin() -> Heal | None:
            if not store.process.alive:
                return None
            store.process.crash()
            wipes = stage.rng.random() < 0.5 and wiped(stage)
            stage.note("crashes", process=store.process.name, wiped=wipes)
            return heal

        def heal() -> None:
            stage.note("is back", process=store.process.name)
            store.process.start()

        stage.episodes(40.0, (0.2, 20.0), begin)
