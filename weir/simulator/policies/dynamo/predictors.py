"""Its load predictors: one series, one step ahead.

Two of its four. `arima`, its default, comes from a library of a size that a yardstick does not
warrant; `prophet` likewise. `kalman` is the one of them made for few and bursty points. Zeros
before the first load are no points of a series.
"""

from collections.abc import Callable
from typing import Protocol

__all__ = ["PREDICTORS", "Constant", "Kalman", "Predictor"]

_Q_LEVEL = 1.0
_Q_TREND = 0.1
_R = 10.0
_FIRST_VARIANCE = 1000.0
_MIN_POINTS = 5


class Predictor(Protocol):
    def add(self, value: float) -> None: ...

    def next(self) -> float:
        """What comes next; 0 before the first point."""
        ...


class Constant:
    """What was last."""

    def __init__(self) -> None:
        self._last = 0.0

    def add(self, value: float) -> None:
        self._last = value

    def next(self) -> float:
        return self._last


class Kalman:
    """A local linear trend, x' = x + v, v' = v, of which x is measured; the last value at first.

    The covariance is symmetric: `_xx`, `_xv`, `_vv`.
    """

    def __init__(self) -> None:
        self._points = 0
        self._last = 0.0
        self._x = self._v = 0.0
        self._xx = self._vv = _FIRST_VARIANCE
        self._xv = 0.0

    def add(self, value: float) -> None:
        if not value and not self._points:
            return
        self._last = value
        self._points += 1
        if self._points == 1:
            self._x = value
            return
        self._predict()
        variance = self._xx + _R
        gain_x, gain_v = self._xx / variance, self._xv / variance
        error = value - self._x
        self._x += gain_x * error
        self._v += gain_v * error
        self._vv -= gain_v * self._xv
        self._xv *= 1.0 - gain_x
        self._xx *= 1.0 - gain_x

    def next(self) -> float:
        return max(0.0, self._x + self._v) if self._points >= _MIN_POINTS else self._last

    def _predict(self) -> None:
        self._x += self._v
        self._xx += 2.0 * self._xv + self._vv + _Q_LEVEL
        self._xv += self._vv
        self._vv += _Q_TREND


PREDICTORS: dict[str, Callable[[], Predictor]] = {"kalman": Kalman, "constant": Constant}
