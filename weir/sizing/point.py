"""What one allocation is worth, and what others near it would be."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, nan

import numpy as np

from weir.domain.ids import PoolId
from weir.sizing.basis import Floats, Indices, Optimum
from weir.sizing.bundle import Bases, Kept
from weir.sizing.places import Places
from weir.sizing.simplex import near, solve
from weir.sizing.times import Times

__all__ = ["Change", "Point"]

Change = tuple[tuple[int, int], ...]
"""Pools, by position, each with the replicas that it has then; all of one component."""

_MOST_MOVES = 20
"""Rounding errors add up from move to move."""


@dataclass(frozen=True, slots=True)
class _Tried:
    """What has been found for a change: row `at` of `found`."""

    value: float
    reached: bool
    found: Optimum
    at: int


class Point:
    """An allocation that moves, with its value by component and its prices.

    Nothing is known until it is asked for: see `certify` and `find`.
    """

    def __init__(self, places: Places, times: Times, replicas: Sequence[int], start: int) -> None:
        self._places = places
        self._bundles, self._component_of = places.bundles, places.component_of
        self._place, self._slots = places.of_component, places.slots
        self.times = times
        self.replicas = list(replicas)
        self._start = start
        components = len(places.of_component)
        self.value = [nan] * components
        """By component; not a number where it is not known."""
        self._found = [False] * components
        self._price = [0.0] * len(places.component_of)
        self._late_price = [0.0] * len(places.component_of)
        self._optima: list[Optimum | None] = [None] * len(places.bundles)
        self._moves = [0] * components
        self._tried: list[dict[Change, _Tried]] = [{} for _ in range(components)]
        self._time, self._extra = self._times()

    def certify(self, component: int, value: float) -> None:
        """Say what a component is worth, if that is known without a search."""
        self.value[component] = value

    @property
    def prices(self) -> Floats:
        """Of one replica, as far as it has no queued work; 0 where nothing is found."""
        prices: Floats = self.times.carry * np.array(self._price, dtype=np.float64)
        return prices

    def is_found(self, component: int) -> bool:
        return self._found[component]

    def find(self, components: Iterable[int]) -> "Point":
        """Find the optima of components; what is already found stays."""
        rows: dict[int, list[int]] = {}
        for number in {*components}:
            if not self._found[number]:
                i, row = self._place[number]
                rows.setdefault(i, []).append(row)
        for i, those in rows.items():
            bundle, at = self._bundles[i], np.array(sorted(those))
            basis = bundle.bases[self._start].take(at)
            self._put(i, at, solve(bundle.programs, at, self._time[i][at], basis))
        return self

    def at(self, replicas: Sequence[int], times: Times) -> "Point":
        """Another point for the same demand, found as far as this one is."""
        other = Point(self._places, times, replicas, self._start)
        for i, (bundle, optimum) in enumerate(zip(self._bundles, self._optima, strict=True)):
            if optimum is None:
                continue
            found = [row for row, number in enumerate(bundle.numbers) if self._found[number]]
            if found:
                rows = np.array(found, dtype=np.intp)
                time = other._time[i][rows]
                other._put(i, rows, near(bundle.programs, rows, time, optimum.take(rows)))
        return other

    def bound(self, pool: int, count: int) -> float:
        """The most that the pool's having `count` replicas would add; what it loses at least."""
        first, late, extra = self.times.of(pool, count)
        first_now, late_now, extra_now = self.times.of(pool, self.replicas[pool])
        return (
            (first - first_now) * self._price[pool]
            + (late - late_now) * self._late_price[pool]
            + extra
            - extra_now
        )

    def tries(
        self, changes: Sequence[Change], floors: Sequence[float] | None = None
    ) -> list[float]:
        """What the component of each change would be worth with it.

        Below its floor it may be less than is said.
        """
        of = self._component_of
        self.find(of[change[0][0]] for change in changes)
        asked: dict[Change, float] = {}
        for i, change in enumerate(changes):
            floor = floors[i] if floors is not None else -inf
            tried = self._tried[of[change[0][0]]].get(change)
            if tried is None or not (tried.reached or tried.value < floor):
                asked[change] = min(floor, asked.get(change, inf))
        by_bundle: dict[int, list[Change]] = {}
        for change in asked:
            bundle, _ = self._place[of[change[0][0]]]
            by_bundle.setdefault(bundle, []).append(change)
        for bundle, those in by_bundle.items():
            self._try(bundle, those, [asked[change] for change in those])
        return [self._tried[of[change[0][0]]][change].value for change in changes]

    def place(self, change: Mapping[int, int]) -> None:
        """Change the replicas of some pools; what that is worth is to be found or certified."""
        self._set(change)
        for number in {self._component_of[pool] for pool in change} - {-1}:
            self._found[number] = False
            self.value[number] = nan
            bundle, row = self._place[number]
            for pool in self._bundles[bundle].members[row].pools:
                self._price[pool] = self._late_price[pool] = 0.0

    def move(self, change: Mapping[int, int]) -> None:
        """Change the replicas of some pools. What is certified has to be found then."""
        tried = self._tried_moves(change)
        self._set(change)
        components = {self._component_of[pool] for pool in change} - {-1}
        rows: dict[int, list[int]] = {}
        for number in components:
            bundle, row = self._place[number]
            if number in tried and self._moves[number] < _MOST_MOVES:
                self._put(bundle, np.array([row]), tried[number])
            elif self._found[number]:
                rows.setdefault(bundle, []).append(row)
        for i, those in rows.items():
            self._solve(i, np.array(sorted(those)))
        self.find(components)

    def bases(self, before: Bases) -> dict[PoolId, Kept]:
        """Where the optima are, to begin the next search there; where none is, as `before`."""
        kept = dict(before)
        for bundle, optimum in zip(self._bundles, self._optima, strict=True):
            if optimum is not None:
                rows = [row for row, number in enumerate(bundle.numbers) if self._found[number]]
                kept |= bundle.keep(rows, optimum.basis)
        return kept

    def caught_up(self) -> Floats:
        """Replicas' worth of time that goes into queued work, by pool."""
        return self.times.caught_up(np.array(self.replicas, dtype=np.float64), self._busy_time())

    def idle_replicas(self) -> Floats:
        """Replicas' worth of time that nothing is done with, by pool; 0 where nothing is found."""
        count = np.array(self.replicas, dtype=np.float64)
        found = [number >= 0 and self._found[number] for number in self._component_of]
        idle = np.where(found, count - self._busy_time() / self.times.carry, 0.0)
        result: Floats = np.where(self.times.backlog > 0.0, 0.0, np.maximum(idle, 0.0))
        return result

    def served_rps(self, classes: int) -> Floats:
        """Requests/s through each pool, shape (pools, classes)."""
        served = np.zeros((len(self._component_of) + 1, classes))
        for bundle, time in zip(self._bundles, self._busy(), strict=True):
            rates = time[:, :, :-1] * bundle.capacity_rps
            np.add.at(served, (bundle.pool_at[:, :, None], bundle.class_at[:, None, :]), rates)
        return served[:-1]

    def _busy_time(self) -> Floats:
        """Replicas' worth of time that planned load takes, by pool."""
        busy = np.zeros(len(self._component_of) + 1)
        for bundle, time in zip(self._bundles, self._busy(), strict=True):
            np.add.at(busy, bundle.pool_at, time[:, :, :-1].sum(axis=2))
        return busy[:-1]

    def _busy(self) -> list[Floats]:
        """Time by program, slot and column; none where nothing has been found."""
        result = []
        for bundle, optimum, time in zip(self._bundles, self._optima, self._time, strict=True):
            busy = np.zeros(bundle.programs.worth.shape)
            result.append(busy)
            if optimum is None:
                continue
            found = np.array([self._found[number] for number in bundle.numbers])
            real = (optimum.source >= 0) & found[:, None]
            place = (np.nonzero(real)[0], optimum.source[real], optimum.column[real])
            np.add.at(busy, place, np.maximum(optimum.amount[real], 0.0))
            rows = np.flatnonzero(found)
            left = np.maximum(time[rows] - busy[rows].sum(axis=2), 0.0)
            busy[rows[:, None], np.arange(time.shape[1]), optimum.key[rows]] += left
        return result

    def _times(self) -> tuple[list[Floats], list[Floats]]:
        """By bundle: time by program and slot, and what catching up is worth by program."""
        parts = self.times.of_all(np.array(self.replicas, dtype=np.float64))
        free, late, extra = (np.append(each, 0.0) for each in parts)
        first = [bundle.pool_at[:, : bundle.pools] for bundle in self._bundles]
        second = [bundle.pool_at[:, bundle.pools :] for bundle in self._bundles]
        times = [
            np.concatenate([free[one], late[other]], axis=1)
            for one, other in zip(first, second, strict=True)
        ]
        return times, [extra[one].sum(axis=1) for one in first]

    def _tried_moves(self, change: Mapping[int, int]) -> dict[int, Optimum]:
        """The optima of components that have been tried at just the same."""
        parts: dict[int, list[tuple[int, int]]] = {}
        for pool, count in change.items():
            if count != self.replicas[pool]:
                parts.setdefault(self._component_of[pool], []).append((pool, count))
        found = {}
        for number, part in parts.items():
            tried = self._tried[number].get(tuple(sorted(part))) if number >= 0 else None
            if tried is not None and tried.reached:
                found[number] = tried.found.take(np.array([tried.at]))
        return found

    def _set(self, change: Mapping[int, int]) -> None:
        for pool, count in change.items():
            number = self._component_of[pool]
            if number >= 0:
                bundle, row = self._place[number]
                self._tried[number] = {}
                self._moves[number] += 1
                self._extra[bundle][row] += self._fill(self._time[bundle][row], pool, count)
            self.replicas[pool] = count

    def _solve(self, i: int, rows: Indices) -> None:
        """Find the optima of some programs of a bundle anew, their times having changed."""
        bundle, optimum = self._bundles[i], self._optima[i]
        assert optimum is not None
        time = self._time[i][rows]
        numbers = [bundle.numbers[row] for row in rows.tolist()]
        if max(self._moves[number] for number in numbers) < _MOST_MOVES:
            found = near(bundle.programs, rows, time, optimum.take(rows))
        else:
            found = solve(bundle.programs, rows, time, optimum.take(rows).basis)
            for number in numbers:
                self._moves[number] = 0
        self._put(i, rows, found)

    def _put(self, i: int, rows: Indices, found: Optimum) -> None:
        """The optima of some programs of a bundle have been found."""
        bundle, optimum = self._bundles[i], self._optima[i]
        if len(rows) == len(bundle.numbers):
            self._optima[i] = found
        else:
            if optimum is None:
                optimum = self._optima[i] = found.room(len(bundle.numbers))
            optimum.put(rows, found)
        values = found.value * bundle.scale[rows] + self._extra[i][rows]
        prices = found.price * bundle.scale[rows][:, None]
        for row, value, price in zip(rows.tolist(), values.tolist(), prices.tolist(), strict=True):
            number, pools = bundle.numbers[row], bundle.members[row].pools
            self.value[number] = value
            self._found[number] = True
            for pool, each in zip(pools, price, strict=False):
                self._price[pool] = each
            for position, each in zip(bundle.late[row], price[bundle.pools :], strict=False):
                self._late_price[pools[position]] = each

    def _try(self, i: int, changes: Sequence[Change], floors: Sequence[float]) -> None:
        """Find the values of changes in components of one bundle."""
        bundle, optimum = self._bundles[i], self._optima[i]
        assert optimum is not None
        numbers = [self._component_of[change[0][0]] for change in changes]
        rows = np.array([self._place[number][1] for number in numbers])
        time, extra = self._time[i][rows], self._extra[i][rows]
        for n, change in enumerate(changes):
            for pool, count in change:
                extra[n] += self._fill(time[n], pool, count)
        scale = bundle.scale[rows]
        floor = (np.array(floors) - extra) / scale
        found = near(bundle.programs, rows, time, optimum.take(rows), floor)
        values = found.value * scale + extra
        reached = found.reached.tolist()
        for n, (number, value) in enumerate(zip(numbers, values.tolist(), strict=True)):
            self._tried[number][changes[n]] = _Tried(value, reached[n], found, n)

    def _fill(self, time: Floats, pool: int, count: int) -> float:
        """Fill in the time of `count` replicas; by how much catching up gains from them."""
        first_slot, late_slot = self._slots[pool]
        first, late, extra = self.times.of(pool, count)
        time[first_slot] = first
        if late_slot < 0:
            return 0.0
        time[late_slot] = late
        return extra - self.times.of(pool, self.replicas[pool])[2]
