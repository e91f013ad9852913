"""The GPU budget as a ledger: grants go out only for GPUs that nobody may be using.

Invariants, for the budget, each GPU class and each node group, in GPUs and in watts:

* B1 A pool is charged for the largest of what it was last seen to hold and every grant it may
  still act on. A grant that lets a pool grow fits into limit - charges of the others. So the
  sum of GPUs running never exceeds a limit by what this ledger grants: GPUs move by release,
  confirmation, grant. A grant's expiry forbids starts, it never frees GPUs.
* B1 over leaders: a grant that lets a pool have more than the grants before it is sent only once
  the record holds it, and who writes the record next begins with all that is in it. One that lets
  it have less may be sent at once: whatever the pool acts on, it says so, and that is more.
* What a pool may run that is not in the record (there was none, or it is older than what a pool
  acts on) counts as its maximum until the pool acts on a grant of this term. A pool that acts on
  a grant which this leader never gave, though of its term, has it from another leader: the store
  has lost that term and has given its number away again.
* A leader that cannot tell whether it still leads (`growing` False) lets nobody grow.
* B2 While a limit is exceeded (lowered budget, manual edit) no pool under it grows; shrinking
  is always allowed.
* A replica that is leaving holds its GPUs, but is none of those that the pool is to have: while
  one is missing the pool is granted one more for each that leaves, if GPUs are left that are
  nobody's floor.
* Reports are ordered by sequence per pool, over leaders too. One that is not newer changes
  nothing.
* A pool that the document has no more is charged until it is gone, and is to go. One whose GPUs
  per replica change is charged as it was until nothing of it may be running.

`report`, `aim`, `revise` and `written` do not await and are all that changes anything.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from globalplanner.core.budget.account import Account
from globalplanner.core.budget.books import Books
from globalplanner.core.budget.limits import Limit, check_floors, limits_of
from globalplanner.core.budget.roll import believe, join, retire, stranger
from weir.domain.errors import StaleTermError, UnknownPoolError
from weir.domain.fleet import Fleet
from weir.domain.ids import PoolId
from weir.domain.planning import Grant, PoolReport
from weir.domain.record import LedgerRecord, PoolLine

__all__ = ["Ledger", "Receipt"]

_MOST_REPLICAS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Answer to a report. `changed`: the pool is new, or holds another number of replicas."""

    grant: Grant | None
    changed: bool = False


