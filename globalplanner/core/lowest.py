"""Which replicas could go: the survivors serve as much as before, also with a margin.

With all of what they are planned to carry, and with `shrink_carry` of it: so demand that stays as
it is does not call a replica back. What was found is checked again at the next decision, which is
cheap, and looked into further.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from globalplanner.core.space import Space
from globalplanner.core.stand import Effort, Stand
from weir.domain.ids import PoolId
from weir.sizing.point import Change

__all__ = ["Lowest", "Tried"]

_TRUSTED = 12
"""Decisions for which a replica that could not go is not looked at again."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A pool could not have `count` replicas; `short` of the value was missing then."""

    count: int
    short: float
    full: float
    until: int


class Lowest:
    """`before`: what was found at the decision before, by pool; `tried`: what could not go."""

    def __init__(
        self,
        space: Space,
        number: int,
        before: Mapping[PoolId, int],
        tried: Mapping[PoolId, Tried],
    ) -> None:
        self._space, self._number = space, number
        ids = space.layout.ids
        self.replicas = [
            min(now, max(low, before.get(id, now))) if self._may_shrink(i) else now
            for i, (id, now, low) in enumerate(zip(ids, space.now, space.low, strict=True))
        ]
        self.tried = dict(tried)
        self.point = space.goodput.at(self.replicas, carry=space.rules.shrink_carry, start=1)
        self.sure: set[int] = set()
        """Components that serve everything, with the margin, with `replicas`."""

    def check(self, components: Iterable[int]) -> None:
        """See which components still serve everything with what was found before."""
        asked = [*components]
        self.point.find(asked)
        full, negligible = self._space.full, self._space.negligible
        self.sure = {c for c in asked if self.point.value[c] >= full[c] - negligible}

    def serving_everything(self) -> list[int]:
        """Components that serve everything, with the margin, with `replicas`."""
        full, negligible = self._space.full, self._space.negligible
        return [
            c
            for c, value in enumerate(self.point.value)
            if self.point.is_found(c) and value >= full[c] - negligible
        ]

    def settle(self, stand: Stand, effort: Effort) -> None:
        """Find what could go of `stand`."""
        self._begin(stand)
        members = self._space.goodput.components
        queues = {c: self._candidates(stand, c) for c in range(len(members))}
        queues = {c: queue for c, queue in queues.items() if queue}
        while queues and effort.left > 0:
            asked: list[tuple[int, int, int]] = [
                (c, queue[0], self.replicas[queue[0]] - 1) for c, queue in sorted(queues.items())
            ]
            good = self._as_good(stand, asked, effort)
            gone: dict[int, int] = {}
            for (c, pool, count), fits in zip(asked, good, strict=True):
                if fits:
                    gone[pool] = count
                if not fits or count <= self._space.low[pool]:
                    queues[c].pop(0)
            if gone:
                self.point.move(gone)
                for pool, count in gone.items():
                    self.replicas[pool] = count
            queues = {c: queue for c, queue in queues.items() if queue}
        self._without_worth(stand)

    def _may_shrink(self, pool: int) -> bool:
        view = self._space.views[pool]
        return not view.held and view.wish is None and view.backlog_replica_s is not None

    def _begin(self, stand: Stand) -> None:
        """Where `replicas` do no longer do, begin with what there is now."""
        members, again = self._space.goodput.components, []
        for c, component in enumerate(members):
            if c not in self.sure:
                again.append(c)
                for pool in component.pools:
                    self.replicas[pool] = stand.replicas[pool]
                    self.tried.pop(self._space.layout.ids[pool], None)
        changed = {p: self.replicas[p] for c in again for p in members[c].pools}
        worth = [c for c in again if self._worth_a_look(stand, c)]
        self.point.place(changed)
        self.point.find(worth)
        self._drop_idle(worth)

    def _worth_a_look(self, stand: Stand, component: int) -> bool:
        return any(
            self._may_go(stand, pool) for pool in self._space.goodput.components[component].pools
        )

    def _may_go(self, stand: Stand, pool: int) -> bool:
        """Whether prices leave it open that a replica is not needed."""
        space, count = self._space, self.replicas[pool]
        if count <= space.low[pool] or not self._may_shrink(pool):
            return False
        if stand.replicas[pool] != count:
            return True
        return stand.loss(pool) <= space.negligible

    def _drop_idle(self, components: Iterable[int]) -> None:
        """Replicas that the flows found leave idle can go for certain."""
        space = self._space
        idle = self.point.idle_replicas()
        gone = {}
        for c in components:
            for pool in space.goodput.components[c].pools:
                spare = min(int(idle[pool] + 1e-9), self.replicas[pool] - space.low[pool])
                if spare > 0 and self._may_shrink(pool):
                    gone[pool] = self.replicas[pool] = self.replicas[pool] - spare
        if gone:
            self.point.move(gone)

    def _candidates(self, stand: Stand, component: int) -> list[int]:
        """Pools whose next replica may go, those with the largest first."""
        space = self._space
        found = [
            pool
            for pool in space.goodput.components[component].pools
            if self._may_go(stand, pool) and not self._known(component, pool)
        ]
        found = [
            pool
            for pool in found
            if -self.point.bound(pool, self.replicas[pool] - 1)
            <= space.negligible + space.cost[pool]
        ]
        return sorted(found, key=lambda pool: (-space.layout.gpus[pool], pool))

    def _known(self, component: int, pool: int) -> bool:
        """Whether it was seen lately that it could not, and demand has hardly fallen since."""
        tried = self.tried.get(self._space.layout.ids[pool])
        return (
            tried is not None
            and tried.count >= self.replicas[pool] - 1
            and tried.until > self._number
            and tried.full - self._space.full[component] < 0.5 * tried.short
        )

    def _as_good(
        self, stand: Stand, asked: Sequence[tuple[int, int, int]], effort: Effort
    ) -> list[bool]:
        space = self._space
        changes: list[Change] = [((pool, count),) for _, pool, count in asked]
        floors = [self.point.value[c] - space.negligible - space.cost[pool] for c, pool, _ in asked]
        values = self.point.tries(changes, floors)
        effort.spend(len(changes))
        good = [value >= floor for value, floor in zip(values, floors, strict=True)]
        for i, (c, pool, count) in enumerate(asked):
            if not good[i]:
                short = max(floors[i] - values[i], 0.0)
                until = self._number + _TRUSTED + pool % _TRUSTED
                self.tried[space.layout.ids[pool]] = Tried(count, short, space.full[c], until)
        return self._good_in_full(stand, asked, good, effort)

    def _good_in_full(
        self,
        stand: Stand,
        asked: Sequence[tuple[int, int, int]],
        good: list[bool],
        effort: Effort,
    ) -> list[bool]:
        """The same without the margin, for components that do not serve everything with it."""
        space = self._space
        open_ = [
            i
            for i, (c, _, _) in enumerate(asked)
            if good[i] and self.point.value[c] < space.full[c] - space.negligible
        ]
        if not open_:
            return good
        changes, floors = [], []
        for i in open_:
            c, pool, count = asked[i]
            fewer = {p: self.replicas[p] for p in space.goodput.components[c].pools}
            saved = sum(space.cost[p] * (stand.replicas[p] - n) for p, n in fewer.items())
            fewer[pool] = count
            changes.append(tuple(sorted(fewer.items())))
            floors.append(stand.point.value[c] - space.negligible - saved - space.cost[pool])
        values = stand.point.tries(changes, floors)
        effort.spend(len(changes))
        for i, value, floor in zip(open_, values, floors, strict=True):
            good[i] = value >= floor
        return good

    def _without_worth(self, stand: Stand) -> None:
        """Pools that serve no class within SLO keep their minimum."""
        space = self._space
        for pool, component in enumerate(space.component_of):
            if component < 0 and self._may_shrink(pool):
                self.replicas[pool] = space.low[pool]
