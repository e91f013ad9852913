"""Sees to it that routers find the newest plan, whatever becomes of the store."""

import logging

from globalplanner.ports import PlanStore
from globalplanner.service import GlobalPlanner
from weir.domain.errors import UnavailableError
from weir.domain.planning import RoutingPlan
from weir.runtime.clock import Clock
from weir.runtime.lifecycle import Stop

__all__ = ["Publisher"]

_log = logging.getLogger("weir.globalplanner")
_LOOK_S = 0.1


class Publisher:
    """Writes the plan when it changes, and again every `refresh_s` wall seconds."""

    def __init__(self, plans: PlanStore, clock: Clock, *, refresh_s: float) -> None:
        self._plans = plans
        self._clock = clock
        self._refresh_s = refresh_s
        self._written: RoutingPlan | None = None
        self._written_at_s = 0.0
        self._failing = False

    async def run(self, planner: GlobalPlanner, stop: Stop) -> None:
        """Publish until `stop`; an unreachable store is tried again."""
        while not await stop.sleep(_LOOK_S):
            plan = planner.plan
            age_s = self._clock.wall_s() - self._written_at_s
            if planner.term == 0 or plan is None:
                continue
            if plan is self._written and age_s < self._refresh_s:
                continue
            try:
                await self._plans.put(plan)
            except UnavailableError as error:
                if not self._failing:
                    _log.warning("routing plan not written: %s", error)
                self._failing = True
                continue
            self._failing = False
            self._written, self._written_at_s = plan, self._clock.wall_s()