class Ledger:
    """`term` numbers this leader; `valid_s` is wall time. `record` is what it begins with.

    Raises `InfeasibleFloorsError` if the floors do not fit.
    """

    def __init__(
        self, fleet: Fleet, *, term: int, valid_s: float, record: LedgerRecord | None = None
    ) -> None:
        check_floors(fleet)
        self.term = term
        self.accounts: dict[PoolId, Account] = {}
        self.peak_charged_gpus = 0
        self.violations = 0
        """How often the charges went from within all limits to above one."""
        self.unwritten = False
        """Whether a grant waits for the record to be written."""
        self.epoch = 0
        """Of the newest grant."""
        self._record_term = record.term if record is not None else 0
        self._goes_on = record is not None
        self._valid_s = valid_s
        self._above = False
        self._short: set[PoolId] = set()
        """Pools that are granted another number than they want."""
        for line in record.pools if record is not None else ():
            account = self.accounts[line.pool_id] = Account(spec=stranger(line))
            account.inherit(line)
            account.target = account.granted
        self._join(fleet)

    def forget(self, pool_id: PoolId) -> None:
        """An operator says that nothing runs of a pool which the document has no more.

        Raises `UnknownPoolError` if the ledger has no such pool.
        """
        account = self.accounts.get(pool_id)
        if account is None or not account.leaving:
            raise UnknownPoolError(pool_id)
        account.unknown = 0
        self._join(self._fleet)

    @property
    def limits(self) -> tuple[Limit, ...]:
        return self._books.limits

    @property
    def charged_gpus(self) -> int:
        """GPUs that may be in use, of what is known."""
        return self._books.charged_gpus

    @property
    def unsettled(self) -> tuple[PoolId, ...]:
        """Pools that count with their maximum until they have acknowledged this term."""
        return tuple(id for id, account in sorted(self.accounts.items()) if not account.known)

    def lines(self) -> tuple[PoolLine, ...]:
        """What the record is to hold of every pool."""
        return tuple(account.line() for _, account in sorted(self.accounts.items()))

    def written(self, epoch: int) -> None:
        """The record holds every grant up to this one: they may be sent."""
        for account in self.accounts.values():
            account.written(self.term, epoch)
        self.unwritten = any(self._held_back(account) for account in self.accounts.values())

    def revise(self, fleet: Fleet) -> tuple[Grant, ...]:
        """Go on with another document, budget or bounds.

        Raises `InfeasibleFloorsError` if the floors do not fit; then nothing has changed.
        """
        check_floors(fleet)
        self._join(fleet)
        return self._settle(growing=False)

    def report(self, report: PoolReport, wall_s: float, *, growing: bool = True) -> Receipt:
        """Take in one pool's report and answer with the newest grant that may be sent.

        `growing` False: nobody gets more than they have.

        Raises `UnknownPoolError`; `ValueError` for a report that cannot be true;
        `StaleTermError` if the pool acts on a grant of a later leader, or of another one that
        has the same term.
        """
        account = self.accounts.get(report.pool_id)
        if account is None:
            raise UnknownPoolError(report.pool_id)
        self._check(account, report)
        if report.sequence <= account.sequence:
            return Receipt(grant=account.sendable)
        if account.misfit:
            believe(account, self._fleet.pool(account.spec.id), report)
        changed = account.report is None or account.held != report.state.held
        if self._record_term < report.acted_term < self.term:
            self._distrust(report.acted_term)
        account.report, account.reported_at_s = report, wall_s
        account.sequence = report.sequence
        account.acknowledge(report.acted_term, report.acted_epoch)
        if report.acted_term == self.term:
            account.unknown = 0
        else:
            self._adopt(account, report)
        if self._note(account):
            self._settle(growing=growing)
        if account.reserved == 0 and (account.leaving or account.misfit):
            self._join(self._fleet)
        return Receipt(grant=account.sendable, changed=changed)

    def aim(
        self, replicas: Mapping[PoolId, int], reasons: Mapping[PoolId, str], *, growing: bool = True
    ) -> tuple[Grant, ...]:
        """Move towards `replicas` as far as the charges allow; returns the grants issued."""
        for pool_id, target in replicas.items():
            account = self.accounts[pool_id]
            account.aim(target, reasons)
            self._note(account)
        return self._settle(growing=growing)

    def waits_for(self, pool_id: PoolId) -> str:
        """Why the pool has less than its target; empty if it has it."""
        account = self.accounts[pool_id]
        if account.misfit:
            return account.misfit
        if account.granted >= account.target:
            return "waits for the record to be written" if self._held_back(account) else ""
        if account.report is None:
            return "has not reported yet"
        if account.report.withdrawn:
            return "has withdrawn: it says that it cannot start more"
        tight = [self.limits[i] for i, _ in self._books.under(pool_id)]
        others = sorted({id for limit in tight for id in limit.pools} - {pool_id})
        unknown = [id for id in others if not self.accounts[id].known]
        if unknown:
            return f"waits for a first report of {', '.join(unknown)}{self._of_lost(unknown)}"
        releasing = [id for id in others if self.accounts[id].charged > self.accounts[id].granted]
        if releasing:
            return f"waits for {', '.join(releasing)} to release GPUs"
        return "waits for GPUs"

    def _of_lost(self, pools: Iterable[PoolId]) -> str:
        """What an operator can do about pools that the document has no more."""
        lost = [id for id in pools if self.accounts[id].leaving]
        return f" (`weir drain {lost[0]}` if nothing of it runs)" if lost else ""

    def _join(self, fleet: Fleet) -> None:
        """Accounts for what the fleet has, and for what of the others may still be running."""
        self._fleet = fleet
        there = {spec.id for spec in fleet.pools}
        for id in [id for id in self.accounts if id not in there]:
            if retire(self.accounts[id]):
                self._short.discard(id)
                del self.accounts[id]
        for spec in fleet.pools:
            join(self.accounts, spec, known=self._goes_on)
        leaving = [account.spec for account in self.accounts.values() if account.leaving]
        self._books = Books(limits_of(fleet, leaving))
        for account in self.accounts.values():
            self._note(account)

    def _check(self, account: Account, report: PoolReport) -> None:
        if report.acted_term > self.term:
            raise StaleTermError(term=self.term, seen_term=report.acted_term)
        for name, replicas in (("state", report.state.held), ("acted", report.acted_replicas)):
            if replicas > _MOST_REPLICAS:
                raise ValueError(f"{name} names {replicas} replicas, more than {_MOST_REPLICAS}")
        if report.acted_term == self.term and report.acted_epoch > self.epoch:
            raise StaleTermError(term=self.term, seen_term=report.acted_term)

    def _distrust(self, term: int) -> None:
        """The record is older than a grant that a pool acts on: others may act on such, too."""
        self._record_term = term
        for account in self.accounts.values():
            report = account.report
            if report is None or report.acted_term != self.term:
                account.unknown = max(account.unknown, account.spec.max_replicas)
                self._note(account)

    def _adopt(self, account: Account, report: PoolReport) -> None:
        """Begin with what the pool has: a grant of this term that changes nothing.

        Until the pool acts on one, what it has is what it says last. A first report that was
        late must not give it back what an earlier leader has taken away since. A planner that
        has forgotten its grants may have acted on a later leader's: it gets back what it does
        not run only with the next write of the record.
        """
        own = account.newest is not None and account.newest.term == self.term
        live = report.state.ready + report.state.starting
        found = report.acted_replicas if report.acted_term > 0 else live
        changed = not own or found < account.granted
        if not own or (report.acted_term > 0 and account.undecided):
            changed |= found != account.granted
            least = 0 if account.leaving else account.spec.min_replicas
            account.found = max(found, least)
            account.aim_because(account.found, "as found")
        if not own:
            account.reach = report.acted_replicas if report.acted_term > 0 else 0
        if changed:
            self._issue(account, found)

    def _note(self, account: Account) -> bool:
        """Keep the books, and who has another number than it wants; whether that matters now."""
        spec, id = account.spec, account.spec.id
        gpus = spec.gpus_per_replica
        booked = self._books.book(id, account.charged * gpus, account.reserved * gpus)
        if account.report is not None and account.wanted != account.granted:
            booked |= id not in self._short
            self._short.add(id)
        else:
            self._short.discard(id)
        return booked or id in self._short

    def _settle(self, *, growing: bool) -> tuple[Grant, ...]:
        """Issue what the targets call for: shrinking at once, growing as far as it fits."""
        short = [self.accounts[id] for id in sorted(self._short)]
        grants = [self._issue(a, a.wanted) for a in short if a.wanted < a.granted]
        growers = [a for a in short if a.wanted > a.granted] if growing else []
        if growers:
            room = _Room(self._books, self.accounts, growers)
            for level in _LEVELS:
                for account in growers:
                    room.grow(account, min(account.target, account.wanted, level(account)))
            leaving = [a for a in growers if a.wanted > a.target]
            if leaving:
                room.set_aside(self.accounts.values())
                for account in leaving:
                    room.grow(account, account.wanted)
            grants += [
                self._issue(account, room.planned[account.spec.id])
                for account in growers
                if room.planned[account.spec.id] > account.granted
            ]
        self._audit()
        return tuple(grants)

    def _issue(self, account: Account, replicas: int) -> Grant:
        self.epoch += 1
        partly = f" ({replicas} for now)" if replicas != account.target else ""
        grant = Grant(
            pool_id=account.spec.id,
            term=self.term,
            epoch=self.epoch,
            replicas=replicas,
            valid_s=self._valid_s,
            reason=account.reason + partly,
        )
        account.issue(grant)
        self.unwritten |= self._held_back(account)
        self._note(account)
        return grant

    def _audit(self) -> None:
        self.peak_charged_gpus = max(self.peak_charged_gpus, self._books.charged_gpus)
        above = self._books.above
        self.violations += above and not self._above
        self._above = above

    def _held_back(self, account: Account) -> bool:
        """Whether a grant of this term waits. Those of earlier leaders are in the record."""
        newest = account.newest
        return newest is not None and newest.term == self.term and newest is not account.sendable


