"""Takes reports in, decides at intervals, and keeps routers told.

Invariant: without a term of its own this process grants nothing. `report` and `decide` do not
await, so each sees the ledger as the one before left it.
"""

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass, field

from globalplanner.core.account import Account
from globalplanner.core.arbitrate import arbitrate
from globalplanner.core.ledger import Ledger
from globalplanner.core.offered import OfferedLoad
from globalplanner.core.plan import differs
from globalplanner.core.snapshot import Decision, Memory, PoolView, Rules, Snapshot
from globalplanner.metrics import Metrics
from globalplanner.ports import PlanStore, TermStore
from weir.domain.errors import StaleTermError, UnavailableError
from weir.domain.fleet import Fleet
from weir.domain.ids import PoolId
from weir.domain.planning import Grant, PoolReport, RoutingPlan
from weir.domain.telemetry import TrafficSample
from weir.runtime.clock import Clock
from weir.runtime.lifecycle import Stop

__all__ = ["Change", "GlobalPlanner", "Schedule"]

_log = logging.getLogger("weir.globalplanner")
_CHANGES_KEPT = 200
_SETTLE_WALL_S = 0.05
"""After a report that changes what is held, others may be about to come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """`interval_s` is model time; `valid_s`, `silence_s` and `retry_s` are wall time.

    A pool that has not reported for `silence_s` keeps its allocation.
    """

    interval_s: float
    valid_s: float
    silence_s: float
    retry_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One pool's allocation has changed."""

    at_s: float
    pool_id: PoolId
    before: int
    after: int
    reason: str


@dataclass(slots=True)
class _Published:
    plan: RoutingPlan | None = None
    stored: bool = False


@dataclass(slots=True)
class _Tally:
    """What outlives a term."""

    peak_charged_gpus: int = 0
    violations: int = 0
    changes: deque[Change] = field(default_factory=lambda: deque(maxlen=_CHANGES_KEPT))


