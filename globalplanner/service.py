"""The GlobalPlanner: reports and traffic in, grants and the routing plan out.

Reports are answered and decisions made without awaiting, so they need no lock. It leads while
it has a `Ledger`; `leadership` sees to that and to the record being written, `publisher` to the
plan reaching the routers.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from globalplanner.core.arbiter.arbitrate import arbitrate
from globalplanner.core.arbiter.plan import differs
from globalplanner.core.arbiter.snapshot import Decision, Memory, Rules, Snapshot
from globalplanner.core.budget.ledger import Ledger
from globalplanner.core.budget.limits import check_floors
from globalplanner.core.load.offered import OfferedLoad
from globalplanner.core.load.predicted import Predicted
from globalplanner.core.operators.proposals import Gate, held_at, remembered
from globalplanner.core.operators.proposed import Proposal
from globalplanner.core.overview import Moment, Overview, ahead_of
from globalplanner.core.report import check_report
from globalplanner.decisions.decided import Decided
from globalplanner.metrics import Metrics
from globalplanner.standing import (
    Change,
    Health,
    Standing,
    Waiting,
    limit_standings,
    pool_standings,
)
from globalplanner.tally import Tally
from weir.domain.errors import (
    InfeasibleFloorsError,
    StaleTermError,
    UnavailableError,
    UnknownPoolError,
)
from weir.domain.fleet import Fleet
from weir.domain.ids import ClassName, PoolId
from weir.domain.overrides import ClassTargets, Overrides
from weir.domain.planning import Grant, PoolReport, RoutingPlan
from weir.domain.record import LedgerRecord
from weir.domain.telemetry import TrafficSample
from weir.forecast.trend import Forecast
from weir.runtime.clock import Clock
from weir.runtime.lifecycle import Stop

__all__ = ["SETTLE_WALL_S", "GlobalPlanner", "Patience"]

_log = logging.getLogger("weir.globalplanner")
SETTLE_WALL_S = 0.05
"""After a report that changes what is held, others may be about to come."""
_RESTS = 4.0
"""And in large fleets reports are read rather than every one of them followed by a decision."""
_SHOW_WALL_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """`interval_s`, `stale_s`: model seconds. `grant_valid_s`, `silent_s`: wall seconds."""

    interval_s: float
    stale_s: float
    grant_valid_s: float
    silent_s: float


class GlobalPlanner:
    """`may_grow` tells, at any moment, whether this leader is sure that it still leads.

    `unwritten` is called when the record should be written soon. `effective` makes the fleet that
    counts of the document and what operators have changed. `wishes` are replicas that others ask
    for, by pool. `gate` lets decisions through. `predicted` forecasts in place of the trend.

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
        unwritten: Callable[[], None] = lambda: None,
        effective: Callable[[Fleet, Overrides], Fleet] = lambda fleet, overrides: fleet,
        wishes: Callable[[], Mapping[PoolId, int]] = dict,
        gate: Gate | None = None,
        predicted: Predicted | None = None,
    ) -> None:
        check_floors(fleet)
        self.document = fleet
        """The fleet as it is written."""
        self.overrides = Overrides()
        """What operators have changed."""
        self.rules = rules
        self.gate = gate or Gate()
        self.wishes = wishes
        self.on_decision: list[Callable[[Decided], None]] = []
        """Told of every decision that changes something, or would."""
        self.on_news: list[Callable[[], None]] = []
        """Told whenever `news` would return."""
        self._effective = effective
        self._unwritten = unwritten
        self._patience = patience
        self._clock = clock
        self._metrics = metrics
        self._may_grow = may_grow
        self._offered = OfferedLoad(
            (c.name for c in fleet.classes),
            stale_s=patience.stale_s,
            window_s=patience.interval_s,
            predicted=predicted,
        )
        self._overview = Overview(
            fleet=fleet,
            overrides=self.overrides,
            ahead_s=ahead_of(fleet, patience.interval_s),
            stale_s=patience.stale_s,
            silent_s=patience.silent_s,
        )
        self._memory = Memory()
        self.latest: Decision | None = None
        """The last decision of this term, whether it has changed anything or not."""
        self._tally = Tally()
        self._took_s = 0.0
        self._shown_at_s = float("-inf")
        self._number = 0
        """Of the newest decision told of in this term."""
        self._blocked: Mapping[PoolId, int] | None = None
        self._infeasible: frozenset[ClassName] = frozenset()
        """What was decided last and not let through."""
        self.wake = asyncio.Event()
        """Set when what pools hold has changed: it is time to decide."""
        self._news = asyncio.Event()
        self._ledger: Ledger | None = None
        self._prepared: Ledger | None = None
        self._written: LedgerRecord | None = None
        self._led_since_s = 0.0
        self._why_not_leading = "has no term yet"
        self._holding = ""
        self.plan: RoutingPlan | None = None
        """The newest routing plan of this term."""
        self.seen_term = 0
        """The highest term that a pool has named."""

    @property
    def fleet(self) -> Fleet:
        """What counts now: the document and what operators have changed."""
        return self._overview.fleet

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
    def targets(self) -> Mapping[ClassName, ClassTargets]:
        """What classes are to meet, where it differs from the document."""
        return self.overrides.targets

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
        return self._tally.changes_after(count)

    def not_ready(self) -> str | None:
        """Why this process does not lead; None if it does."""
        return None if self._ledger is not None else f"does not lead: {self._why_not_leading}"

    # --- leading ---

    def prepare(self, term: int, record: LedgerRecord | None, *, owner: str) -> LedgerRecord:
        """What to write in order to lead with `term`, after what `record` holds."""
        fleet = self._fleet_with(record.overrides if record is not None else self.overrides)
        valid_s = self._patience.grant_valid_s
        self._prepared = Ledger(fleet, term=term, valid_s=valid_s, record=record)
        overrides = record.overrides if record is not None else self.overrides
        lines = self._prepared.lines()
        return LedgerRecord(term=term, owner=owner, serial=0, pools=lines, overrides=overrides)

    def lead(self, record: LedgerRecord) -> None:
        """Begin to lead with what was prepared, now that it is written."""
        if self._prepared is None or self._prepared.term != record.term:
            raise ValueError(f"term {record.term} was not prepared")
        self._ledger, self._prepared = self._prepared, None
        self._take_over(self._fleet_with(record.overrides), record.overrides)
        self._written = record
        self._led_since_s = self._clock.wall_s()
        self._memory, self.latest = Memory(), None
        self._number = 0
        self.plan = None
        self._metrics.leads(record.term)
        _log.info("leading term=%d budget_gpus=%d", record.term, self.fleet.budget.gpus)
        self._tell()

    def yield_to(self, why: str) -> None:
        """Stop leading: no report is answered from now on."""
        if self._ledger is not None:
            _log.warning("no longer leading term=%d: %s", self._ledger.term, why)
            self._tally.peak_charged_gpus = self.peak_charged_gpus
            self._tally.violations = self.violations
            self._tell()
        self._ledger = None
        self._why_not_leading = why
        self._metrics.leads(0)

    def record(self, *, owner: str, serial: int) -> LedgerRecord:
        """All that must not be lost. Only for one that leads."""
        ledger = self._leading()
        return LedgerRecord(
            term=ledger.term,
            owner=owner,
            serial=serial,
            pools=ledger.lines(),
            overrides=self.overrides,
        )

    @property
    def epoch(self) -> int:
        """Of the newest grant of this term."""
        return self._ledger.epoch if self._ledger is not None else 0

    def written(self, record: LedgerRecord, epoch: int) -> None:
        """The record with all grants up to `epoch` is durable."""
        if self._ledger is None or self._ledger.term != record.term:
            return
        self._written = record
        if self._ledger.unwritten:
            self._ledger.written(epoch)
            self._write_soon()
        self._tell()

    @property
    def is_stored(self) -> bool:
        """Whether what operators have changed is durable."""
        return self._written is not None and self._written.overrides == self.overrides

    async def stored(self, timeout_s: float) -> None:
        """Until what operators have changed is durable. Raises `UnavailableError`."""
        until_s = self._clock.wall_s() + timeout_s
        while not self.is_stored:
            left_s = until_s - self._clock.wall_s()
            if self._ledger is None or left_s <= 0.0:
                raise UnavailableError("the change could not be stored; nothing was changed")
            self._unwritten()
            await self.news(left_s)

    async def news(self, timeout_s: float) -> None:
        """Until something may be sent anew, or this process begins or ceases to lead."""
        news = self._news
        try:
            async with asyncio.timeout(timeout_s):
                await news.wait()
        except TimeoutError:
            return

    def revise(self, fleet: Fleet, overrides: Overrides, *, document: Fleet | None = None) -> None:
        """From now on `fleet` counts, which is what `overrides` make of the document.

        Raises `InfeasibleFloorsError`; then nothing has changed.
        """
        check_floors(fleet)
        self.document = document or self.document
        self._take_over(fleet, overrides)
        self._write_soon()
        self.wake.set()

    @property
    def lost_pools(self) -> frozenset[PoolId]:
        """Pools that the document has no more, and of which nobody knows what they run."""
        accounts = self._ledger.accounts if self._ledger is not None else {}
        return frozenset(id for id, a in accounts.items() if a.leaving and not a.known)

    def forget(self, pool_id: PoolId) -> None:
        """An operator says that nothing of such a pool runs. Raises `UnknownPoolError`."""
        self._leading().forget(pool_id)
        self.wake.set()

    # --- reports ---

    def report(self, report: PoolReport) -> Grant | None:
        """Take in one pool's report; the answer is the newest grant that may be sent, if any.

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
        self._write_soon()
        return grant

    def pending(self, pool_id: PoolId) -> bool:
        """Whether a newer grant waits for the record to be written."""
        account = self._ledger.accounts.get(pool_id) if self._ledger is not None else None
        return account is not None and account.newest is not account.sendable

    def grant_of(self, pool_id: PoolId) -> Grant | None:
        """The newest grant that may be sent."""
        account = self._ledger.accounts.get(pool_id) if self._ledger is not None else None
        return account.sendable if account is not None else None

    def newest_sequence(self, pool_id: PoolId) -> int:
        """That of the newest report taken in of the pool, 0 if there is none."""
        account = self._ledger.accounts.get(pool_id) if self._ledger is not None else None
        return max(0, account.sequence) if account is not None else 0

    def on_traffic(self, sample: TrafficSample) -> None:
        """Take in one router's sample."""
        self._offered.add(sample, self._clock.now_s())

    # --- decisions ---

    def moment(self) -> Snapshot | None:
        """Everything that is known now, as a decision would see it; None while it does not lead."""
        if self._ledger is None:
            return None
        self._offered.fold(self._clock.now_s())
        return self._snapshot(self._ledger, sure=self._may_grow())

    def decide(self) -> None:
        """Weigh what is offered and reported, and move the ledger towards the outcome."""
        ledger = self._ledger
        if ledger is None:
            return
        began_s = time.thread_time()
        sure = self._may_grow()
        self._offered.fold(self._clock.now_s())
        snapshot = self._snapshot(ledger, sure=sure)
        before = {id: account.target for id, account in ledger.accounts.items()}
        decision = arbitrate(snapshot, self.rules, self._memory)
        self.latest = decision
        passed = self.gate.through(before, decision, snapshot)
        self._memory = remembered(self._memory, decision, before, passed)
        self._holding = decision.holding
        self._tell_infeasible(decision)
        after = {
            id: count
            for id, count in sorted(passed.items())
            if ledger.accounts[id].report is not None
        }
        ledger.aim(after, decision.reasons, growing=sure)
        self._tell()  # smaller grants wait for no write
        self._write_soon()
        for id, count in after.items():
            if count != before[id]:
                self._note(snapshot.now_s, id, before[id], count, decision.reasons[id])
        routed = decision
        if passed != decision.replicas and self.gate.plans:
            routed = arbitrate(held_at(snapshot, passed), self.rules, self._memory)
        planned = self._plan_anew(ledger.term, routed)
        self._metrics.decided(time.thread_time() - began_s, holding=bool(decision.holding))
        decided = Decided(
            number=self._number + 1,
            id=f"{ledger.term}.{self._number + 1}",
            term=ledger.term,
            at_s=snapshot.now_s,
            at_unix_s=self._clock.unix_s(),
            snapshot=snapshot,
            decision=decision,
            before={id: before[id] for id in after},
            after=after,
            outcome=self.gate.outcome,
            charged_gpus=ledger.charged_gpus,
            budget_gpus=self.fleet.budget.gpus,
            plan_version=self.plan.version if self.plan is not None else None,
        )
        self._announce(decided, planned=planned)
        self._took_s = time.thread_time() - began_s
        self._show(ledger, decision)

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
            budget_gpus=self.fleet.budget.gpus,
            charged_gpus=ledger.charged_gpus if ledger else 0,
            peak_charged_gpus=self.peak_charged_gpus,
            violations=self.violations,
            pools=pool_standings(ledger, self._clock.wall_s()) if ledger else [],
            changes=tuple(self._tally.changes),
            plan=self.plan,
            holding=self._holding if ledger else (self.not_ready() or ""),
            overrides=self.overrides,
            mode=self.gate.mode,
            proposals=[self._waiting(each) for each in self.gate.waiting] if ledger else [],
            limits=limit_standings(ledger) if ledger else [],
            infeasible=sorted(self._infeasible) if ledger else [],
        )

    def health(self) -> Health:
        """What there is to know of this process; whoever has the store adds what it says."""
        ledger, wall_s = self._ledger, self._clock.wall_s()
        accounts = sorted(ledger.accounts.items()) if ledger is not None else []
        ages = {id: wall_s - a.reported_at_s for id, a in accounts if a.report is not None}
        silent = self._patience.silent_s
        return Health(
            leading=ledger is not None,
            term=self.term,
            growing=ledger is not None and self._may_grow(),
            traffic_age_s=self._offered.age_s(self._clock.now_s()),
            report_age_s=ages,
            silent_pools=tuple(id for id, _ in accounts if ages.get(id, silent + 1.0) > silent),
            problem=self.not_ready() or "",
        )

    def _waiting(self, proposal: Proposal) -> Waiting:
        """The proposal and when it was made, by the calendar."""
        ago_s = self._clock.wall_span_s(self._clock.now_s() - proposal.at_s)
        return Waiting(proposal=proposal, at_unix_s=self._clock.unix_s() - ago_s)

    def _leading(self) -> Ledger:
        if self._ledger is None:
            raise UnavailableError(f"this GlobalPlanner {self.not_ready()}")
        return self._ledger

    def _fleet_with(self, overrides: Overrides) -> Fleet:
        """The document with what operators have changed, or without if that is impossible now."""
        try:
            fleet = self._effective(self.document, overrides)
            check_floors(fleet)
        except InfeasibleFloorsError as error:
            _log.error("what operators have changed does not fit the document: %s", error)
            return self.document
        return fleet

    def _take_over(self, fleet: Fleet, overrides: Overrides) -> None:
        self.overrides = overrides
        ahead_s = ahead_of(fleet, self._patience.interval_s)
        self._overview = replace(self._overview, fleet=fleet, overrides=overrides, ahead_s=ahead_s)
        self._offered.follow(c.name for c in fleet.classes)
        if self._ledger is not None:
            self._ledger.revise(fleet)

    def _snapshot(self, ledger: Ledger, *, sure: bool) -> Snapshot:
        moment = Moment(
            now_s=self._clock.now_s(),
            wall_s=self._clock.wall_s(),
            led_since_s=self._led_since_s,
            sure=sure,
        )
        return self._overview.snapshot(ledger, self._offered, moment, self.wishes())

    def _reported(self, report: PoolReport) -> Grant | None:
        ledger = self._leading()
        check_report(report, term=ledger.term)
        try:
            receipt = ledger.report(report, self._clock.wall_s(), growing=self._may_grow())
        except StaleTermError as error:
            self.seen_term = max(self.seen_term, error.seen_term)
            self.yield_to(f"pool {report.pool_id} acts on a grant of term {error.seen_term}")
            raise UnavailableError(f"this GlobalPlanner {self.not_ready()}") from None
        if receipt.changed:
            self.wake.set()
        return receipt.grant

    def _write_soon(self) -> None:
        """What waits for the record, or differs from it in what operators have set."""
        if self._ledger is not None and (self._ledger.unwritten or not self.is_stored):
            self._unwritten()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
        for tell in self.on_news:
            tell()

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
                await stop.sleep(max(SETTLE_WALL_S, _RESTS * self._took_s))
        finally:
            for wait in waits:
                wait.cancel()
        self.wake.clear()

    def _note(self, at_s: float, pool_id: PoolId, before: int, after: int, reason: str) -> None:
        self._tally.note(
            Change(
                at_s=at_s,
                pool_id=pool_id,
                before=before,
                after=after,
                reason=reason,
                decision_id=f"{self.term}.{self._number + 1}",
            )
        )
        self._metrics.changed(pool_id, up=after > before)
        _log.info("decided pool=%s at_s=%.0f %s", pool_id, at_s, reason)

    def _plan_anew(self, term: int, decision: Decision) -> bool:
        """Whether routers get another plan."""
        if decision.shares is None or decision.spill is None or not self.gate.plans:
            return False
        known = self.plan
        if (
            known is not None
            and known.targets == self.overrides.targets
            and not differs(known.shares, decision.shares)
        ):
            return False
        self.plan = RoutingPlan(
            term=term,
            version=known.version + 1 if known is not None else 1,
            shares=decision.shares,
            spill=decision.spill,
            targets=self.overrides.targets,
        )
        self._tell()
        return True

    def _tell_infeasible(self, decision: Decision) -> None:
        """Say once when a class begins, or ceases, to be one that nobody can serve within SLO."""
        if decision.holding or decision.infeasible == self._infeasible:
            return
        for name in sorted(decision.infeasible - self._infeasible):
            _log.warning(
                "class %s is infeasible: no pools can serve it within SLO, so nothing grows for it",
                name,
            )
        for name in sorted(self._infeasible - decision.infeasible):
            _log.info("class %s is not infeasible any more", name)
        self._infeasible = decision.infeasible
        self._metrics.infeasible(c.name for c in self.fleet.classes if c.name in self._infeasible)

    def _show(self, ledger: Ledger, decision: Decision) -> None:
        """Nobody looks at metrics more often than every second."""
        wall_s = self._clock.wall_s()
        if wall_s - self._shown_at_s < _SHOW_WALL_S:
            return
        self._shown_at_s = wall_s
        self._metrics.show(self.standing())
        self._metrics.show_gpus(ledger, decision.replicas, decision.prices)

    def _announce(self, decided: Decided, *, planned: bool) -> None:
        """Tell of what has changed something, or would have if it had been let."""
        wanted = {id: decided.decision.replicas[id] for id in decided.after}
        blocked = wanted if wanted != decided.after else None
        news = decided.before != decided.after or planned or blocked not in (None, self._blocked)
        self._blocked = blocked
        if news:
            self._number += 1
            self._metrics.noted(decided.outcome)
            for tell in self.on_decision:
                tell(decided)
