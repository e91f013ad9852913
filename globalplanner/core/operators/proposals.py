"""Which part of a decision may happen: all of it, what an operator approved, or nothing.

Invariants of `through`:

* act: the whole decision passes. advise: nothing does, so pools keep what they have.
* approve: what passes is approved, or a limit forces it. Forced are replicas that go while a limit
  is exceeded, of pools under it, one by one until it holds, as the decision has them; and what a
  pool's own bounds ask for: no fewer than its minimum, no more than its maximum or ceiling (it was
  drained or has withdrawn).
* Of what is approved no growth passes that a limit does not hold together with all else that is
  aimed for. It waits for room a while, and then has to be proposed anew. So does what is approved
  of a pool that is held now (it was frozen, it is silent), and fewer replicas while demand is not
  known: who approved could not know.
* A proposal never changes. Its id is a digest of its changes: who approves it gets what they have
  read, whichever leader they have read it from.
* Waiting proposals have no pool in common, so there are at most as many as pools. One is made of
  changes that belong together: of pools of one model, or where one pool gives what another gets.
* A proposal waits while decisions come to about the same, and a while longer. It is superseded by
  a decision for any of its pools that comes to something else.
"""

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import TypeVar

from globalplanner.core.arbiter.snapshot import Decision, Memory, PoolView, Snapshot
from globalplanner.core.operators.forced import fitting, forced, least, most
from globalplanner.core.operators.proposed import Proposal, ProposedChange, parts_of, proposal_of
from weir.domain.decision import Outcome
from weir.domain.errors import UnknownProposalError
from weir.domain.ids import PoolId

__all__ = ["Gate", "Mode", "held_at", "remembered"]

_LAPSE_S = 60.0
"""A proposal is forgotten when no decision has come to it for so long."""
_REJECTED_S = 900.0
"""What was rejected is not proposed again for so long."""
_MOST_REJECTED = 100

_Replicas = Mapping[PoolId, int]
_T = TypeVar("_T")


class Mode(StrEnum):
    """Who lets a decision happen: nobody need, an operator, or nobody does."""

    ACT = "act"
    APPROVE = "approve"
    ADVISE = "advise"


