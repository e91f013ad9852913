"""B1 to B7, looked at after every event.

Each rule is a small watcher. What can only break when replicas change is looked at when they
do; what is counted is compared after every event.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weir.simulator.world import World

__all__ = ["Invariants"]


class Invariants:
    def __init__(self, world: "World") -> None:
        self._world = world
        self.violations: list[str] = []

    def check(self) -> None:
        pass

    def finish(self) -> None:
        pass
