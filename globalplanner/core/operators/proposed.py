"""What could happen if an operator lets it: changes that belong together."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from globalplanner.core.arbiter.snapshot import Decision, Snapshot
from globalplanner.core.operators.forced import gpus_of
from weir.domain.ids import PoolId

__all__ = ["Proposal", "ProposedChange", "parts_of", "proposal_of"]

_ABOUT = 0.25
"""Changes that differ by this share, or by one replica, are about the same."""
_ID_DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedChange:
    pool_id: PoolId
    before: int
    after: int
    reason: str

    @property
    def more(self) -> int:
        return self.after - self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Changes that happen together, by pool id. `at_s`: when it was made; `seen_at_s`: when a
    decision last came to about the same. Model seconds.
    """

    id: str
    at_s: float
    seen_at_s: float
    changes: tuple[ProposedChange, ...]

    @property
    def pools(self) -> frozenset[PoolId]:
        return frozenset(change.pool_id for change in self.changes)

    def stands(self, before: Mapping[PoolId, int]) -> bool:
        """Whether its pools still are where it found them."""
        return all(before.get(change.pool_id) == change.before for change in self.changes)

    def about(self, changes: Iterable[ProposedChange]) -> bool:
        """Whether these are the same pools, which change in the same direction by as much."""
        others = {change.pool_id: change.more for change in changes}
        return others.keys() == self.pools and all(
            _alike(change.more, others[change.pool_id]) for change in self.changes
        )


def proposal_of(changes: tuple[ProposedChange, ...], now_s: float) -> Proposal:
    return Proposal(id=_digest(changes), at_s=now_s, seen_at_s=now_s, changes=changes)


def parts_of(
    aimed: Mapping[PoolId, int], decision: Decision, snapshot: Snapshot
) -> Iterator[tuple[ProposedChange, ...]]:
    """What the decision changes further, in parts that can happen alone."""
    views = {view.spec.id: view for view in snapshot.pools}
    changes = [
        ProposedChange(
            pool_id=id, before=aimed[id], after=after, reason=decision.reasons.get(id, "")
        )
        for id, after in sorted(decision.replicas.items())
        if id in aimed and id in views and after != aimed[id]
    ]
    group = {change.pool_id: str(views[change.pool_id].spec.model) for change in changes}
    growing = {change.pool_id: change.after for change in changes if change.more > 0}
    gpus = gpus_of({**aimed, **growing}, snapshot)
    for limit in snapshot.limits:
        if limit.holds(gpus):
            continue
        joined = {group[id] for id in limit.pools if id in group}
        group = {id: min(joined) if of in joined else of for id, of in group.items()}
    for name in sorted(set(group.values())):
        yield tuple(change for change in changes if group[change.pool_id] == name)


def _alike(more: int, other: int) -> bool:
    if (more > 0) is not (other > 0):
        return False
    return abs(more - other) <= max(1.0, _ABOUT * abs(more))


def _digest(changes: Iterable[ProposedChange]) -> str:
    text = ";".join(f"{each.pool_id}:{each.before}:{each.after}" for each in changes)
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_DIGITS]
