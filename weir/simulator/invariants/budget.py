"""B1 and B2: GPUs that may be running, and their power, fit into every limit, or get fewer.

What a pool may be running is the most of what it holds, in whatever state, starts included that
are on their way to the cluster, and of the grant its planner took last: a grant's expiry forbids
starts, but frees nothing, and neither does the planner's death. Without weir's roles it is what
the pool holds.

A limit may be exceeded through no fault of the planners: by what is there at the start, when the
budget is lowered, when somebody starts replicas by hand. Then the excess must never grow (B2),
but for what planners cannot know yet, see `unknown`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from globalplanner.core.budget.limits import Limit, limits_of
from weir.domain.fleet import Fleet, PoolSpec
from weir.domain.ids import PoolId
from weir.domain.planning import Grant
from weir.simulator.cluster import PoolOfReplicas
from weir.simulator.invariants.log import ViolationLog
from weir.simulator.invariants.unknown import Unknown

if TYPE_CHECKING:
    from weir.simulator.roles.pool_planner import PoolPlannerRole
    from weir.simulator.world import World

__all__ = ["BudgetRule"]

_ON_ITS_WAY_S = 9.5
"""An order that has not arrived after so long is lost; planners wait a little longer."""


@dataclass(slots=True)
class _Line:
    """One limit. It may be exceeded by `given`, which only falls, and by what is `unknown`.

    `seen` is the excess at the last look. All are GPUs, or watts, as `limit` has it.
    """

    limit: Limit
    most: int
    used: int = 0
    given: int = 0
    unknown: int = 0
    seen: int = 0

    @property
    def excess(self) -> int:
        return max(0, self.used - self.most)


class BudgetRule:
    def __init__(self, world: "World", log: ViolationLog) -> None:
        self._world = world
        self._log = log
        self._counting: Callable[[], Sequence[Fleet]] = lambda: [world.fleet]
        self._lines = [_Line(limit, limit.most) for limit in limits_of(world.fleet)]
        self._of = {
            spec.id: [line for line in self._lines if spec.id in line.limit.pools]
            for spec in world.fleet.pools
        }
        self._may = dict.fromkeys(self._of, 0)
        self._granted = dict.fromkeys(self._of, 0)
        self._orders = 0
        self._ordered_s: dict[PoolId, dict[int, float]] = {id: {} for id in self._of}
        """When starts were ordered that have not arrived, by number."""
        self._unknown = Unknown(world)
        self._begun = False
        self.dirty: dict[PoolId, None] = dict.fromkeys(self._of)
        """Pools to look at, in the order in which they changed."""
        self.peak_gpus = 0
        """The most that may have been running at once."""
        world.cluster.on_change.append(self._changed)

    def look(self) -> None:
        """At what has changed since the last time."""
        lines = self._summed_up()
        if not self._begun:
            self._begun = True
            self._rebase()
        for line in lines:
            if line.unknown or self._unknown:
                self._learn(line)
            excess = line.excess
            if excess > line.given + line.unknown:
                self._exceeded(line)
                line.given = excess
            elif excess < line.given:
                line.given = excess
            line.seen = excess
        self.peak_gpus = max(self.peak_gpus, self._lines[0].used)

    def counts(self, fleets: Callable[[], Sequence[Fleet]]) -> None:
        """Any of these fleets may count: operators have changed something, perhaps."""
        self._counting = fleets

    def granted(self, pool_id: PoolId) -> int:
        """Replicas of the grant that the pool may act on now."""
        return self._grant_of(pool_id)

    def fits(self, spec: PoolSpec) -> bool:
        """Whether there is room for another replica of the pool."""
        gpus = spec.gpus_per_replica
        return all(
            line.used + gpus * line.limit.per_gpu(spec.id) <= line.most
            for line in self._of[spec.id]
        )

    # --- what happens ----------------------------------------------------------------------

    def answered(self, pool_id: PoolId) -> None:
        """A report's answer has reached the pool: it may act on another grant now."""
        self.dirty[pool_id] = None

    def start_ordered(self, role: "PoolPlannerRole", grant: Grant) -> int:
        """A pool planner orders a start; returns the order's number."""
        self._orders += 1
        self._ordered_s[grant.pool_id][self._orders] = self._world.now_s
        self.dirty[grant.pool_id] = None
        pair = (grant.term, grant.epoch)
        late_s = role.clock.now_s() - role.expires_at_s.get(pair, -inf)
        if late_s >= 0.0:
            self._log.found(
                "B1",
                f"pool {grant.pool_id} orders a start under term {grant.term} epoch {grant.epoch}, "
                f"which expired {late_s:.3f} s ago",
            )
        return self._orders

    def start_arrived(self, pool_id: PoolId, order: int) -> None:
        """The cluster has been told to start a replica, or has refused to."""
        self._ordered_s[pool_id].pop(order, None)
        self.dirty[pool_id] = None

    def edited(self, spec: PoolSpec, replicas: int) -> None:
        """Somebody has started replicas by hand. That is nobody's violation."""
        self._excuse(lambda: self._unknown.edited(spec, replicas))

    def document_changed(self) -> None:
        """Limits are others now. That is nobody's violation either."""
        most = self._limits_now()

        def lower() -> None:
            for line in self._lines:
                if most[line.limit.name] < line.most:
                    self._unknown.lowered(line.limit, line.most - most[line.limit.name])

        self._excuse(lower)
        for line in self._lines:
            line.most = most[line.limit.name]
        self.dirty.update(dict.fromkeys(self._of))
        if self._world.roles is None:
            self._rebase()

    def _limits_now(self) -> dict[str, int]:
        """What limits hold, for all pools that there are, whatever the document says of them."""
        pools = self._world.scenario.fleet.pools
        most: dict[str, int] = {}
        for fleet in self._counting():
            for limit in limits_of(replace(fleet, pools=pools)):
                most[limit.name] = max(limit.most, most.get(limit.name, 0))
        return most

    def _excuse(self, unknown: Callable[[], None]) -> None:
        """Let something be unknown to planners; without roles it is given at once."""
        if self._world.roles is None:
            self._summed_up()
            self._rebase()
            return
        for line in self._lines:
            self._learn(line)
        unknown()
        for line in self._lines:
            line.unknown = self._unknown.under(line.limit)

    # --- sums ------------------------------------------------------------------------------

    def _changed(self, pool: PoolOfReplicas) -> None:
        self.dirty[pool.spec.id] = None

    def _summed_up(self) -> list[_Line]:
        """The limits under which something has changed."""
        touched = []
        for pool_id in self.dirty:
            pool = self._world.cluster.pools[pool_id]
            held, granted = len(pool.replicas), self._grant_of(pool_id)
            may = max(held + self._on_its_way(pool_id), granted) * pool.spec.gpus_per_replica
            if self._unknown:
                self._unknown.changed(pool_id, held=held, granted=granted)
            for line in self._of[pool_id]:
                line.used += (may - self._may[pool_id]) * line.limit.per_gpu(pool_id)
                touched.append(line)
            self._may[pool_id] = may
        self.dirty.clear()
        return touched

    def _on_its_way(self, pool_id: PoolId) -> int:
        """Starts that were ordered and may still arrive."""
        ordered_s, now_s = self._ordered_s[pool_id], self._world.now_s
        for order in [o for o, at_s in ordered_s.items() if now_s - at_s > _ON_ITS_WAY_S]:
            del ordered_s[order]
        return len(ordered_s)

    def _grant_of(self, pool_id: PoolId) -> int:
        """Replicas of the grant that was taken last; a dead planner's counts until another."""
        if self._world.roles is not None:
            pace = self._world.roles.pool_planner(pool_id).pace
            if pace is not None and pace.grant is not None:
                self._granted[pool_id] = pace.grant.replicas
        return self._granted[pool_id]

    def _rebase(self) -> None:
        """What exceeds limits now is given."""
        for line in self._lines:
            line.given = line.excess

    def _learn(self, line: _Line) -> None:
        """What was unknown and has led to an excess is given from now on."""
        unknown = self._unknown.under(line.limit)
        if unknown < line.unknown:
            line.given = max(line.given, min(line.seen, line.given + line.unknown - unknown))
        line.unknown = unknown

    def _exceeded(self, line: _Line) -> None:
        pools = self._world.cluster.pools
        parts = [
            f"{id} holds {len(pools[id].replicas)} and may run {self._may[id]} GPUs"
            for id in sorted(line.limit.pools)
        ]
        was = f", exceeded by {line.given} before" if line.given else ""
        self._log.found(
            "B2" if line.given else "B1",
            f"{line.limit.name}: {line.used} {line.limit.unit} may be running of {line.most}{was}: "
            f"{'; '.join(parts)}",
        )
