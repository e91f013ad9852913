"""Who leads: the GlobalPlanner with the highest term, and only while it can know that.

A leader looks at the store again and again. If a later one has begun it yields for good;
somebody has started that one, so this one does not take the lead back. If the store cannot be
asked it goes on answering, but is not `sure`, and nobody grows. If the store has lost the term, a
later one may have been lost with it: this one begins again, with a new term and an empty ledger.
"""

import logging
from collections.abc import Awaitable, Callable

from globalplanner.ports import TermStore
from globalplanner.service import GlobalPlanner
from weir.domain.errors import UnavailableError
from weir.runtime.clock import Clock
from weir.runtime.lifecycle import Stop

__all__ = ["Leadership"]

_log = logging.getLogger("weir.globalplanner")
_FIRST_RETRY_S = 0.2
_LONGEST_RETRY_S = 2.0


class Leadership:
    """`confirm_s`, `unconfirmed_s`: wall seconds. `announce` is told whenever leading changes."""

    def __init__(
        self,
        terms: TermStore,
        clock: Clock,
        *,
        confirm_s: float,
        unconfirmed_s: float,
        announce: Callable[[bool], Awaitable[None]],
    ) -> None:
        self._terms = terms
        self._clock = clock
        self._confirm_s = confirm_s
        self._unconfirmed_s = unconfirmed_s
        self._announce = announce
        self._confirmed_at_s = float("-inf")
        self._own_term = 0
        self._deposed = False
        self._announced = False

    def sure(self) -> bool:
        """Whether no later leader can have begun more than a moment ago."""
        recent = self._clock.wall_s() - self._confirmed_at_s <= self._unconfirmed_s
        return recent and self._terms.connected and not self._deposed

    async def run(self, planner: GlobalPlanner, stop: Stop) -> None:
        """Take a term, and keep looking whether it is still the newest, until `stop`."""
        failures = 0
        while not stop.requested:
            try:
                await self._step(planner)
                failures = 0
            except UnavailableError as error:
                failures += 1
                self._failed(planner, error, first=failures == 1)
            except Exception:
                failures += 1
                _log.exception("the term could not be looked after; trying again")
            if self._announced != (planner.term > 0):
                self._announced = planner.term > 0
                await self._announce(self._announced)
            retry_s = min(_LONGEST_RETRY_S, _FIRST_RETRY_S * 2.0 ** min(failures, 8))
            await stop.sleep(retry_s if failures else self._confirm_s)

    async def _step(self, planner: GlobalPlanner) -> None:
        if self._deposed:
            return
        asked_at_s = self._clock.wall_s()
        if self._own_term:
            newest = await self._terms.newest()
            if newest > self._own_term:
                self._deposed = True
                planner.yield_to(f"a later GlobalPlanner has taken term {newest}")
                return
            if newest < self._own_term and planner.term:
                planner.yield_to(f"the store has lost term {self._own_term}, it says {newest}")
        if planner.term == 0:
            above = max(planner.seen_term, self._own_term)
            self._own_term = await self._terms.take(above=above)
            planner.lead(self._own_term)
        self._confirmed_at_s = asked_at_s

    def _failed(self, planner: GlobalPlanner, error: UnavailableError, *, first: bool) -> None:
        if planner.term == 0:
            planner.yield_to(f"no term: {error}")
        if first:
            _log.warning("term not confirmed, nobody grows: %s", error)