class Gate:
    """`through` is told of every decision; `approve` and `reject` of what people say."""

    def __init__(self, mode: Mode = Mode.ACT) -> None:
        self.mode = mode
        self.outcome = Outcome.ACTED
        """What became of the decision that came last."""
        self._waiting: dict[str, Proposal] = {}
        self._approved: dict[str, Proposal] = {}
        self._rejected: dict[str, Proposal] = {}

    @property
    def waiting(self) -> tuple[Proposal, ...]:
        """Oldest first."""
        return tuple(sorted(self._waiting.values(), key=lambda each: (each.at_s, each.id)))

    @property
    def plans(self) -> bool:
        """Whether routers may be told another plan."""
        return self.mode is not Mode.ADVISE

    def switch(self, mode: Mode) -> None:
        """From now on; nothing waits any more if it is another mode."""
        if mode is not self.mode:
            self.clear()
            self.mode = mode

    def clear(self) -> None:
        """Forget everything, as when another leader has decided meanwhile."""
        self._waiting.clear()
        self._approved.clear()
        self._rejected.clear()

    def approve(self, proposal_id: str) -> Proposal:
        """It passes with the next decision. Raises `UnknownProposalError` if it does not wait."""
        proposal = self._take(proposal_id)
        self._approved[proposal.id] = proposal
        return proposal

    def reject(self, proposal_id: str) -> Proposal:
        """It is dropped, and not proposed again soon. Raises `UnknownProposalError`."""
        proposal = self._take(proposal_id)
        self._rejected[proposal.id] = proposal
        while len(self._rejected) > _MOST_REJECTED:
            self._rejected.pop(next(iter(self._rejected)))
        return proposal

    def through(self, before: _Replicas, decision: Decision, snapshot: Snapshot) -> _Replicas:
        """What is aimed for of the pools that the decision is about; `before` was until now."""
        if self.mode is Mode.ACT:
            self.outcome = Outcome.ACTED
            return decision.replicas
        aims: dict[PoolId, int] = {}
        if self.mode is Mode.APPROVE:
            taken = forced(before, decision, snapshot)
            aims = self._with_approved(taken, before, snapshot)
            open_to = {id: n for id, n in decision.replicas.items() if id not in aims}
            self._propose({**before, **aims}, replace(decision, replicas=open_to), snapshot)
            self.outcome = self._what_became(approved=aims != taken)
        else:
            self.outcome = Outcome.ADVISED
        return {id: aims.get(id, before.get(id, after)) for id, after in decision.replicas.items()}

    def _what_became(self, *, approved: bool) -> Outcome:
        if approved:
            return Outcome.APPROVED
        return Outcome.PROPOSED if self._waiting else Outcome.ACTED

    def _take(self, proposal_id: str) -> Proposal:
        try:
            return self._waiting.pop(proposal_id)
        except KeyError:
            raise UnknownProposalError(proposal_id) from None

    def _with_approved(
        self, taken: _Replicas, before: _Replicas, snapshot: Snapshot
    ) -> dict[PoolId, int]:
        """`taken` and what is approved, as far as limits and bounds hold it.

        What has been reached, or cannot be, is approved no more.
        """
        aims = dict(taken)
        views = {view.spec.id: view for view in snapshot.pools}
        going_on: dict[str, Proposal] = {}
        for proposal in self._approved.values():
            if snapshot.now_s - proposal.seen_at_s > _LAPSE_S or not proposal.stands(before):
                continue
            going_on[proposal.id] = proposal
            for change in sorted(proposal.changes, key=lambda each: each.more > 0):
                id = change.pool_id
                now = aims.get(id, before[id])
                if id not in views or now != change.before or _waits(change, views[id], snapshot):
                    continue
                if change.more < 0:
                    aims[id] = max(change.after, least(views[id]))
                else:
                    top = min(change.after, most(views[id]))
                    aims[id] = fitting(now, top, id, {**before, **aims}, snapshot)
        self._approved = going_on
        return {id: count for id, count in aims.items() if count != before[id]}

    def _propose(self, aimed: _Replicas, decision: Decision, snapshot: Snapshot) -> None:
        now_s = snapshot.now_s
        self._rejected = {
            id: each for id, each in self._rejected.items() if now_s - each.seen_at_s <= _REJECTED_S
        }
        kept = [each for each in self._waiting.values() if each.stands(aimed)]
        known: dict[str, Proposal] = {}
        taken: set[PoolId] = set()
        for changes in parts_of(aimed, decision, snapshot):
            known |= self._proposed(changes, kept, now_s)
            taken |= {change.pool_id for change in changes}
        for each in kept:
            if taken.isdisjoint(each.pools) and now_s - each.seen_at_s <= _LAPSE_S:
                known[each.id] = each
        self._waiting = known

    def _proposed(
        self, changes: tuple[ProposedChange, ...], kept: list[Proposal], now_s: float
    ) -> dict[str, Proposal]:
        """The proposal that these come to, unless they were rejected."""
        if any(each.about(changes) for each in self._rejected.values()):
            return {}
        same = next((each for each in kept if each.about(changes)), None)
        if same is None:
            same = proposal_of(changes, now_s)
        return {same.id: replace(same, seen_at_s=now_s)}


def _waits(change: ProposedChange, view: PoolView, snapshot: Snapshot) -> bool:
    """Whether the approved change must not happen now.

    Nothing is taken while demand is unknown, nor from a pool of which nobody knows what is queued.
    """
    unknown = snapshot.loads is None or (view.backlog_replica_s is None and view.wish is None)
    return bool(view.held) or (change.more < 0 and unknown)


def remembered(memory: Memory, decision: Decision, before: _Replicas, aims: _Replicas) -> Memory:
    """What the next decision is to know, if of this one only `aims` happen.

    Of a pool whose change did not pass it knows what this one knew: no replica of it is trusted to
    come, none has left, and what has not been needed for long has not been for even longer.
    """
    stopped = {
        id for id, after in decision.replicas.items() if aims.get(id, before.get(id)) != after
    }
    if not stopped:
        return decision.memory
    new = decision.memory

    def kept(made: Mapping[PoolId, _T], known: Mapping[PoolId, _T]) -> dict[PoolId, _T]:
        happened = {id: value for id, value in made.items() if id not in stopped}
        return happened | {id: value for id, value in known.items() if id in stopped}

    return replace(
        new,
        lulls=kept(new.lulls, memory.lulls),
        steps=kept(new.steps, memory.steps),
        left=kept(new.left, memory.left),
    )


def held_at(snapshot: Snapshot, replicas: _Replicas) -> Snapshot:
    """The moment if pools had these replicas and were to keep them: for what routers are told."""
    pools = (
        replace(view, replicas=replicas.get(view.spec.id, view.replicas), held="as it is")
        for view in snapshot.pools
    )
    return replace(snapshot, pools=tuple(pools))
