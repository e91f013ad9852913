"""How long outputs live: a fading life table over lengths, blended with that of a wider group.

The share of those that reach a length and end there is counted over all that reached it, whether
they have ended by now or not. So outputs that still run, or were given up, tell that they are at
least so long; a mean over what has ended would first know the short ones only. In a steady state it
is the distribution of what ends. The wider group counts as `_PRIOR_WEIGHT` outputs of its own
distribution, so nothing jumps, and what was never seen here has a probability all the same.

Kaplan and Meier, "Nonparametric estimation from incomplete observations", JASA 53, 1958, with
exposures of a recent period instead of a cohort's.
"""

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate, pairwise, repeat
from math import ceil, exp, log2
from operator import add, mul, sub
from typing import Final

__all__ = ["RESERVED_QUANTILE", "Expected", "LifeTable", "Prior", "beyond", "bucket", "middle"]

RESERVED_QUANTILE: Final = 0.9
"""`Expected.most_tokens` is reached by at most one output in ten."""

_PER_OCTAVE = 4
_BUCKETS = 72
_PRIOR_WEIGHT = 8.0
_FRESH = 6
"""Looked at again when so much of it (one in ...) is new, the wider group's part included."""
_SETTLED = 64.0
"""With so many observations the wider group hardly counts, whatever has changed there."""
_MOVED = 0.125
_MOST_UNIT = 1e12
_LEAST_EXPOSED = 1e-9
_HINT_OCTAVES = 0.5
"""Two hints in three are taken to be right within a factor of 1.4."""

Shares = list[float]
"""By bucket. A list: numpy takes 12 MiB, and would save 6 us of the 24 that a renewal takes."""


def _low(index: float) -> float:
    return float(2.0 ** (index / _PER_OCTAVE))


_ENDS = [_low(j + 1) for j in range(_BUCKETS)]
_MIDS = [(_low(j) + _low(j + 1)) / 2.0 for j in range(_BUCKETS)]
_SQUARES = [middle_tokens**2 for middle_tokens in _MIDS]


def bucket(tokens: float) -> int:
    """Lengths are told apart to within a quarter of an octave."""
    return min(int(_PER_OCTAVE * log2(tokens)), _BUCKETS - 1) if tokens > 1.0 else 0


def beyond(index: int) -> float:
    """The length at which an output leaves a bucket."""
    return _ENDS[index]


def middle(index: int) -> float:
    """A length that stands for a bucket."""
    return _low(index + 0.5)


