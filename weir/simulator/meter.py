"""What pools did in the counted time: the difference between its end and its beginning."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from weir.domain.ids import PoolId

if TYPE_CHECKING:
    from weir.simulator.world import World

__all__ = ["Meter", "PoolWork"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolWork:
    """`busy_s`: seconds that engines computed. `ready` is the number at the end."""

    busy_s: float = 0.0
    started: int = 0
    stopped: int = 0
    ready: int = 0

    def since(self, before: "PoolWork") -> "PoolWork":
        return PoolWork(
            busy_s=self.busy_s - before.busy_s,
            started=self.started - before.started,
            stopped=self.stopped - before.stopped,
            ready=self.ready,
        )


class Meter:
    """Made before the world runs; read when it is over."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._begin: dict[PoolId, PoolWork] = {}
        self._end: dict[PoolId, PoolWork] = {}
        world.events.at(world.scenario.count_from_s, self._look, self._begin)
        world.events.at(world.scenario.end_s, self._look, self._end)

    def work(self, pool_id: PoolId) -> PoolWork:
        return self._end[pool_id].since(self._begin[pool_id])

    def _look(self, into: dict[PoolId, PoolWork]) -> None:
        now_s = self._world.now_s
        for id, pool in self._world.cluster.pools.items():
            into[id] = PoolWork(
                busy_s=pool.busy_s(now_s),
                started=pool.started,
                stopped=pool.stopped,
                ready=len(pool.ready),
            )
