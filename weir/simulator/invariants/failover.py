"""Soon after the last fault on store and planners somebody leads and has decided.

Looked at every second while faults befall the roles. What stands in the way: no GlobalPlanner or
no store is up, one of them has just started, or messages between them may be lost or late.
"""

from typing import TYPE_CHECKING

from weir.simulator.invariants.log import ViolationLog
from weir.simulator.network import Weather

if TYPE_CHECKING:
    from weir.simulator.world import World

__all__ = ["FailoverRule"]

_LONGEST_S = 10.0
_LOOK_S = 1.0


class FailoverRule:
    def __init__(self, world: "World", log: ViolationLog) -> None:
        self._world = world
        self._log = log
        self._seen: object = None
        self._calm_since_s = 0.0
        self._found = False
        self.longest_s = 0.0
        """So long nobody led at most though nothing stood in the way."""

    def watch(self) -> None:
        """From now on."""
        self._calm_since_s = self._world.now_s
        self._world.every(_LOOK_S, self._look)

    def _look(self) -> None:
        now_s, seen = self._world.now_s, self._circumstances()
        if seen is None or seen != self._seen or self._leads():
            if seen is not None and seen == self._seen and not self._found:
                self.longest_s = max(self.longest_s, now_s - self._calm_since_s)
            self._seen, self._calm_since_s, self._found = seen, now_s, False
        elif now_s - self._calm_since_s > _LONGEST_S and not self._found:
            self._found = True
            self._log.found("failover", f"nobody leads after {now_s - self._calm_since_s:.0f} s")

    def _leads(self) -> bool:
        roles = self._world.roles
        planners = [role.planner for role in roles.global_planners] if roles is not None else []
        return any(p is not None and p.term > 0 and p.latest is not None for p in planners)

    def _circumstances(self) -> object:
        """What has to stay as it is for somebody to lead; None if nobody can."""
        roles = self._world.roles
        if roles is None:
            return None
        plane = roles.plane
        store, weather = plane.store, plane.network.weather
        alive = [r.process for r in roles.global_planners if r.process.alive]
        names = {process.name for process in alive}
        apart = any(pair & names and store.process.name in pair for pair in weather.cut)
        if not alive or not store.process.alive or store.is_split or apart or _rough(weather):
            return None
        lives = tuple((process.name, process.life) for process in alive)
        return lives, store.process.life, store.wipes


def _rough(weather: Weather) -> bool:
    return bool(weather.loss or weather.slow or weather.unanswered or "record" in weather.silent)
