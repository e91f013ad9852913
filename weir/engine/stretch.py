"""Iterations in a row that serve the same sequences, and nothing else, in closed form.

Their durations follow a `DecodeCourse`, so the end of each is a sum that needs none of those
before it. Stepping and jumping both take it from here, and thus have the same floats.
"""

from bisect import bisect_left
from math import inf, nan

from weir.domain.profile import DecodeCourse

__all__ = ["Stretch"]


class Stretch:
    """`count` of its iterations have been begun; the latest ends at `until_s`.

    No more than `most` may be, for the course is not known any further.
    """

    __slots__ = ("_cubic_s", "_first_s", "_flat", "_slope_s", "count", "most", "start_s", "until_s")

    def __init__(self) -> None:
        self.start_s = 0.0
        self.until_s = nan
        self.count = 0
        self.most: float = inf
        self._flat = True
        self._first_s = self._slope_s = self._cubic_s = 0.0

    def begin(self, start_s: float, course: DecodeCourse) -> None:
        """Start anew; nothing has been begun yet."""
        self.start_s = self.until_s = start_s
        self.count = 0
        first_s, slope_s, square_s, self.most = course
        self._first_s = first_s
        self._flat = not (slope_s or square_s)
        self._slope_s = slope_s / 2.0
        self._cubic_s = square_s / 6.0

    def end_s(self, count: int) -> float:
        """When iteration number `count` (from 1) ends.

        The sums of k and of k² over k < n are n (n - 1) / 2 and n (n - 1) (2 n - 1) / 6.
        """
        if self._flat:
            return self.start_s + count * self._first_s
        before = count - 1
        growth_s = before * (self._slope_s + (count + before) * self._cubic_s)
        return self.start_s + count * (self._first_s + growth_s)

    def advance(self, iterations: int) -> float:
        """Begin so many more; returns when the latest ends."""
        self.count += iterations
        self.until_s = end_s = self.end_s(self.count)
        return end_s

    def begun_before(self, now_s: float, most: int) -> int:
        """How many of the next `most` iterations have begun before `now_s`.

        The latest one must have begun: it and those are over or in progress. One that begins at
        `now_s` has yet to begin.
        """
        if now_s <= self.until_s:
            return 0
        low, high = self.count, self.count + most
        if not self._flat:
            return bisect_left(range(low, high), now_s, key=self.end_s) + low - self.count
        # Rounded down it is the iteration wanted or the one before it.
        start_s, first_s = self.start_s, self._first_s
        wanted = max(low, int((now_s - start_s) / first_s))
        while wanted < high and start_s + wanted * first_s < now_s:
            wanted += 1
        return min(wanted, high) - low
