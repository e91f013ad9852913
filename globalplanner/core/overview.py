"""What is known at one moment, put together for a decision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from globalplanner.core.arbiter.snapshot import PoolView, Snapshot
from globalplanner.core.budget.account import Account
from globalplanner.core.budget.ledger import Ledger
from globalplanner.core.load.offered import OfferedLoad
from globalplanner.core.unheard import with_unheard
from weir.domain.fleet import Fleet
from weir.domain.ids import PoolId
from weir.domain.overrides import Overrides
from weir.domain.planning import PoolReport

__all__ = ["Moment", "Overview", "ahead_of"]

_FIRST_REPORTS_S = 4.0
"""A leader that has just begun waits no longer for pools that do not report."""


def ahead_of(fleet: Fleet, interval_s: float) -> float:
    """How far ahead loads matter: what is decided next serves by then, in the slowest pool."""
    return max(pool.start_up_s for pool in fleet.pools) + interval_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """`now_s`: model time. `wall_s`, `led_since_s`: wall time. `sure`: it may let pools grow."""

    now_s: float
    wall_s: float
    led_since_s: float
    sure: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """`ahead_s`, `stale_s`: model seconds. `silent_s`: wall seconds.

    Loads are forecast `ahead_s`. Telemetry is unknown after `stale_s`. A pool that has not
    reported for `silent_s` keeps what it has.
    """

    fleet: Fleet
    overrides: Overrides
    ahead_s: float
    stale_s: float
    silent_s: float

    def snapshot(
        self, ledger: Ledger, offered: OfferedLoad, at: Moment, wishes: Mapping[PoolId, int]
    ) -> Snapshot:
        """Everything a decision needs. `wishes`: replicas that others ask for, by pool."""
        accounts = [account for _, account in sorted(ledger.accounts.items())]
        holding = self._why_hold(accounts, offered, at)
        views = [
            self._view(account, account.report, at, wishes, known=not holding)
            for account in accounts
            if account.report
        ]
        silent = [account for account in accounts if account.report is None]
        views += [_inherited(account) for account in silent if account.known]
        unheard = [account.spec for account in silent if not account.known]
        return Snapshot(
            now_s=at.now_s,
            classes=self.fleet.classes,
            pools=with_unheard(views, unheard, ledger.limits),
            limits=ledger.limits,
            loads=None if holding else offered.loads(at.now_s, ahead_s=self.ahead_s),
            holding=holding,
        )

    def _why_hold(self, accounts: Sequence[Account], offered: OfferedLoad, at: Moment) -> str:
        """What must be known before demand can be weighed; empty if it is."""
        if not at.sure:
            return "NATS does not answer, so a later leader would not be noticed"
        unheard = [account.spec.id for account in accounts if account.report is None]
        if unheard and at.wall_s - at.led_since_s < min(self.silent_s, _FIRST_REPORTS_S):
            return f"waits for a first report of {', '.join(unheard)}"
        if offered.known(at.now_s):
            return ""
        age_s = offered.age_s(at.now_s)
        if age_s is None:
            return "no traffic telemetry yet"
        return f"traffic telemetry of a router is missing, the newest is {age_s:.0f} s old"

    def _view(
        self,
        account: Account,
        report: PoolReport,
        at: Moment,
        wishes: Mapping[PoolId, int],
        *,
        known: bool,
    ) -> PoolView:
        """A pool whose telemetry is old may have any backlog. `known`: what is offered is."""
        id = account.spec.id
        age_s = report.telemetry_age_s
        fresh = age_s is not None and age_s <= self.stale_s
        return PoolView(
            spec=account.spec,
            replicas=account.target,
            ready=report.state.ready,
            capacity_rps={name: rate for name, rate in report.capacity_rps.items() if rate > 0.0},
            capacity_rel_std=report.capacity_rel_std,
            backlog_replica_s=report.backlog_replica_s if fresh else None,
            load_rps={load.name: load.rate_rps for load in report.load},
            held=self._why_held(account, at.wall_s - account.reported_at_s),
            ceiling=self._ceiling(account, report),
            wish=_wish(account, report, wishes.get(id), sure=fresh and known),
        )

    def _why_held(self, account: Account, silent_s: float) -> str:
        id = account.spec.id
        if silent_s > self.silent_s:
            return f"silent for {silent_s:.0f} s"
        if id in self.overrides.drained:
            return ""
        if account.misfit:
            return account.misfit
        if id in self.overrides.frozen:
            return f"frozen: {self.overrides.frozen[id]}"
        return ""

    def _ceiling(self, account: Account, report: PoolReport) -> int | None:
        """What the pool may have at most for now."""
        if account.leaving or account.spec.id in self.overrides.drained:
            return 0
        return report.acted_replicas if report.withdrawn else None


def _wish(account: Account, report: PoolReport, asked: int | None, *, sure: bool) -> int | None:
    """Replicas that somebody else asks for: a Dynamo planner, or else the pool's own.

    A pool that says nothing, though its planner is to size it, asks for what has been decided; for
    no less if its telemetry is old, or none has come here.
    """
    if asked is not None:
        return asked
    if report.wish is None:
        return account.target if account.spec.thresholds is not None else None
    return report.wish if sure else max(report.wish, account.target)


def _inherited(account: Account) -> PoolView:
    """A pool that has not reported to this leader, but of which an earlier one has left word.

    What it may be running beyond its newest grant is charged, but is not to be had for ever.
    """
    return PoolView(
        spec=account.spec, replicas=account.target, held="has not reported to this leader"
    )
