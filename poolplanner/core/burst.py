"""How unevenly requests arrive: the variance of their counts over the mean, 1 where Poisson."""

from collections import deque
from dataclasses import dataclass, field

from poolplanner.core.observation import Arrivals

__all__ = ["Burstiness"]

_WINDOWS = 60
_PRIOR_WINDOWS = 6.0
_LEAST, _MOST = 1.0, 8.0


@dataclass(slots=True)
class Burstiness:
    """Learned from the differences of counts in succession, so that a day's course is none."""

    _last: Arrivals | None = None
    _ratios: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_WINDOWS))

    def see(self, arrivals: Arrivals) -> None:
        """Take in what has arrived since the last time."""
        last, self._last = self._last, arrivals
        if last is None or not arrivals.window_s > 0.0 or not last.window_s > 0.0:
            return
        step = arrivals.rate_rps - last.rate_rps
        expected = 0.5 * (arrivals.rate_rps + last.rate_rps)
        self._ratios.append(
            (step * step, expected * (1.0 / arrivals.window_s + 1.0 / last.window_s))
        )

    @property
    def value(self) -> float:
        """Drawn towards 1 while little has been seen."""
        expected = sum(mean for _, mean in self._ratios)
        if expected <= 0.0:
            return 1.0
        measured = sum(square for square, _ in self._ratios) / expected
        weight = len(self._ratios) / (len(self._ratios) + _PRIOR_WINDOWS)
        return min(_MOST, max(_LEAST, 1.0 + weight * (measured - 1.0)))
