"""The GPU budget as a ledger: grants go out only for GPUs that nobody may be using.

Invariants, for the budget, each GPU class and each node group:

* B1 A pool is charged for the largest of what it was last seen to hold and every grant it may
  still act on. A grant that lets a pool grow fits into limit - charges of the others. So the
  sum of GPUs running never exceeds a limit by what this ledger grants: GPUs move by release,
  confirmation, grant. A grant's expiry forbids starts, it never frees GPUs.
* B1 over terms: a pool that has not said it acts on a grant of this term may act on one of an
  earlier leader, so it counts with its maximum. One that acts on a grant which this leader never
  gave, though of its term, has it from another leader: the store has lost that term and has
  given its number away again.
* A leader that cannot tell whether it still leads (`growing` False) lets nobody grow, and a pool
  that acts on none of its grants gets none: a later leader may have given those GPUs away.
* B2 While a limit is exceeded (lowered budget, manual edit) no pool under it grows; shrinking
  is always allowed.
* A replica that is leaving holds its GPUs, but is none of those that the pool is to have: while
  one is missing the pool is granted one more for each that leaves, if GPUs are left that are
  nobody's floor.
* Reports are ordered by sequence per pool. One that is not newer changes nothing.

`report` and `aim` do not await and are the only methods that change anything.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from globalplanner.core.account import Account
from globalplanner.core.limits import check_floors, limits_of
from weir.domain.errors import StaleTermError, UnknownPoolError
from weir.domain.fleet import Fleet
from weir.domain.ids import PoolId
from weir.domain.planning import Grant, PoolReport

__all__ = ["Ledger", "Receipt"]

_MOST_REPLICAS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Answer to a report. `changed`: the pool is new, or holds another number of replicas."""

    grant: Grant | None
    changed: bool = False


