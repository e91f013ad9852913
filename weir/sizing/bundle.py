"""Components whose programs are solved together, and what their bases are kept as.

Each pool has a slot for its time. A pool with queued work has a second, late slot: the part of its
time that is missing then for catching up, at the price of that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from weir.domain.ids import PoolId
from weir.sizing.basis import Basis, Flags, Floats, Indices, Programs
from weir.sizing.components import Component

__all__ = ["Bases", "Bundle", "Kept", "Market"]

_MOST_CAPACITY = 1e6
"""In multiples of a stream's rate: keeps the programs well scaled."""
_MOST_REPLICAS = 1e6
"""No more are of use to a stream, however large it is: the same."""
_UNEVEN = 1e-8
"""Otherwise equal columns differ by this share of their worth, so that no step goes in circles."""
_GOLDEN = 0.6180339887498949
_LIMIT = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """What all programs are made of.

    Shape (pools, classes): `usable_rps`, 0 where a pool is of no use; (models, classes):
    `rate_rps`, `worth`; (pools,) the others. `passing` is 1 for prefill, -1 for decode, 0 for
    aggregated pools. Planned load that takes a late replica takes `late_cost` from catching up.
    """

    pool_ids: Sequence[PoolId]
    usable_rps: Floats
    entering: Flags
    passing: Floats
    rate_rps: Floats
    worth: Floats
    late_cost: Floats
    behind: Flags


@dataclass(frozen=True, slots=True)
class Kept:
    """The basis of one component, to begin the next search from.

    `source`: a pool's position; -1 for what the limit of a row leaves; -2 - i for the late slot of
    pool i.
    """

    classes: int
    key: Indices
    source: Indices
    column: Indices
    late: tuple[int, ...]
    """Pools whose late slot the basis needs."""


Bases = Mapping[PoolId, Kept]
"""By the first pool of the component."""