class _Room:
    """What growing pools are to be granted beside what the others may be running."""

    def __init__(
        self, books: Books, accounts: Mapping[PoolId, Account], growers: Collection[Account]
    ) -> None:
        self.planned = {account.spec.id: account.granted for account in growers}
        self._books = books
        self._accounts = accounts
        self._free = books.free()
        self._aside: dict[PoolId, int] = {}

    def set_aside(self, accounts: Collection[Account]) -> None:
        """From now on nobody gets what is set aside for another."""
        for account in accounts:
            id, spec = account.spec.id, account.spec
            missing = spec.aside_replicas - self._used(account)
            if missing > 0:
                self._aside[id] = missing
                self._take(id, missing * spec.gpus_per_replica)

    def grow(self, account: Account, wish: int) -> None:
        """As many replicas as fit, at most `wish` and at least those planned already."""
        id, gpus = account.spec.id, account.spec.gpus_per_replica
        more = min((self._free[i] // (gpus * each) for i, each in self._books.under(id)), default=0)
        if more < 0 or wish <= self.planned[id]:
            return
        used = self._used(account) + self._aside.get(id, 0)
        most = min(wish, used + more)
        if most > self.planned[id]:
            self.planned[id] = most
            if most > used:
                self._take(id, (most - used) * gpus)

    def _used(self, account: Account) -> int:
        return max(account.reserved, self.planned.get(account.spec.id, 0))

    def _take(self, pool_id: PoolId, gpus: int) -> None:
        for i, each in self._books.under(pool_id):
            self._free[i] -= gpus * each


_LEVELS: tuple[Callable[[Account], int], ...] = (
    lambda account: account.spec.min_replicas,
    lambda account: account.spec.aside_replicas,
    lambda account: account.spec.guarantee_replicas,
    lambda account: account.target,
)
"""What is granted first when not everything fits."""