class Ledger:
    """`term` numbers this leader; `valid_s` is wall time.

    Raises `InfeasibleFloorsError` if the floors do not fit.
    """

    def __init__(self, fleet: Fleet, *, term: int, valid_s: float) -> None:
        check_floors(fleet)
        self.term = term
        self.limits = limits_of(fleet)
        self.accounts = {
            pool.id: Account(spec=pool, target=pool.min_replicas, reason="minimum")
            for pool in fleet.pools
        }
        self.peak_charged_gpus = 0
        self.violations = 0
        """How often the charges went from within all limits to above one."""
        self._valid_s = valid_s
        self._epoch = 0
        self._above = False

    @property
    def charged_gpus(self) -> int:
        """GPUs that may be in use, of what is known."""
        return sum(self._gpus(account, account.charged) for account in self.accounts.values())

    @property
    def unsettled(self) -> tuple[PoolId, ...]:
        """Pools that count with their maximum until they have acknowledged this term."""
        return tuple(id for id, account in sorted(self.accounts.items()) if not account.settled)

    def report(self, report: PoolReport, wall_s: float, *, growing: bool = True) -> Receipt:
        """Take in one pool's report and answer with its newest grant.

        `growing` False: nobody gets more than they have.

        Raises `UnknownPoolError`; `ValueError` for a report that cannot be true;
        `StaleTermError` if the pool acts on a grant of a later leader, or of another one that
        has the same term.
        """
        account = self.accounts.get(report.pool_id)
        if account is None:
            raise UnknownPoolError(report.pool_id)
        self._check(account, report)
        if account.report is not None and report.sequence <= account.report.sequence:
            return Receipt(grant=self.answer(report, growing=growing))
        changed = account.report is None or account.held != report.state.held
        account.report, account.reported_at_s = report, wall_s
        account.settled = report.acted_term == self.term
        if account.settled:
            account.acknowledge(report.acted_epoch)
        else:
            self._adopt(account, report)
        self._settle(growing=growing)
        return Receipt(grant=self.answer(report, growing=growing), changed=changed)

    def aim(
        self, replicas: Mapping[PoolId, int], reasons: Mapping[PoolId, str], *, growing: bool = True
    ) -> tuple[Grant, ...]:
        """Move towards `replicas` as far as the charges allow; returns the grants issued."""
        for pool_id, target in replicas.items():
            account = self.accounts[pool_id]
            account.target = target
            account.reason = reasons.get(pool_id, account.reason)
        return self._settle(growing=growing)

    def waits_for(self, pool_id: PoolId) -> str:
        """Why the pool has less than its target; empty if it has it."""
        account = self.accounts[pool_id]
        if account.granted >= account.target:
            return ""
        if account.report is None:
            return "has not reported yet"
        tight = [limit for limit in self.limits if pool_id in limit.pools]
        others = sorted({id for limit in tight for id in limit.pools} - {pool_id})
        unsettled = [id for id in others if not self.accounts[id].settled]
        if unsettled:
            return f"waits for a first report of {', '.join(unsettled)}"
        releasing = [id for id in others if self.accounts[id].charged > self.accounts[id].granted]
        if releasing:
            return f"waits for {', '.join(releasing)} to release GPUs"
        return "waits for GPUs"

    def answer(self, report: PoolReport, *, growing: bool) -> Grant | None:
        """The newest grant for a pool that reports so."""
        if not growing and report.acted_term != self.term:
            return None
        return self.accounts[report.pool_id].newest

    def _check(self, account: Account, report: PoolReport) -> None:
        if report.acted_term > self.term:
            raise StaleTermError(term=self.term, seen_term=report.acted_term)
        for name, replicas in (("state", report.state.held), ("acted", report.acted_replicas)):
            if replicas > _MOST_REPLICAS:
                raise ValueError(f"{name} names {replicas} replicas, more than {_MOST_REPLICAS}")
        newest_epoch = account.newest.epoch if account.newest is not None else 0
        if report.acted_term == self.term and report.acted_epoch > newest_epoch:
            raise StaleTermError(term=self.term, seen_term=report.acted_term)

    def _adopt(self, account: Account, report: PoolReport) -> None:
        """Begin with what the pool has: a grant of this term that changes nothing.

        Until the pool acts on one, what it has is what it says last. A first report that was
        late must not give it back what an earlier leader has taken away since.
        """
        live = report.state.ready + report.state.starting
        found = report.acted_replicas if report.acted_term > 0 else live
        changed = account.newest is None or found < account.granted
        if account.newest is None or (report.acted_term > 0 and account.undecided):
            changed |= found != account.granted
            account.target = account.found = max(found, account.spec.min_replicas)
            account.reason = "as found"
        if changed:
            self._issue(account, found)

    def _settle(self, *, growing: bool) -> tuple[Grant, ...]:
        """Issue what the targets call for: shrinking at once, growing as far as it fits."""
        reporting = [a for _, a in sorted(self.accounts.items()) if a.report is not None]
        grants = [self._issue(a, a.wanted) for a in reporting if a.wanted < a.granted]
        growers = [a for a in reporting if a.wanted > a.granted] if growing else []
        planned = {account.spec.id: account.granted for account in growers}
        for level in _LEVELS:
            for account in growers:
                wish = min(account.target, level(account))
                planned[account.spec.id] = self._fitting(account, wish, planned)
        for account in growers:
            if account.wanted > account.target:
                id = account.spec.id
                planned[id] = self._fitting(account, account.wanted, planned, floors=True)
        grants += [
            self._issue(account, planned[account.spec.id])
            for account in growers
            if planned[account.spec.id] > account.granted
        ]
        self._audit()
        return tuple(grants)

    def _fitting(
        self,
        account: Account,
        wish: int,
        planned: Mapping[PoolId, int],
        *,
        floors: bool = False,
    ) -> int:
        """As many replicas as fit, at most `wish` and at least those planned already.

        `floors`: beside the floors of all pools.
        """
        pool_id = account.spec.id
        most = wish
        for limit in self.limits:
            if pool_id not in limit.pools:
                continue
            used = {
                id: self._gpus(a, a.reserved, planned.get(id, 0), a.spec.aside_replicas * floors)
                for id in limit.pools
                for a in (self.accounts[id],)
            }
            free_gpus = limit.gpus - sum(used.values())
            if free_gpus < 0:
                return planned[pool_id]
            most = min(most, (free_gpus + used[pool_id]) // account.spec.gpus_per_replica)
        return max(most, planned[pool_id])

    def _issue(self, account: Account, replicas: int) -> Grant:
        self._epoch += 1
        partly = f" ({replicas} for now)" if replicas != account.target else ""
        grant = Grant(
            pool_id=account.spec.id,
            term=self.term,
            epoch=self._epoch,
            replicas=replicas,
            valid_s=self._valid_s,
            reason=account.reason + partly,
        )
        account.issue(grant)
        return grant

    def _audit(self) -> None:
        charged = {id: self._gpus(a, a.charged) for id, a in self.accounts.items()}
        self.peak_charged_gpus = max(self.peak_charged_gpus, sum(charged.values()))
        above = any(not limit.holds(charged) for limit in self.limits)
        self.violations += above and not self._above
        self._above = above

    @staticmethod
    def _gpus(account: Account, *replicas: int) -> int:
        return max(replicas) * account.spec.gpus_per_replica


_LEVELS: tuple[Callable[[Account], int], ...] = (
    lambda account: account.spec.min_replicas,
    lambda account: account.spec.aside_replicas,
    lambda account: account.spec.guarantee_replicas,
    lambda account: account.target,
)
"""What is granted first when not everything fits."""
