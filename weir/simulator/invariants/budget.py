"""B1 and B2: GPUs that may be running fit into every limit, or are getting fewer.

What a pool may be running is the most of what it holds, in whatever state, and of the grant its
planner took last: a grant's expiry forbids starts, but frees nothing, and neither does the
planner's death. Without weir's roles it is what the pool holds.

A limit may be exceeded through no fault of the planners: by what is there at the start, when the
budget is lowered, when somebody starts replicas by hand. Then the excess must never grow (B2).
Only what planners cannot know yet is left out of that: a lowered budget until every pool acts
on a grant of a leader that has read it, replicas started by hand until a while after they are
gone or granted, for a report that tells of them may still be on its way.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from globalplanner.core.limits import limits_of
from weir.domain.fleet import PoolSpec
from weir.domain.ids import PoolId
from weir.domain.planning import Grant
from weir.simulator.cluster import PoolOfReplicas
from weir.simulator.invariants.log import ViolationLog

if TYPE_CHECKING:
    from weir.simulator.roles.pool_planner import PoolPlannerRole
    from weir.simulator.world import World

__all__ = ["BudgetRule"]

_EDIT_KNOWN_S = 30.0
"""After so long no planner acts on replicas that were started by hand and are gone or granted."""


@dataclass(slots=True)
class _Line:
    """One limit: what may be running under it, and by how much that exceeded it when last seen."""

    name: str
    gpus: int
    pools: frozenset[PoolId]
    used: int = 0
    excess: int = 0
    unheard: list[tuple[int, Callable[[], bool]]] = field(default_factory=list)
    """GPUs by which it was lowered, and whether that is known everywhere."""


@dataclass(slots=True)
class _Edit:
    """Replicas started by hand that no grant covers; so many were there at `seen_s`."""

    spec: PoolSpec
    replicas: int
    seen_s: float


class BudgetRule:
    def __init__(self, world: "World", log: ViolationLog) -> None:
        self._world = world
        self._log = log
        self._lines = [
            _Line(limit.name, limit.gpus, limit.pools) for limit in limits_of(world.fleet)
        ]
        self._of = {
            spec.id: [line for line in self._lines if spec.id in line.pools]
            for spec in world.fleet.pools
        }
        self._may = dict.fromkeys(self._of, 0)
        self._granted = dict.fromkeys(self._of, 0)
        self._edits: list[_Edit] = []
        self._uncovered: dict[PoolId, int] = {}
        self.dirty: dict[PoolId, None] = dict.fromkeys(self._of)
        """Pools to look at, in the order in which they changed."""
        self.peak_gpus = 0
        """The most that may have been running at once."""
        world.cluster.on_change.append(self._changed)

    def look(self) -> None:
        """At what has changed since the last time."""
        for line in self._summed_up():
            excess = max(0, line.used - line.gpus)
            if excess > line.excess and excess > self._unknown(line):
                self._exceeded(line, excess)
            line.excess = excess
        self.peak_gpus = max(self.peak_gpus, self._lines[0].used)

    def fits(self, spec: PoolSpec) -> bool:
        """Whether there is room for another replica of the pool."""
        gpus = spec.gpus_per_replica
        return all(line.used + gpus <= line.gpus for line in self._of[spec.id])

    # --- what happens ----------------------------------------------------------------------

    def answered(self, pool_id: PoolId) -> None:
        """A report's answer has reached the pool: it may act on another grant now."""
        self.dirty[pool_id] = None

    def start_ordered(self, role: "PoolPlannerRole", grant: Grant) -> None:
        """A pool planner orders a start."""
        pair = (grant.term, grant.epoch)
        late_s = role.clock.now_s() - role.expires_at_s.get(pair, -inf)
        if late_s >= 0.0:
            self._log.found(
                "B1",
                f"pool {grant.pool_id} orders a start under term {grant.term} epoch {grant.epoch}, "
                f"which expired {late_s:.3f} s ago",
            )

    def edited(self, spec: PoolSpec, replicas: int) -> None:
        """Somebody has started replicas by hand. That is nobody's violation."""
        if self._world.roles is not None:
            self._edits.append(_Edit(spec, replicas, self._world.now_s))
        self._rebase()

    def document_changed(self) -> None:
        """Limits are others now. That is nobody's violation either."""
        known = self._all_have_heard()
        for line, limit in zip(self._lines, limits_of(self._world.fleet), strict=True):
            if limit.gpus < line.gpus and known is not None:
                line.unheard.append((line.gpus - limit.gpus, known))
            line.gpus = limit.gpus
        self.dirty.update(dict.fromkeys(self._of))
        self._rebase()

    # --- sums ------------------------------------------------------------------------------

    def _changed(self, pool: PoolOfReplicas) -> None:
        self.dirty[pool.spec.id] = None

    def _summed_up(self) -> list[_Line]:
        """The limits under which something has changed."""
        touched = []
        for pool_id in self.dirty:
            pool = self._world.cluster.pools[pool_id]
            held = len(pool.replicas)
            may = max(held, self._grant_of(pool_id)) * pool.spec.gpus_per_replica
            if self._edits:
                self._see_edits(pool_id, held)
            for line in self._of[pool_id]:
                line.used += may - self._may[pool_id]
                touched.append(line)
            self._may[pool_id] = may
        self.dirty.clear()
        return touched

    def _grant_of(self, pool_id: PoolId) -> int:
        """Replicas of the grant that was taken last; a dead planner's counts until another."""
        if self._world.roles is not None:
            pace = self._world.roles.pool_planner(pool_id).pace
            if pace is not None and pace.grant is not None:
                self._granted[pool_id] = pace.grant.replicas
        return self._granted[pool_id]

    def _rebase(self) -> None:
        for line in self._summed_up():
            line.excess = max(0, line.used - line.gpus)

    # --- what planners cannot know ---------------------------------------------------------

    def _unknown(self, line: _Line) -> int:
        line.unheard = [(gpus, known) for gpus, known in line.unheard if not known()]
        edits = [edit for edit in self._edits if edit.spec.id in line.pools]
        by_hand = sum(edit.replicas * edit.spec.gpus_per_replica for edit in edits)
        return by_hand + sum(gpus for gpus, _ in line.unheard)

    def _see_edits(self, pool_id: PoolId, held: int) -> None:
        """The pool has changed: until now it was as it was seen before."""
        now_s, uncovered = self._world.now_s, max(0, held - self._granted[pool_id])
        for edit in self._edits:
            if edit.spec.id != pool_id:
                continue
            if self._uncovered.get(pool_id, 0) >= edit.replicas:
                edit.seen_s = now_s
            elif now_s - edit.seen_s > _EDIT_KNOWN_S:
                edit.replicas = uncovered
        self._uncovered[pool_id] = uncovered
        self._edits = [edit for edit in self._edits if edit.replicas]

    def _all_have_heard(self) -> Callable[[], bool] | None:
        """Tells whether every living pool planner acts on a grant of a later leader than now.

        None if nobody need hear.
        """
        roles = self._world.roles
        if roles is None:
            return None
        term = max(role.newest_term for role in roles.global_planners)
        heard = False

        def all_have() -> bool:
            nonlocal heard
            grants = [role.pace.grant for role in roles.pool_planners if role.pace is not None]
            heard = heard or all(grant is not None and grant.term > term for grant in grants)
            return heard

        return all_have

    def _exceeded(self, line: _Line, excess: int) -> None:
        pools = self._world.cluster.pools
        parts = [
            f"{id} holds {len(pools[id].replicas)} and may run {self._may[id]} GPUs"
            for id in sorted(line.pools)
        ]
        was = f", exceeded by {line.excess} before" if line.excess else ""
        self._log.found(
            "B2" if line.excess else "B1",
            f"{line.name}: {line.used} GPUs may be running of {line.gpus}{was}: {'; '.join(parts)}",
        )
