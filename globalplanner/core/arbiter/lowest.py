"""Which replicas could go: the survivors serve as much as before, also with a margin.

With all of what they are planned to carry, and with less of it: so demand that stays as
it is does not call a replica back. What was found is checked again at the next decision, which is
cheap, and looked into further.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from globalplanner.core.arbiter.space import Space
from globalplanner.core.arbiter.stand import Effort, Stand
from weir.domain.ids import PoolId
from weir.sizing.basis import Floats
from weir.sizing.point import Change

__all__ = ["Lowest", "Tried"]

_LEAST_CARRY = 0.5
_RATE_RPS = 4.0
"""k times so many requests a second vary, as they are measured, like the load of k replicas."""
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
        self.point = space.goodput.at(self.replicas, carry=_carry(space), start=1)
        self.sure: set[int] = set()
        """Components that serve everything, with the margin, with `replicas`."""
        self.seen: set[int] = set()
        """Components of which `replicas` has been checked against what there is now."""

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

    def settle(
        self, stand: Stand, effort: Effort, components: Sequence[int], *, rounds: int
    ) -> None:
        """Find what could go of `stand` in these components.

        Each round another replica of each component may go.
        """
        unsure = [c for c in components if c not in self.sure]
        self.seen = self.sure | {*self._begin(stand, unsure, rounds)}
        components = [c for c in components if c in self.seen]
        asked = [(c, pool) for c in components for pool in self._candidates(stand, c)]
        for _ in range(rounds):
            if not asked or effort.left <= 0:
                break
            asked = self._good(stand, asked[: effort.left], effort)
            gone: dict[int, int] = {}
            served: set[int] = set()
            for c, pool in asked:
                if c not in served:
                    served.add(c)
                    gone[pool] = self.replicas[pool] = self.replicas[pool] - 1
            self.point.move(gone)
            asked = [(c, i) for c, i in asked if self.replicas[i] > self._space.low[i]]
        self._without_worth(stand)

    def may_go(self, pool: int) -> bool:
        """Whether it has been checked that what could go still can."""
        component = self._space.component_of[pool]
        return component < 0 or component in self.seen

    def _may_shrink(self, pool: int) -> bool:
        view = self._space.views[pool]
        return not view.held and view.wish is None and view.backlog_replica_s is not None

    def _begin(self, stand: Stand, components: Sequence[int], rounds: int) -> list[int]:
        """Give back what is needed again; components in which `replicas` do then."""
        members = self._space.goodput.components
        fewer = [c for c in components if self._fewer(stand, c)]
        same = [c for c in components if c not in fewer]
        self.point.find(fewer)
        raised = self._raised(stand, fewer, rounds)
        lost = raised - self._good_as_they_are(stand, sorted(raised))
        same += lost
        changed = {pool: stand.replicas[pool] for c in same for pool in members[c].pools}
        for pool, count in changed.items():
            self.replicas[pool] = count
        self.point.place(changed)
        worth = [c for c in same if self._worth_a_look(stand, c)]
        self.point.find(worth)
        self._drop_idle(worth)
        return [*same, *sorted(raised - lost)]

    def _raised(self, stand: Stand, components: Sequence[int], rounds: int) -> set[int]:
        """Components in which nothing is gained by more, after a replica or two given back.

        Value is concave: if prices say so of each pool that has fewer, it is so of all together.
        """
        space, point = self._space, self.point
        members = space.goodput.components
        done: set[int] = set()
        for _ in range(rounds + 1):
            moved = {}
            for c in components:
                if c in done:
                    continue
                open_ = [i for i in members[c].pools if self.replicas[i] < stand.replicas[i]]
                gain = {i: point.bound(i, self.replicas[i] + 1) - space.cost[i] for i in open_}
                best = max(open_, key=lambda i: (gain[i] / space.layout.size[i], -i), default=None)
                if best is None or gain[best] <= space.negligible:
                    done.add(c)
                else:
                    moved[best] = self.replicas[best] = self.replicas[best] + 1
            if not moved:
                break
            point.move(moved)
        return done

    def _fewer(self, stand: Stand, component: int) -> bool:
        """Whether fewer would do by what was found before, and not more."""
        pools = self._space.goodput.components[component].pools
        more = any(self.replicas[pool] > stand.replicas[pool] for pool in pools)
        return not more and any(self.replicas[pool] < stand.replicas[pool] for pool in pools)

    def _good_as_they_are(self, stand: Stand, components: Sequence[int]) -> set[int]:
        """Components in which as much is served with `replicas`, without the margin."""
        space, members = self._space, self._space.goodput.components
        full, point = space.full, self.point
        good = {c for c in components if point.value[c] >= full[c] - space.negligible}
        unsure = [c for c in components if c not in good]
        pools = [members[c].pools for c in unsure]
        fewer: list[Change] = [tuple((p, self.replicas[p]) for p in those) for those in pools]
        for c, those, value in zip(unsure, pools, stand.point.tries(fewer), strict=True):
            saved = sum(space.cost[p] * (stand.replicas[p] - self.replicas[p]) for p in those)
            if value >= stand.point.value[c] - space.negligible - saved:
                good.add(c)
        return good

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
        return sorted(found, key=lambda pool: (-space.layout.size[pool], pool))

    def _known(self, component: int, pool: int) -> bool:
        """Whether it was seen lately that it could not, and demand has hardly fallen since."""
        tried = self.tried.get(self._space.layout.ids[pool])
        return (
            tried is not None
            and tried.count >= self.replicas[pool] - 1
            and tried.until > self._number
            and tried.full - self._space.full[component] < 0.5 * tried.short
        )

    def _good(
        self, stand: Stand, asked: Sequence[tuple[int, int]], effort: Effort
    ) -> list[tuple[int, int]]:
        """Those of components and pools without a replica of which as much is served."""
        space, point = self._space, self.point
        changes: list[Change] = [((pool, self.replicas[pool] - 1),) for _, pool in asked]
        floors = [point.value[c] - space.negligible - space.cost[pool] for c, pool in asked]
        values = point.tries(changes, floors)
        effort.spend(len(changes))
        good = []
        for (c, pool), value, floor in zip(asked, values, floors, strict=True):
            if value >= floor:
                good.append((c, pool))
                continue
            self.tried[space.layout.ids[pool]] = Tried(
                count=self.replicas[pool] - 1,
                short=floor - value,
                full=space.full[c],
                until=self._number + _TRUSTED + pool % _TRUSTED,
            )
        return self._good_in_full(stand, good, effort)

    def _good_in_full(
        self, stand: Stand, asked: Sequence[tuple[int, int]], effort: Effort
    ) -> list[tuple[int, int]]:
        """The same without the margin, for components that do not serve everything with it."""
        space, point = self._space, self.point
        members = space.goodput.components
        unsure = [
            (c, pool) for c, pool in asked if point.value[c] < space.full[c] - space.negligible
        ]
        if not unsure:
            return [*asked]
        changes, floors = [], []
        for c, pool in unsure:
            fewer = {p: self.replicas[p] - (p == pool) for p in members[c].pools}
            saved = sum(space.cost[p] * (stand.replicas[p] - n) for p, n in fewer.items())
            changes.append(tuple(sorted(fewer.items())))
            floors.append(stand.point.value[c] - space.negligible - saved)
        values = stand.point.tries(changes, floors)
        effort.spend(len(changes))
        bad = {
            each for each, value, floor in zip(unsure, values, floors, strict=True) if value < floor
        }
        return [each for each in asked if each not in bad]

    def _without_worth(self, stand: Stand) -> None:
        """Pools that serve no class within SLO keep their minimum."""
        space = self._space
        for pool, component in enumerate(space.component_of):
            if component < 0 and self._may_shrink(pool):
                self.replicas[pool] = space.low[pool]


def _carry(space: Space) -> Floats:
    """By pool, the share of what replicas are planned to carry that they may have to after one
    has gone.

    Load varies by chance as the root of how many replicas it keeps busy, and is measured the
    better the more requests there are: the smaller of both.
    """
    replicas = np.maximum(1.0, np.array(space.now, dtype=np.float64))
    rates = space.offer.demand.rate_rps.sum(axis=1)[space.layout.model]
    unsure = np.minimum(1.0 / np.sqrt(replicas), np.sqrt(_RATE_RPS / np.maximum(rates, 1e-9)))
    result: Floats = np.maximum(_LEAST_CARRY, 1.0 - space.rules.shrink_margin * unsure)
    return result
