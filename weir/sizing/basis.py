"""Flow programs, many of one shape at once: what pools' time is best spent on.

A unit of source q's time put into stream s adds `entering[q, s]` to what enters, of which there
may be `most[s]`, and `passing[q, s]` to what waits to be passed on, of which none may be left
(prefill adds to it, decode takes from it). It is worth `worth[q, s]`. A source has no more than
its time. The last column is idle time, which carries nothing and is worth nothing.

That is a linear program in which a column belongs to one source, so the sources need no rows in
the basis: of each source's columns one, its key, takes the time that the others leave
(generalised upper bounds: Dantzig and Van Slyke, Journal of Computer and System Sciences 1, 1967).
The basis has a row for each stream and stage, however many sources there are.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_LEAD", "Basis", "Flags", "Floats", "Indices", "Optimum", "Programs", "Working"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Flags = NDArray[np.bool_]

LEAST_LEAD = 1e-7
"""What would gain less than this share of the largest worth is left as it is."""
_TOLERANCE = 1e-9
_LARGEST = 1e8
"""A basis whose inverse has larger entries is singular but for rounding errors."""


class Programs:
    """Shapes: `entering`, `passing`, `worth` (programs, sources, columns), `most` (programs, rows).

    A column that a source cannot use is worth -inf. There is a row for each column, and if there
    are two stages again one for each; the idle columns' rows are there for the shape only.
    """

    def __init__(self, entering: Floats, passing: Floats, worth: Floats, most: Floats) -> None:
        self.entering, self.passing, self.worth, self.most = entering, passing, worth, most
        sources, columns = entering.shape[1:]
        rows = most.shape[1]
        self.source_of = np.append(np.repeat(np.arange(sources), columns), np.full(rows, -1))
        """Of all columns, and then of what the limits of the rows leave: -1."""
        self.column_of = np.append(np.tile(np.arange(columns), sources), np.arange(rows))

    def idle(self, which: Indices) -> "Basis":
        """Nothing is done."""
        sources, columns = self.entering.shape[1:]
        rows = self.most.shape[1]
        return Basis(
            np.full((len(which), sources), columns - 1, dtype=np.intp),
            np.full((len(which), rows), -1, dtype=np.intp),
            np.tile(np.arange(rows), (len(which), 1)),
        )


@dataclass(slots=True)
class Basis:
    """`key[q]`: column of source q. In slot j: column `column[j]` of source `source[j]`.

    Or, where `source[j]` is -1, what the limit of row `column[j]` leaves.
    """

    key: Indices
    source: Indices
    column: Indices

    def take(self, at: Indices) -> "Basis":
        return Basis(self.key[at], self.source[at], self.column[at])

    def put(self, at: Indices, other: "Basis") -> None:
        self.key[at], self.source[at], self.column[at] = other.key, other.source, other.column


@dataclass(slots=True)
class Optimum:
    """Of each program. `price`: of a source's time. `amount`: of what is in the slots.

    `lead`: what each column of each source, then each row's limit, would gain over what is in the
    basis; none is above 0. `reached` is False if the search was given up; then `value` is a bound.
    If leads have been `lowered`, it is the optimum of worths that are lower than they are.
    """

    value: Floats
    reached: Flags
    lowered: Flags
    key: Indices
    source: Indices
    column: Indices
    inverse: Floats
    amount: Floats
    price: Floats
    lead: Floats

    def take(self, at: Indices) -> "Optimum":
        return Optimum(*(getattr(self, name)[at] for name in _RESULTS))

    def put(self, at: Indices, other: "Optimum") -> None:
        for name in _RESULTS:
            getattr(self, name)[at] = getattr(other, name)

    def room(self, count: int) -> "Optimum":
        """Room for `count` programs."""
        own = (getattr(self, name) for name in _RESULTS)
        return Optimum(*(np.empty((count, *a.shape[1:]), a.dtype) for a in own))

    @property
    def basis(self) -> Basis:
        return Basis(self.key, self.source, self.column)

    @property
    def row_price(self) -> Floats:
        rows = self.source.shape[1]
        return -self.lead[:, -rows:]


_RESULTS = tuple(field.name for field in fields(Optimum))
_CARRIED = ("entering", "passing", "worth", "most", "time", "floor", "tolerance", "at")


class Working:
    """Programs on the way to their optima; those that are there drop out into `found`.

    `value` is that of the prices: an upper bound as long as there is no lead.
    """

    key: Indices
    source: Indices
    column: Indices
    inverse: Floats
    amount: Floats
    price: Floats
    lead: Floats

    def __init__(
        self, programs: Programs, which: Indices, time: Floats, floor: Floats | None = None
    ) -> None:
        count = len(which)
        self.sources, self.columns = programs.entering.shape[1:]
        self.rows = programs.most.shape[1]
        self.two_stages = self.rows > self.columns
        self.source_of, self.column_of = programs.source_of, programs.column_of
        self.entering = programs.entering[which]
        self.passing = programs.passing[which] if self.two_stages else self.entering
        self.worth = programs.worth[which]
        self.most = programs.most[which]
        self.time = time
        self.floor = np.full(count, -np.inf) if floor is None else floor
        self.tolerance = _TOLERANCE * time.max(axis=1, initial=1.0)
        self.at = np.arange(count)
        self.reached = np.ones(count, dtype=bool)
        self.lowered = np.zeros(count, dtype=bool)
        self.value = np.full(count, np.inf)
        self.b = np.arange(count)
        """Numbers of the programs that go on."""
        self._offset = np.arange(1, count * (self.sources + 1) + 1, self.sources + 1)[:, None]
        self._first = np.arange(self.sources) * self.columns
        self._found: Optimum | None = None

    @property
    def found(self) -> Optimum:
        assert self._found is not None
        return self._found

    def begin(self, basis: Basis) -> None:
        self.key, self.source, self.column = (
            basis.key.copy(), basis.source.copy(), basis.column.copy()
        )  # fmt: skip
        self.refresh()

    def go_on(self, optimum: Optimum) -> None:
        """From optima of these programs for other times, which are taken over."""
        self.key, self.source, self.column = optimum.key, optimum.source, optimum.column
        self.inverse, self.price, self.lead = optimum.inverse, optimum.price, optimum.lead
        self.settle()
        self.value = self.price_value()

    def refresh(self) -> None:
        """Work out everything from the basis anew; a singular one is given up for the idle one."""
        count, rows = self.source.shape
        flat = np.repeat(np.arange(count), rows)
        vectors = self.vectors(flat, self.source.ravel(), self.column.ravel())
        matrix = vectors.reshape(count, rows, rows).transpose(0, 2, 1)
        try:
            inverse: Floats = np.linalg.inv(matrix).astype(np.float64, copy=False)
            singular = np.abs(inverse).max(axis=(1, 2)) > _LARGEST
        except np.linalg.LinAlgError:
            singular = np.linalg.matrix_rank(matrix) < rows
        if singular.any():
            self._idle(singular)
            self.refresh()
            return
        self.inverse = inverse
        real = self.source >= 0
        b, q = np.arange(count)[:, None], np.where(real, self.source, 0)
        worth = self.worth[b, q, np.where(real, self.column, 0)] - self.worth[b, q, self.key[b, q]]
        worth[~real] = 0.0
        price = np.matmul(worth[:, None, :], self.inverse)[:, 0]
        gain = (self.worth - self.weighed(price)).reshape(count, -1)
        self.price = gain[b, self.key + self._first]
        self.lead = np.concatenate([self._relative(gain, self.price), -price], axis=1)
        self.settle()

    def settle(self) -> None:
        """The amounts in the slots, from the times and limits."""
        columns, count = self.columns, len(self.key)
        busy = np.zeros((count, self.sources * columns))
        busy[np.arange(count)[:, None], self.key + self._first] = self.time
        busy = busy.reshape(self.entering.shape)
        rest = self.most.copy()
        rest[:, :columns] -= np.einsum("bqc,bqc->bc", self.entering, busy)
        if self.two_stages:
            rest[:, columns:] -= np.einsum("bqc,bqc->bc", self.passing, busy)
        self.amount = np.matmul(self.inverse, rest[:, :, None])[:, :, 0]

    def clip(self) -> None:
        """Make the prices admissible: the best keys, and where that is not enough lower leads."""
        count = len(self.key)
        split = np.zeros((count, self.sources + 1), dtype=bool)
        np.put_along_axis(split, self.source + 1, True, 1)
        lead = self.lead[:, : -self.rows].reshape(count, self.sources, self.columns)
        best = lead.argmax(axis=2)
        more = np.take_along_axis(lead, best[:, :, None], axis=2)[:, :, 0]
        change = ~split[:, 1:] & (more > LEAST_LEAD)
        if change.any():
            self.key = np.where(change, best, self.key)
            more = np.where(change, more, 0.0)
            self.price += more
            lead -= more[:, :, None]
            self.settle()
        self.lowered |= self.lead.max(axis=1) > LEAST_LEAD
        np.minimum(self.lead, 0.0, out=self.lead)
        self.value = np.where(self.lowered, np.inf, self.price_value())

    def price_value(self) -> Floats:
        limits: Floats = (self.lead[:, -self.rows :] * self.most).sum(axis=1)
        value: Floats = (self.price * self.time).sum(axis=1) - limits
        return value

    def weighed(self, rows: Floats) -> Floats:
        """Each column's sum over its rows, weighed with `rows`, shape (programs, rows)."""
        result: Floats = self.entering * rows[:, None, : self.columns]
        if self.two_stages:
            result += self.passing * rows[:, None, self.columns :]
        return result

    def rise(self, rows: Floats) -> tuple[Floats, Floats]:
        """`weighed` relative to the keys, then `rows` themselves; and of the keys."""
        weighed = self.weighed(rows).reshape(len(rows), -1)
        of_key = weighed[self.b[:, None], self.key + self._first]
        return np.concatenate([self._relative(weighed, of_key), rows], axis=1), of_key

    def vectors(self, b: Indices, source: Indices, column: Indices) -> Floats:
        """What the rows take up when a unit of time goes into a column instead of the key's.

        Of program `b[n]`; where `source[n]` is -1 it is what the limit of a row leaves.
        """
        n, columns = np.arange(len(b)), self.columns
        result = np.zeros((len(b), self.rows))
        limits = (source < 0).nonzero()[0]
        old = self.key[b, source]
        if limits.size:
            rows = column[limits]
            column = column.copy()
            column[limits] = old[limits] = columns - 1
        result[n, column] = self.entering[b, source, column]
        result[n, old] -= self.entering[b, source, old]
        if self.two_stages:
            second = result[:, columns:]
            second[n, column] = self.passing[b, source, column]
            second[n, old] -= self.passing[b, source, old]
        if limits.size:
            result[limits, rows] = 1.0
        return result

    def by_source(self, amounts: Floats) -> Floats:
        """Sums of the slots' `amounts` by source, shape (programs, sources)."""
        count = len(amounts)
        place = self.source + self._offset[:count]
        sums = np.bincount(place.ravel(), amounts.ravel(), count * (self.sources + 1))
        result: Floats = sums.astype(np.float64, copy=False).reshape(count, -1)[:, 1:]
        return result

    def swap(self, b: Indices, q: Indices, amount: Floats) -> Indices:
        """The key of source q and another column of it change places; the other's slots.

        `amount` is what the key has taken.
        """
        mine = self.source[b] == q[:, None]
        j: Indices = mine.argmax(axis=1)
        self.inverse[b, j] = -np.einsum("br,brk->bk", mine.astype(np.float64), self.inverse[b])
        old = self.key[b, q]
        self.key[b, q] = self.column[b, j]
        self.column[b, j] = old
        self.amount[b, j] = amount
        return j

    def pivot(
        self,
        b: Indices,
        j: Indices,
        source: Indices,
        column: Indices,
        amount: Floats,
        direction: Floats,
    ) -> None:
        """In programs `b` the column in slot j leaves, and another takes `amount`."""
        row = self.inverse[b, j] / direction[self.b[: len(b)], j][:, None]
        if len(b) == len(self.key):
            self.inverse -= direction[:, :, None] * row[:, None, :]
            self.amount -= direction * amount[:, None]
        else:
            self.inverse[b] -= direction[:, :, None] * row[:, None, :]
            self.amount[b] -= direction * amount[:, None]
        self.inverse[b, j] = row
        self.amount[b, j] = amount
        self.source[b, j] = source
        self.column[b, j] = column

    def leave(self, on: Flags) -> bool:
        """Keep only the programs that go `on`; whether there are any."""
        if self._found is None:
            own = Optimum(*(getattr(self, name) for name in _RESULTS))
            if not on.any():
                self._found = own
                return False
            self._found = own.room(len(on))
        done = (~on).nonzero()[0]
        at = self.at[done]
        for name in _RESULTS:
            getattr(self._found, name)[at] = getattr(self, name)[done]
        if len(done) == len(on):
            return False
        kept = on.nonzero()[0]
        self.b = self.b[: len(kept)]
        for name in (*_CARRIED, *_RESULTS):
            setattr(self, name, getattr(self, name)[kept])
        return True

    def _idle(self, singular: Flags) -> None:
        self.key[singular] = self.columns - 1
        self.source[singular] = -1
        self.column[singular] = np.arange(self.rows)

    def _relative(self, columns: Floats, of_key: Floats) -> Floats:
        count = len(columns)
        relative = columns.reshape(count, self.sources, self.columns) - of_key[:, :, None]
        return relative.reshape(count, -1)