@dataclass(slots=True)
class Expected:
    """What is to be expected of an output: `typical_tokens` is the median.

    `most_tokens` is reached by few (`RESERVED_QUANTILE`). `held_tokens` is the mean over those that
    run at one moment of what they have put out by then: long ones run longer, so that it is
    more than half of the mean. Nobody changes it: it is made for every request with a limit.
    """

    mean_tokens: int
    typical_tokens: int
    most_tokens: int
    held_tokens: int

    def within(self, max_tokens: int | None) -> "Expected":
        """The same where outputs end after `max_tokens`."""
        mean, typical, held = self.mean_tokens, self.typical_tokens, self.held_tokens
        if max_tokens is None or (max_tokens >= mean and max_tokens >= self.most_tokens):
            return self
        most = max_tokens if max_tokens > 1 else 1
        half = -(-most // 2)
        return Expected(
            mean if mean < most else most,
            typical if typical < most else most,
            most,
            held if held < half else half,
        )


class Prior:
    """A distribution that is given: `shares` of outputs by bucket, with this mean."""

    def __init__(self, shares: Shares, mean_tokens: float) -> None:
        self.shares = shares
        self.mean_tokens = mean_tokens
        self.moves = 0
        self._expected = _expected(shares, mean_tokens, _times(shares, _MIDS))

    @classmethod
    def exponential(cls, mean_tokens: float) -> "Prior":
        """What holds before anything is learned."""
        scale, shares = mean_tokens, [0.0] * _BUCKETS
        for _ in range(16):
            alive = [1.0, *(exp(-_low(j) / scale) for j in range(1, _BUCKETS)), 0.0]
            shares = [here - beyond for here, beyond in pairwise(alive)]
            scale *= mean_tokens / _times(shares, _MIDS)
        return cls(shares, mean_tokens)

    @classmethod
    def around(cls, tokens: float) -> "Prior":
        """What a client's own word for the length makes of it."""
        near = [exp(-0.5 * (log2(middle / tokens) / _HINT_OCTAVES) ** 2) for middle in _MIDS]
        total = sum(near)
        return cls([share / total for share in near], tokens)

    def expect(self) -> Expected:
        return self._expected


class LifeTable:
    """Of one group of requests, within the wider group `within`.

    About the last `memory` observations matter. `shares`, `mean_tokens` and `moves`, which counts
    how often they have changed much, are those of the last `expect`.
    """

    __slots__ = (
        "_announced",
        "_asked",
        "_ended",
        "_expected",
        "_growth",
        "_news",
        "_passed",
        "_seen_moves",
        "_tokens",
        "_total",
        "_unit",
        "mean_tokens",
        "moves",
        "shares",
        "used",
        "within",
    )

    def __init__(self, within: "LifeTable | Prior", memory: int) -> None:
        self.within = within
        self.used = False
        self._growth = 1.0 / (1.0 - 1.0 / memory)
        self._unit = 1.0
        self._total = 0.0
        self._tokens = 0.0
        self._ended = [0.0] * _BUCKETS
        self._passed: list[float] | None = None
        self._news = 0
        self._asked = False
        self._seen_moves = within.moves
        self._expected = self._announced = within.expect()
        self.shares: Shares = within.shares
        self.mean_tokens: float = within.mean_tokens
        self.moves: int = 0

    def ended(self, tokens: int, index: int, passed: int = 0) -> None:
        """An output has ended after `tokens`, which are of bucket `index`.

        `passed`: the buckets that it is known to have passed, by `has_passed`.
        """
        self._unit *= self._growth
        unit = self._unit
        self._ended[index] += unit
        self._total += unit
        self._tokens += unit * tokens
        self._news += 1
        if passed:
            self._pass(passed, 0)
        if unit > _MOST_UNIT:
            self._rescale()

    def has_passed(self, passed: int, index: int) -> None:
        """An output of which `passed` buckets were known is in this one and has not ended."""
        self._pass(passed, index)
        self._news += 1

    def _pass(self, before: int, after: int) -> None:
        """Kept as differences: summed from the end they count those who were there."""
        exposed = self._passed
        if exposed is None:
            exposed = self._passed = [0.0] * _BUCKETS
        if after:
            exposed[after - 1] += self._unit
        if before:
            exposed[before - 1] -= self._unit

    def _rescale(self) -> None:
        scale = 1.0 / self._unit
        self._ended = [count * scale for count in self._ended]
        if self._passed is not None:
            self._passed = [count * scale for count in self._passed]
        self._total *= scale
        self._tokens *= scale
        self._unit = 1.0

    def freshen(self) -> None:
        """After `ended`: have ready what will be asked for, so that no request waits for it."""
        if self._asked and self._is_old():
            self._renew()

    def expect(self) -> Expected:
        self._asked = True
        if self._is_old():
            self._renew()
        elif self._total < _SETTLED * self._unit:
            self.within.expect()
            if self.within.moves != self._seen_moves:
                self._renew()
        return self._expected

    def _is_old(self) -> bool:
        return self._news * _FRESH >= self._total / self._unit + _PRIOR_WEIGHT

    def _renew(self) -> None:
        within = self.within
        if self._total < _SETTLED * self._unit or not within.moves:
            within.expect()
        weight = _PRIOR_WEIGHT * self._unit
        ended = list(map(add, self._ended, map(mul, repeat(weight), within.shares)))
        total = self._total + weight
        mean = (self._tokens + weight * within.mean_tokens) / total
        rough = _times(ended, _MIDS) / total
        if self._passed is None:
            shares = [count / total for count in ended]
        else:
            shares, rough_ended = _lived(ended, self._passed), rough
            rough = _times(shares, _MIDS)
            mean *= rough / rough_ended
        expected = _expected(shares, mean, rough)
        if _differs(expected, self._announced):
            self._announced = expected
            self.moves += 1
        self.shares, self.mean_tokens, self._expected = shares, mean, expected
        self._seen_moves = within.moves
        self._news = 0


def _lived(ended: Shares, passed: Shares) -> Shares:
    """Shares of outputs by bucket from the share of those that get there and end there."""
    exposed = list(accumulate(map(add, reversed(ended), reversed(passed))))
    exposed.reverse()
    least = _LEAST_EXPOSED * exposed[0]
    stay = [
        1.0 - count / there if there > least and there > count else 0.0
        for count, there in zip(ended, exposed, strict=True)
    ]
    stay[-1] = 0.0
    alive = list(accumulate(stay, mul, initial=1.0))
    return list(map(sub, alive, alive[1:]))


def _times(shares: Shares, lengths: list[float]) -> float:
    return float(sum(map(mul, shares, lengths)))


def _expected(shares: Shares, mean: float, rough: float) -> Expected:
    """`rough`: the mean where each is in the middle of its bucket."""
    up_to = list(accumulate(shares))
    return Expected(
        max(1, round(mean)),
        round(_quantile(up_to, 0.5)),
        int(_quantile(up_to, RESERVED_QUANTILE)),
        max(1, ceil(mean * _times(shares, _SQUARES) / (2.0 * rough * rough))),
    )


def _quantile(up_to: list[float], level: float) -> float:
    """Within its bucket even in the logarithm, but no less than the first whole number in it."""
    index = min(bisect_left(up_to, level), _BUCKETS - 1)
    below = up_to[index - 1] if index else 0.0
    share = up_to[index] - below
    part = (level - below) / share if share > 0.0 else 1.0
    return max(_low(index + part), float(ceil(_low(index))))


def _differs(one: Expected, other: Expected) -> bool:
    return (
        abs(one.mean_tokens - other.mean_tokens) > _MOVED * other.mean_tokens
        or abs(one.most_tokens - other.most_tokens) > _MOVED * other.most_tokens
    )