class Bundle:
    """`numbers`: the components in it; `width`: the most classes of any component."""

    def __init__(
        self,
        market: Market,
        components: Sequence[Component],
        numbers: Sequence[int],
        *,
        width: int,
        two_stages: bool,
        bases: Sequence[Bases],
    ) -> None:
        self.numbers = numbers
        self.members = [components[number] for number in numbers]
        self._width = width
        self._rows = (width + 1) * (2 if two_stages else 1)
        self._classes = market.usable_rps.shape[1]
        self._names = [market.pool_ids[member.pools[0]] for member in self.members]
        kept = [self._usable(of_one) for of_one in bases]
        self.late = self._late_slots(market.behind.tolist(), kept)
        self.pools = max(len(member.pools) for member in self.members)
        slots = self.pools + max(len(late) for late in self.late)
        self.pool_at = np.full((len(numbers), slots), len(market.pool_ids))
        """The pool of each slot; one past the last for none."""
        self.class_at = np.zeros((len(numbers), width), dtype=np.intp)
        for row, member in enumerate(self.members):
            self.pool_at[row, : len(member.pools)] = member.pools
            self.class_at[row, : len(member.classes)] = member.classes
            for i, position in enumerate(self.late[row]):
                self.pool_at[row, self.pools + i] = member.pools[position]
        self.programs, self.scale, self.capacity_rps = self._programs(market)
        self.bases = [self._basis(of_one) for of_one in kept]
        """Where to begin, by what is to be found."""

    def keep(self, rows: Sequence[int], basis: Basis) -> dict[PoolId, Kept]:
        """The bases of some of its components, for the next search."""
        at = np.array(rows, dtype=np.intp)
        key, source, column = basis.key[at], basis.source[at], basis.column[at]
        for n, slot in zip(*np.nonzero(source >= self.pools), strict=True):
            source[n, slot] = -2 - self.late[rows[n]][source[n, slot] - self.pools]
        late = np.any(source < _LIMIT, axis=1).tolist()
        return {
            self._names[row]: Kept(
                len(self.members[row].classes),
                key[n, : len(self.members[row].pools)],
                source[n],
                column[n],
                tuple(sorted({-2 - each for each in source[n].tolist() if each < _LIMIT}))
                if late[n]
                else (),
            )
            for n, row in enumerate(rows)
        }

    def _usable(self, bases: Bases) -> list[Kept | None]:
        """Those of the components' shapes."""
        return [
            old
            if (old := bases.get(name)) is not None
            and len(old.key) == len(member.pools)
            and old.classes == len(member.classes)
            and len(old.source) == self._rows
            else None
            for name, member in zip(self._names, self.members, strict=True)
        ]

    def _late_slots(
        self, behind: Sequence[bool], kept: Sequence[Sequence[Kept | None]]
    ) -> list[list[int]]:
        """By component the positions of pools with a late slot: those behind, or in a basis."""
        return [
            sorted(
                {i for i, pool in enumerate(member.pools) if behind[pool]}.union(
                    *(old.late for of_one in kept if (old := of_one[row]) is not None)
                )
            )
            for row, member in enumerate(self.members)
        ]

    def _basis(self, kept: Sequence[Kept | None]) -> Basis:
        basis = self.programs.idle(np.arange(len(kept)))
        for row, old in enumerate(kept):
            if old is None:
                continue
            basis.key[row, : len(old.key)] = old.key
            source = old.source
            if old.late:
                source = source.copy()
                for position in old.late:
                    slot = self.pools + self.late[row].index(position)
                    source[source == -2 - position] = slot
            basis.source[row], basis.column[row] = source, old.column
        self._drop_unusable(basis)
        return basis

    def _drop_unusable(self, basis: Basis) -> None:
        """Begin afresh where a pool no longer serves what the basis has it serve."""
        b = np.arange(len(basis.key))[:, None]
        worth = self.programs.worth
        q = np.where(basis.source >= 0, basis.source, 0)
        column = np.where(basis.source >= 0, basis.column, self._width)
        unusable = np.isneginf(worth[b, q, column]).any(axis=1)
        of_key = np.take_along_axis(worth, basis.key[:, :, None], 2)[:, :, 0]
        basis.key[np.isneginf(of_key)] = self._width
        if unusable.any():
            rows = np.flatnonzero(unusable)
            basis.put(rows, self.programs.idle(rows))

    def _programs(self, market: Market) -> tuple[Programs, Floats, Floats]:
        """The programs, their units of value, and requests/s by slot and column.

        In the programs rates are in multiples of what the strongest replica carries.
        """
        count, width = len(self.members), self._width
        class_at = self.class_at
        classes = np.array([len(member.classes) for member in self.members])
        real = np.arange(width) < classes[:, None]
        model = np.array([member.model for member in self.members])[:, None]
        pool = self.pool_at[:, :, None]
        rate = np.where(real, market.rate_rps[model, class_at], 0.0)
        capacity = _padded(market.usable_rps)[pool, class_at[:, None, :]] * real[:, None, :]
        able = capacity > 0.0
        capacity = np.minimum(capacity, _MOST_CAPACITY * np.maximum(rate, 1e-9)[:, None, :])
        strongest = capacity.max(axis=1)
        strongest[strongest <= 0.0] = 1.0
        through = capacity / strongest[:, None, :]
        worth = np.where(real, market.worth[model, class_at], 0.0) * strongest
        scale = worth.max(axis=1)
        scale[scale <= 0.0] = 1.0
        worth /= scale[:, None]
        entering = np.append(market.entering, False)[self.pool_at][:, :, None]
        passing = _padded(market.passing)[self.pool_at][:, :, None]
        cost = np.zeros(self.pool_at.shape)
        late = self.pool_at[:, self.pools :]
        cost[:, self.pools :] = _padded(market.late_cost)[late] / scale[:, None]
        each = through * worth[:, None, :]
        uneven = _UNEVEN * each * (0.5 + (_GOLDEN * (pool * width + np.arange(width))) % 1.0)
        value = np.where(able, np.where(entering, each, 0.0) - cost[:, :, None] - uneven, -np.inf)
        most = np.zeros((count, self._rows))
        most[:, :width] = np.minimum(rate / strongest, _MOST_REPLICAS)
        programs = Programs(
            _with_idle(np.where(entering, through, 0.0)),
            _with_idle(through * passing),
            _with_idle(value),
            most,
        )
        return programs, scale, capacity


def _padded(array: Floats | Flags) -> Floats | Flags:
    """`array` with one more row of nothing, for slots without a pool."""
    return np.concatenate([array, np.zeros((1, *array.shape[1:]), dtype=array.dtype)])


def _with_idle(columns: Floats) -> Floats:
    result = np.zeros((*columns.shape[:2], columns.shape[2] + 1))
    result[:, :, :-1] = columns
    return result