class GlobalPlanner:
    """Raises `InfeasibleFloorsError` on construction if the floors do not fit."""

    def __init__(
        self,
        fleet: Fleet,
        rules: Rules,
        schedule: Schedule,
        *,
        offered: OfferedLoad,
        terms: TermStore,
        plans: PlanStore,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        Ledger(fleet, term=1, valid_s=schedule.valid_s)
        self.ledger: Ledger | None = None
        self.holding = "does not lead yet"
        self._fleet = fleet
        self._rules = rules
        self._schedule = schedule
        self._offered = offered
        self._terms = terms
        self._plans = plans
        self._clock = clock
        self._metrics = metrics
        self._memory = Memory()
        self._published = _Published()
        self._tally = _Tally()
        self._term_above = 0
        self._wake = asyncio.Event()

    @property
    def changes(self) -> tuple[Change, ...]:
        """The last changes, newest last."""
        return tuple(self._tally.changes)

    @property
    def plan(self) -> RoutingPlan | None:
        return self._published.plan

    @property
    def peak_charged_gpus(self) -> int:
        current = self.ledger.peak_charged_gpus if self.ledger is not None else 0
        return max(self._tally.peak_charged_gpus, current)

    @property
    def violations(self) -> int:
        current = self.ledger.violations if self.ledger is not None else 0
        return self._tally.violations + current

    def not_ready(self) -> str | None:
        """Why this process does not decide; None if it does."""
        return self.holding if self.ledger is None else None

    def on_traffic(self, sample: TrafficSample) -> None:
        self._offered.add(sample, self._clock.now_s())

    def report(self, report: PoolReport) -> Grant | None:
        """Take in one report; the answer is the pool's newest grant, if it has one.

        Raises `UnavailableError` while this process does not lead, and what `Ledger.report`
        raises. A report that knows a later leader ends this one's term.
        """
        if self.ledger is None:
            self._metrics.refused("not_leading")
            raise UnavailableError(f"this GlobalPlanner does not lead: {self.holding}")
        try:
            receipt = self.ledger.report(
                report, self._clock.wall_s(), growing=self._terms.connected
            )
        except StaleTermError as error:
            self._metrics.refused("stale_term")
            self._step_down(error.seen_term)
            raise UnavailableError(f"this GlobalPlanner no longer leads: {error}") from None
        if receipt.changed:
            self._wake.set()
        return receipt.grant

    def decide(self) -> None:
        """Weigh demand against capacity once and aim the ledger at the result."""
        ledger = self.ledger
        if ledger is None:
            return
        started_s = time.thread_time()
        now_s = self._clock.now_s()
        decision = arbitrate(self._snapshot(ledger, now_s), self._rules, self._memory)
        self._memory = decision.memory
        self.holding = decision.holding
        self._record(ledger, decision, now_s)
        ledger.aim(decision.replicas, decision.reasons, growing=self._terms.connected)
        self._replan(ledger, decision)
        self._metrics.took(time.thread_time() - started_s)
        self._metrics.observe(ledger, self._clock.wall_s(), holding=bool(self.holding))

    async def run(self, stop: Stop) -> None:
        """Lead and decide until `stop` is requested."""
        while not stop.requested:
            if self.ledger is None:
                await self._lead(stop)
                continue
            try:
                self.decide()
            except Exception:
                _log.exception("a decision failed; the allocation stays")
            await self._publish()
            await self._rest()

    async def _lead(self, stop: Stop) -> None:
        try:
            term = await self._terms.next_term(self._term_above)
        except UnavailableError as error:
            self.holding = f"no term yet: {error}"
            self._metrics.observe(None, self._clock.wall_s(), holding=True)
            _log.warning("cannot lead yet: %s", error)
            await stop.sleep(self._schedule.retry_s)
            return
        self.ledger = Ledger(self._fleet, term=term, valid_s=self._schedule.valid_s)
        self._memory = Memory()
        self._published = _Published()
        self.holding = "waits for reports and traffic"
        _log.info("leads term=%d budget_gpus=%d", term, self._fleet.budget.gpus)

    def _step_down(self, seen_term: int) -> None:
        if self.ledger is not None:
            self._tally.peak_charged_gpus = self.peak_charged_gpus
            self._tally.violations += self.ledger.violations
        self._term_above = max(self._term_above, seen_term)
        self.ledger = None
        self.holding = f"a later term has been seen: {seen_term}"
        self._wake.set()
        _log.error("steps down: a pool acts on a grant of term %d", seen_term)

    async def _rest(self) -> None:
        """Until the next interval, or until what pools hold has changed."""
        try:
            async with asyncio.timeout(self._clock.wall_span_s(self._schedule.interval_s)):
                await self._wake.wait()
                await asyncio.sleep(_SETTLE_WALL_S)
        except TimeoutError:
            pass
        self._wake.clear()

    def _snapshot(self, ledger: Ledger, now_s: float) -> Snapshot:
        self._offered.fold(now_s)
        ahead_s = max(pool.start_up_s for pool in self._fleet.pools)
        loads = self._offered.loads(now_s, ahead_s=ahead_s)
        holding = "offered load is unknown: no fresh traffic samples"
        if not self._terms.connected:
            loads, holding = None, "NATS is away"
        wall_s = self._clock.wall_s()
        return Snapshot(
            now_s=now_s,
            classes=self._fleet.classes,
            pools=tuple(self._view(account, wall_s) for account in ledger.accounts.values()),
            limits=ledger.limits,
            loads=loads,
            holding=holding,
        )

    def _view(self, account: Account, wall_s: float) -> PoolView:
        report = account.report
        if report is None:
            return PoolView(spec=account.spec, replicas=account.target, held="has not reported yet")
        silent_s = wall_s - account.reported_at_s
        silent = silent_s > self._schedule.silence_s
        return PoolView(
            spec=account.spec,
            replicas=account.target,
            ready=report.state.ready,
            capacity_rps=report.capacity_rps,
            backlog_replica_s=report.backlog_replica_s,
            load_rps={load.name: load.rate_rps for load in report.load},
            held=f"has been silent for {silent_s:.0f} s" if silent else "",
        )

    def _record(self, ledger: Ledger, decision: Decision, now_s: float) -> None:
        for pool_id, after in sorted(decision.replicas.items()):
            before = ledger.accounts[pool_id].target
            if before == after:
                continue
            reason = decision.reasons.get(pool_id, "")
            change = Change(at_s=now_s, pool_id=pool_id, before=before, after=after, reason=reason)
            self._tally.changes.append(change)
            self._metrics.decided(pool_id, before=before, after=after)
            _log.info(
                "decision at_s=%.1f pool=%s before=%d after=%d reason=%s",
                now_s, pool_id, before, after, reason,
            )  # fmt: skip

    def _replan(self, ledger: Ledger, decision: Decision) -> None:
        if decision.shares is None or decision.spill is None:
            return
        last = self._published.plan
        if last is not None and not differs(decision.shares, last.shares):
            return
        version = last.version + 1 if last is not None else 1
        plan = RoutingPlan(
            term=ledger.term, version=version, shares=decision.shares, spill=decision.spill
        )
        self._published = _Published(plan=plan)

    async def _publish(self) -> None:
        """Put the plan where routers find it; again after the store has been away."""
        if not self._terms.connected:
            self._published.stored = False
            return
        plan = self._published.plan
        if plan is None or self._published.stored:
            return
        try:
            await self._plans.put(plan)
        except UnavailableError as error:
            _log.warning("the routing plan is not stored yet: %s", error)
            return
        if self._published.plan is plan:
            self._published.stored = True
