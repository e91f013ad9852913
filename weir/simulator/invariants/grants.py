"""B1 over leaders: what the record must hold, and what may be sent before it does.

* A grant that lets a pool have more than it acts on is sent, in an answer or pushed, only when a
  record that its leader has written charges the pool for as much: whoever leads next begins there.
* A pool that has withdrawn is granted no more than it has said, from then on.
* While the store keeps its data, the record's term never falls, each term is one process's, and a
  leader begins with all that was charged, and all that operators had changed, under the one before.
* The record leaves out no pool that acts on a grant.
"""

from typing import TYPE_CHECKING

from globalplanner.service import GlobalPlanner
from weir.domain.ids import PoolId
from weir.domain.planning import Grant
from weir.domain.record import LedgerRecord, PoolLine
from weir.simulator.invariants.log import ViolationLog

if TYPE_CHECKING:
    from weir.simulator.world import World

__all__ = ["GrantRule"]


class GrantRule:
    def __init__(self, world: "World", log: ViolationLog) -> None:
        self._world = world
        self._log = log
        self._covered: dict[int, dict[PoolId, int]] = {}
        """Replicas that each term's newest record charges, by pool."""
        self._owners: dict[tuple[int, int], str] = {}
        """Of terms, since the store has lost its data so often."""

    def written(self, record: LedgerRecord, before: LedgerRecord | None) -> None:
        """The store holds this record now; `before` it held that one."""
        self._covered[record.term] = {line.pool_id: _charge(line) for line in record.pools}
        if before is not None:
            self._goes_on(record, before)
        if record.owner:
            wipes = self._world.roles.plane.store.wipes if self._world.roles is not None else 0
            owner = self._owners.setdefault((wipes, record.term), record.owner)
            if owner != record.owner:
                self._log.found("B1", f"term {record.term} is {owner}'s and {record.owner}'s")

    def sent(self, planner: GlobalPlanner, grant: Grant) -> None:
        """A GlobalPlanner answers a report with this grant, or pushes it."""
        covered = self._covered.get(grant.term, {}).get(grant.pool_id, 0)
        acts_on = self._world.invariants.budget.granted(grant.pool_id)
        if grant.replicas > max(covered, acts_on):
            self._log.found(
                "B1",
                f"pool {grant.pool_id} is told that it may have {grant.replicas} replicas, but acts"
                f" on {acts_on} and the record of term {grant.term} charges {covered}",
            )
        account = planner.ledger.accounts[grant.pool_id] if planner.ledger is not None else None
        report = account.report if account is not None else None
        if report is not None and report.withdrawn and grant.replicas > report.acted_replicas:
            self._log.found(
                "B1",
                f"pool {grant.pool_id} has withdrawn to {report.acted_replicas} replicas, but is"
                f" granted {grant.replicas}",
            )

    def _goes_on(self, record: LedgerRecord, before: LedgerRecord) -> None:
        term, charges = record.term, self._covered[record.term]
        if term < before.term:
            self._log.found("B1", f"the record's term falls from {before.term} to {term}")
        for line in before.pools:
            id, was = line.pool_id, _charge(line)
            if id not in charges and (acts_on := self._world.invariants.budget.granted(id)):
                self._log.found("B1", f"the record leaves out pool {id}, which acts on {acts_on}")
            if term != before.term and charges.get(id, 0) < was:
                self._log.found("B1", f"term {term} begins with less than {was} replicas of {id}")
        if term != before.term and record.overrides != before.overrides:
            self._log.found("B1", f"term {term} begins without what operators had changed before")


def _charge(line: PoolLine) -> int:
    most = max((grant.replicas for grant in line.open), default=0)
    return max(line.charged_replicas, line.unknown_replicas, most)
