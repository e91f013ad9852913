"""How many sequences a decode worker will have when one that is reserved now begins there.

A place is reserved before the prompt is prefilled elsewhere, so until it begins many of those that
decode now have ended, and some that begin before it as well. Both are taken to end at a constant
rate: of those that decode exp(-ahead / stay) are left, and of those on their way, who begin evenly
over that time, stay / ahead * (1 - exp(-ahead / stay)).
"""

from math import exp, sqrt

from router.core.fading import FadingQuotient

__all__ = ["Turnover"]

_PRIOR = 8.0
"""Places count as held from their reservation until about so many legs have shown otherwise."""
_LEAST_S = 1e-6


class Turnover:
    """Of one pool, learned from legs that have begun and ended."""

    __slots__ = ("_ahead_s", "_coming", "_decoding", "_stay_s")

    def __init__(self) -> None:
        self._ahead_s = FadingQuotient()
        self._stay_s = FadingQuotient()
        self._decoding = self._coming = 1.0

    def begun(self, ahead_s: float) -> None:
        """A leg begins so long after its place was reserved."""
        self._ahead_s.add(ahead_s, 1.0)

    def ended(self, stay_s: float) -> None:
        """A leg has ended so long after it began."""
        self._stay_s.add(stay_s, 1.0)
        ahead_s = self._ahead_s.mean(0.0, _PRIOR)
        stay_s = max(_LEAST_S, self._stay_s.mean(0.0, 0.0))
        if ahead_s > 0.0:
            self._decoding = exp(-ahead_s / stay_s)
            self._coming = stay_s / ahead_s * (1.0 - self._decoding)

    def occupied(self, decoding: int, coming: int) -> float:
        """Sequences to expect then, and a standard deviation more, but never more than all."""
        stays, comes = self._decoding, self._coming
        expected = decoding * stays + coming * comes
        variance = decoding * stays * (1.0 - stays) + coming * comes * (1.0 - comes)
        return min(float(decoding + coming), expected + sqrt(variance))
