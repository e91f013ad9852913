"""What one decision keeps for the next: bases, estimates, what could go."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from globalplanner.core.arbiter.estimates import Estimates
from globalplanner.core.arbiter.layout import Layout
from globalplanner.core.arbiter.lowest import Tried
from globalplanner.core.arbiter.snapshot import Memory, Snapshot
from globalplanner.core.arbiter.spread import Groups
from weir.domain.ids import PoolId
from weir.sizing.basis import Floats
from weir.sizing.bundle import Bases

__all__ = ["Kept", "kept_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What makes the next decision faster. All of it could be worked out anew."""

    layout: Layout
    groups: Groups
    bases: tuple[Bases, Bases, Bases] = ({}, {}, {})
    """Of what there is, of what would do, and of what guarantees hold."""
    low: Mapping[PoolId, int] = field(default_factory=dict)
    tried: Mapping[PoolId, Tried] = field(default_factory=dict)
    sure: frozenset[PoolId] = frozenset()
    """Components, by their first pool, that had room to shrink."""
    estimates: Estimates
    rates: Floats | None = None
    number: int = 0
    turn: int = 0
    """Counts what takes turns in large fleets."""
    put_off: int = 0
    """How often in a row the turn was left to the next decision."""
    fresh: bool = True


def kept_of(snapshot: Snapshot, memory: Memory) -> Kept:
    """What the decision before has kept, as far as it holds for this snapshot."""
    before: Kept | None = memory.kept
    layout = Layout.of(snapshot, before.layout if before is not None else None)
    if before is not None and layout is before.layout:
        return before
    kept = Kept(layout=layout, groups=Groups(layout), estimates=Estimates(len(layout.ids)))
    if before is None:
        return kept
    return replace(kept, bases=before.bases, low=before.low, tried=before.tried, sure=before.sure)
