"""Reports to the GlobalPlanner in this very process: a `GrantSource` of pool planners."""

from collections.abc import Callable

from globalplanner.core.report import known_classes_only
from globalplanner.service import GlobalPlanner
from poolplanner.ports import Answer, GrantSource, RefusedError, StaleReportError
from weir.domain.errors import UnavailableError
from weir.domain.ids import PoolId
from weir.domain.planning import PoolReport
from weir.runtime.clock import Clock

__all__ = ["LocalGrants"]

_WRITE_WAIT_S = 0.5
"""How long a report's answer waits for the record to be written, as that of a remote one does."""


class LocalGrants:
    """All pools'. Later grants wake the pool that they are for."""

    def __init__(self, planner: GlobalPlanner) -> None:
        self._planner = planner
        self._pushed: dict[PoolId, Callable[[], None]] = {}
        self._told: dict[PoolId, tuple[int, int] | None] = {}
        planner.on_news.append(self._push)

    def source_of(self, pool_id: PoolId, pushed: Callable[[], None]) -> GrantSource:
        self._pushed[pool_id] = pushed
        return self

    async def report(self, report: PoolReport) -> Answer:
        planner = self._planner
        classes = {each.name for each in planner.fleet.classes}
        known, _ = known_classes_only(report, classes)
        try:
            planner.report(known)
        except ValueError as error:
            raise RefusedError(str(error)) from None
        until_s = Clock.wall_s() + _WRITE_WAIT_S
        while planner.pending(report.pool_id) and (left_s := until_s - Clock.wall_s()) > 0.0:
            await planner.news(left_s)
        if (why := planner.not_ready()) is not None:
            raise UnavailableError(f"the planner of the budget {why}")
        newest = planner.newest_sequence(report.pool_id)
        if newest > report.sequence:
            raise StaleReportError(sequence=report.sequence, newest=newest)
        self._told[report.pool_id] = self._number(report.pool_id)
        return Answer(grant=planner.grant_of(report.pool_id), targets=planner.targets)

    def _push(self) -> None:
        for pool_id, pushed in self._pushed.items():
            number = self._number(pool_id)
            if number is not None and number != self._told.get(pool_id):
                self._told[pool_id] = number
                pushed()

    def _number(self, pool_id: PoolId) -> tuple[int, int] | None:
        grant = self._planner.grant_of(pool_id)
        return grant.number if grant is not None else None
