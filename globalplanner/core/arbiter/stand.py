"""An allocation that moves: what it is worth, and what room the limits leave."""

from collections.abc import Sequence

import numpy as np

from globalplanner.core.arbiter.space import Space
from weir.sizing.basis import Floats
from weir.sizing.point import Change, Point

__all__ = ["Effort", "Move", "Stand", "joined"]

Move = tuple[tuple[int, int], ...]
"""Replicas to add, or to take away if below 0, by pool in ascending order."""


class Effort:
    """Programs that may still be weighed: work is bounded by counts, so that it is the same on
    every machine; the next decision goes on."""

    def __init__(self, programs: int) -> None:
        self.left = programs

    def spend(self, programs: int) -> None:
        self.left -= programs


class Stand:
    """Value by component, prices, and what limits leave free, of `point`, which moves with it.

    `full`: what each component is worth when nothing is left unserved.
    """

    def __init__(self, space: Space, point: Point, full: Sequence[float]) -> None:
        self.space, self.point, self.full = space, point, full
        self.free = space.free(point.replicas)

    @property
    def replicas(self) -> list[int]:
        return self.point.replicas

    @property
    def value(self) -> float:
        """What is served, without wishes and costs."""
        return sum(self.point.value)

    @property
    def prices(self) -> Floats:
        """The most that one more replica would add, by pool."""
        prices: Floats = self.point.prices - np.array(self.space.cost)
        for pool in self._special():
            prices[pool] = self.hope(pool)
        return prices

    @property
    def losses(self) -> Floats:
        """The least that one replica fewer would lose, by pool."""
        losses: Floats = self.point.prices - np.array(self.space.cost)
        for pool in self._special():
            losses[pool] = self.loss(pool)
        return losses

    def certain(self, pool: int) -> bool:
        """Whether all that the pool could help to serve is served, without that being weighed."""
        component = self.space.component_of[pool]
        return component >= 0 and not self.point.is_found(component)

    def with_backlog(self, backlog_replicas: Floats) -> "Stand":
        """The same with so much queued work that counts."""
        goodput = self.space.goodput
        times = goodput.times(backlog_replicas=backlog_replicas)
        full = goodput.full(backlog_replicas)
        point = self.point.at(self.replicas, times)
        for component in range(len(full)):
            if not point.is_found(component):
                point.certify(component, full[component])
        return Stand(self.space, point, full)

    def behind_guarantee(self) -> bool:
        """Whether a pool may need more within its guarantee."""
        guarantee, high = self.space.layout.guarantee, self.space.high
        return any(
            count < min(guarantee[pool], high[pool]) and self._wants(pool)
            for pool, count in enumerate(self.replicas)
        )

    def _wants(self, pool: int) -> bool:
        component = self.space.component_of[pool]
        if component < 0:
            return self.space.views[pool].wish is not None
        return not self.satisfied(component)

    def _special(self) -> list[int]:
        """Pools whose next replica is not worth what the last one is."""
        return [*np.flatnonzero(self.point.times.backlog > 0.0).tolist(), *self.space.wishes]

    def satisfied(self, component: int) -> bool:
        return self.point.value[component] >= self.full[component] - self.space.negligible

    def gains(self, moves: Sequence[Move], effort: Effort | None = None) -> list[float]:
        """What each move would add, costs taken off."""
        space, replicas = self.space, self.point.replicas
        totals = [0.0] * len(moves)
        changes: list[Change] = []
        of: list[tuple[int, int]] = []
        for m, move in enumerate(moves):
            by_component: dict[int, list[tuple[int, int]]] = {}
            for pool, more in move:
                component = space.component_of[pool]
                count = replicas[pool] + more
                totals[m] -= space.cost[pool] * more
                if component >= 0:
                    by_component.setdefault(component, []).append((pool, count))
                elif space.views[pool].wish is not None:
                    totals[m] += space.wished(pool, replicas[pool], count)
            for component, change in by_component.items():
                changes.append(tuple(change))
                of.append((m, component))
        if changes:
            values = self.point.tries(changes)
            for (m, component), value in zip(of, values, strict=True):
                totals[m] += value - self.point.value[component]
            if effort is not None:
                effort.spend(len(changes))
        return totals

    def hope(self, pool: int) -> float:
        """The most that one more replica would add, costs taken off."""
        space, count = self.space, self.point.replicas[pool]
        if space.views[pool].wish is not None:
            return space.wished(pool, count, count + 1) - space.cost[pool]
        if space.component_of[pool] < 0:
            return 0.0
        return self.point.bound(pool, count + 1) - space.cost[pool]

    def loss(self, pool: int) -> float:
        """The least that one replica fewer would lose, costs taken off; below 0 it gains."""
        space, count = self.space, self.point.replicas[pool]
        if space.views[pool].wish is not None:
            return -space.wished(pool, count, count - 1) - space.cost[pool]
        if space.component_of[pool] < 0:
            return -space.cost[pool]
        return -self.point.bound(pool, count - 1) - space.cost[pool]

    def needs(self, move: Move) -> dict[int, int]:
        """GPUs, or watts, that a move takes, by limit."""
        space, replicas = self.space, self.point.replicas
        needs: dict[int, int] = {}
        for pool, more in move:
            count = replicas[pool]
            added = space.footprint(pool, count + more) - space.footprint(pool, count)
            if added:
                for limit, each in space.layout.takes_of[pool]:
                    needs[limit] = needs.get(limit, 0) + added * each
        return needs

    def fits(self, move: Move) -> bool:
        """Whether the limits allow a move; one that only lowers what exceeds them they do."""
        return all(need <= max(self.free[k], 0) for k, need in self.needs(move).items())

    def apply(self, move: Move) -> None:
        for limit, need in self.needs(move).items():
            self.free[limit] -= need
        self.point.move({pool: self.point.replicas[pool] + more for pool, more in move})

    def follow(self, move: Move) -> None:
        """Make a move; what has not been weighed before is not weighed now."""
        of, replicas = self.space.component_of, self.point.replicas
        change = {pool: replicas[pool] + more for pool, more in move}
        known = {p: n for p, n in change.items() if of[p] >= 0 and self.point.is_found(of[p])}
        self.point.place({p: n for p, n in change.items() if p not in known})
        self.point.move(known)


def joined(*moves: Move) -> Move:
    """All together, as one."""
    sums: dict[int, int] = {}
    for move in moves:
        for pool, more in move:
            sums[pool] = sums.get(pool, 0) + more
    return tuple(sorted((pool, more) for pool, more in sums.items() if more))
