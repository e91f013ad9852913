"""The GlobalPlanner: reports and traffic in, grants and the routing plan out.

Reports are answered and decisions made without awaiting, so they need no lock. It leads while
it has a `Ledger`; `leadership` sees to that, `publisher` to the plan reaching the routers.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from globalplanner.core.arbitrate import arbitrate
from globalplanner.core.ledger import Ledger
from globalplanner.core.limits import check_floors
from globalplanner.core.offered import OfferedLoad
from globalplanner.core.overview import Moment, Overview
from globalplanner.core.plan import differs
from globalplanner.core.report import check_report
from globalplanner.core.snapshot import Decision, Memory, Rules
from globalplanner.metrics import Metrics
from globalplanner.standing import Change, Standing, pool_standings
from weir.domain.errors import StaleTermError, UnavailableError, UnknownPoolError
from weir.domain.fleet import Fleet
from weir.domain.ids import ClassName, PoolId
from weir.domain.planning import Grant, PoolReport, RoutingPlan
from weir.domain.telemetry import TrafficSample
from weir.forecast.trend import Forecast
from weir.runtime.clock import Clock
from weir.runtime.lifecycle import Stop

__all__ = ["SETTLE_WALL_S", "GlobalPlanner", "Patience"]

_log = logging.getLogger("weir.globalplanner")
_CHANGES_KEPT = 200
SETTLE_WALL_S = 0.05
"""After a report that changes what is held, others may be about to come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """`interval_s`, `stale_s`: model seconds. `grant_valid_s`, `silent_s`: wall seconds."""

    interval_s: float
    stale_s: float
    grant_valid_s: float
    silent_s: float


@dataclass(slots=True)
class _Tally:
    """What outlives a term."""

    peak_charged_gpus: int = 0
    violations: int = 0
    changes: deque[Change] = field(default_factory=lambda: deque(maxlen=_CHANGES_KEPT))
    changed: int = 0


class GlobalPlanner:
    """`may_grow` tells, at any moment, whether this leader is sure that it still leads.

    Raises `InfeasibleFloorsError` if the fleet's floors do not fit its limits.
    """

    def __init__(
        self,
        fleet: Fleet,
        rules: Rules,
        patience: Patience,
        clock: Clock,
        metrics: Metrics,
        *,
        may_grow: Callable[[], bool],
    ) -> None:
        check_floors(fleet)
        self._fleet = fleet
        self._rules = rules
        self._patience = patience
        self._clock = clock
        self._metrics = metrics
        self._may_grow = may_grow
        self._overview = Overview(
            fleet=fleet,
            ahead_s=max(pool.start_up_s for pool in fleet.pools) + patience.interval_s,
            stale_s=patience.stale_s,
            silent_s=patience.silent_s,
        )
        self._offered = OfferedLoad(
            (c.name for c in fleet.classes),
            stale_s=patience.stale_s,
            window_s=patience.interval_s,
        )
        self._memory = Memory()
        self._tally = _Tally()
        self.wake = asyncio.Event()
        """Set when what pools hold has changed: it is time to decide."""
        self._ledger: Ledger | None = None
        self._led_since_s = 0.0
        self._why_not_leading = "has no term yet"
        self._holding = ""
        self.plan: RoutingPlan | None = None
        """The newest routing plan of this term."""
        self.seen_term = 0
        """The highest term that a pool has named."""

    @property
    def ledger(self) -> Ledger | None:
        """What this leader has granted, to be read only; None while it does not lead."""
        return self._ledger

    @property
    def ahead_s(self) -> float:
        """How far ahead it forecasts, in model seconds."""
        return self._overview.ahead_s

    def forecasts(self) -> Mapping[ClassName, Forecast]:
        """Rates of the classes so far ahead; reading them changes nothing."""
        return self._offered.forecasts(self._clock.now_s(), ahead_s=self.ahead_s)

    @property
    def term(self) -> int:
        """This leader's number, 0 if it does not lead."""
        return self._ledger.term if self._ledger is not None else 0

    @property
    def peak_charged_gpus(self) -> int:
        """The most that was charged at once, in all terms of this process."""
        current = self._ledger.peak_charged_gpus if self._ledger is not None else 0
        return max(self._tally.peak_charged_gpus, current)

    @property
    def violations(self) -> int:
        """How often charges went above a limit, in all terms of this process."""
        current = self._ledger.violations if self._ledger is not None else 0
        return self._tally.violations + current

    def changes_after(self, count: int) -> list[Change]:
        """Those after the first `count` changes of this process, as far as they are kept."""
        kept = self._tally.changes
        return list(kept)[max(0, len(kept) - max(0, self._tally.changed - count)) :]

    def not_ready(self) -> str | None:
        """Why this process does not lead; None if it does."""
        return None if self._ledger is not None else f"does not lead: {self._why_not_leading}"

    def lead(self, term: int) -> None:
        """Begin to lead with an empty ledger."""
        self._ledger = Ledger(self._fleet, term=term, valid_s=self._patience.grant_valid_s)
        self._led_since_s = self._clock.wall_s()
        self._memory = Memory()
        self.plan = None
        self._metrics.leads(term)
        _log.info("leading term=%d budget_gpus=%d", term, self._fleet.budget.gpus)

    def yield_to(self, why: str) -> None:
        """Stop leading: no report is answered from now on."""
        if self._ledger is not None:
            _log.warning("no longer leading term=%d: %s", self._ledger.term, why)
            self._tally.peak_charged_gpus = self.peak_charged_gpus
            self._tally.violations = self.violations
        self._ledger = None
        self._why_not_leading = why
        self._metrics.leads(0)

    def report(self, report: PoolReport) -> Grant | None:
        """Take in one pool's report; the answer is its newest grant, None if it has none.

        Raises `UnavailableError` if this process does not lead, `UnknownPoolError`, and
        `ValueError` naming what cannot be true.
        """
        try:
            grant = self._reported(report)
        except UnavailableError:
            self._metrics.refused("not_leading")
            raise
        except UnknownPoolError:
            self._metrics.refused("unknown_pool")
            raise
        except ValueError:
            self._metrics.refused("invalid")
            raise
        return grant

    def newest_sequence(self, pool_id: PoolId) -> int:
        """That of the newest report taken in of the pool, 0 if there is none."""
        account = self._ledger.accounts.get(pool_id) if self._ledger is not None else None
        return account.report.sequence if account is not None and account.report else 0

    def on_traffic(self, sample: TrafficSample) -> None:
        """Take in one router's sample."""
        self._offered.add(sample, self._clock.now_s())

    def decide(self) -> None:
        """Weigh what is offered and reported, and move the ledger towards the outcome."""
        ledger = self._ledger
        if ledger is None:
            return
        began_s = time.thread_time()
        now_s = self._clock.now_s()
        self._offered.fold(now_s)
        moment = Moment(
            now_s=now_s,
            wall_s=self._clock.wall_s(),
            led_since_s=self._led_since_s,
            sure=self._may_grow(),
        )
        snapshot = self._overview.snapshot(ledger, self._offered, moment)
        before = {id: account.target for id, account in ledger.accounts.items()}
        decision = arbitrate(snapshot, self._rules, self._memory)
        self._memory, self._holding = decision.memory, decision.holding
        replicas = {
            id: count
            for id, count in sorted(decision.replicas.items())
            if ledger.accounts[id].report is not None
        }
        ledger.aim(replicas, decision.reasons, growing=moment.sure)
        for pool_id, after in replicas.items():
            if after != before[pool_id]:
                reason = decision.reasons[pool_id]
                self._note(snapshot.now_s, pool_id, before[pool_id], after, reason)
        self._plan_anew(ledger.term, decision)
        self._metrics.decided(time.thread_time() - began_s, holding=bool(decision.holding))
        self._metrics.show(self.standing())

    async def run(self, stop: Stop) -> None:
        """Decide every interval, and when what pools hold has changed, until `stop`."""
        while not stop.requested:
            try:
                self.decide()
            except Exception:
                _log.exception("a decision failed; everything stays as it is")
            await self._rest(stop)

    def standing(self) -> Standing:
        """How things stand now; reading it changes nothing."""
        ledger = self._ledger
        return Standing(
            term=self.term,
            budget_gpus=self._fleet.budget.gpus,
            charged_gpus=ledger.charged_gpus if ledger else 0,
            peak_charged_gpus=self.peak_charged_gpus,
            violations=self.violations,
            pools=pool_standings(ledger, self._clock.wall_s()) if ledger else [],
            changes=tuple(self._tally.changes),
            plan=self.plan,
            holding=self._holding if ledger else (self.not_ready() or ""),
        )

    def _reported(self, report: PoolReport) -> Grant | None:
        ledger = self._ledger
        if ledger is None:
            raise UnavailableError(f"this GlobalPlanner {self.not_ready()}")
        check_report(report)
        try:
            receipt = ledger.report(report, self._clock.wall_s(), growing=self._may_grow())
        except StaleTermError as error:
            self.seen_term = max(self.seen_term, error.seen_term)
            self.yield_to(f"pool {report.pool_id} acts on a grant of term {error.seen_term}")
            raise UnavailableError(f"this GlobalPlanner {self.not_ready()}") from None
        if receipt.changed:
            self.wake.set()
        return receipt.grant

    async def _rest(self, stop: Stop) -> None:
        """Until the next interval, a change of what is held, or the stop."""
        waits = {
            asyncio.ensure_future(self.wake.wait()),
            asyncio.ensure_future(stop.wait()),
        }
        interval_s = self._clock.wall_span_s(self._patience.interval_s)
        try:
            await asyncio.wait(waits, timeout=interval_s, return_when=asyncio.FIRST_COMPLETED)
            if self.wake.is_set():
                await stop.sleep(SETTLE_WALL_S)
        finally:
            for wait in waits:
                wait.cancel()
        self.wake.clear()

    def _note(self, at_s: float, pool_id: PoolId, before: int, after: int, reason: str) -> None:
        self._tally.changed += 1
        self._tally.changes.append(
            Change(at_s=at_s, pool_id=pool_id, before=before, after=after, reason=reason)
        )
        self._metrics.changed(pool_id, up=after > before)
        _log.info("decided pool=%s at_s=%.0f %s", pool_id, at_s, reason)

    def _plan_anew(self, term: int, decision: Decision) -> None:
        if decision.shares is None or decision.spill is None:
            return
        known = self.plan
        if known is not None and not differs(known.shares, decision.shares):
            return
        self.plan = RoutingPlan(
            term=term,
            version=known.version + 1 if known is not None else 1,
            shares=decision.shares,
            spill=decision.spill,
        )
