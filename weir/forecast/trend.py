"""A rate that drifts: local linear trend, filtered from irregular, noisy measurements.

State space model in continuous time: the level moves by its trend and by a random walk,
the trend fades towards zero with time constant `fade_s` and is disturbed by white noise
(Harvey, "Forecasting, Structural Time Series Models and the Kalman Filter", 1989, ch. 9;
the fading trend is the integrated Ornstein-Uhlenbeck process of Johnson et al., "Continuous-
time correlated random walk model", Ecology 89(5), 2008). So a step of any length has its
exact transition, and a missing sample only widens the forecast.

Counting arrivals is noisy in a known way: the variance of count/window is rate/window for
Poisson arrivals. It is scaled by an index of dispersion learned from the surprises. A
single outlier is clipped. Surprises that add up in one direction (cumulative sum of Page,
Biometrika 41, 1954) are a jump of the level, not of the trend: a burst is believed within
three measurements and not extrapolated.
"""

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

__all__ = ["Dynamics", "Forecast", "Trend", "observe", "predict"]

_NORMAL = NormalDist()
_MIN_DISPERSION = 0.05
_MAX_DISPERSION = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Dynamics:
    """How fast a rate may change; all relative to its level.

    `level_rel`: standard deviation after 1 s of the random walk, as a share of the level.
    `trend_rel`: the same of the trend, per second. `dispersion_memory_s`: how long a surprise
    is remembered. `outlier_sigma`: where one surprise is clipped, in its standard deviations.
    A jump is when surprises in one direction, each less `jump_slack`, exceed `jump_sum`.
    The defaults suit public request traces sampled every 2 s and predicted 30 s ahead.
    """

    level_rel: float = 0.005
    trend_rel: float = 1e-5
    fade_s: float = 120.0
    outlier_sigma: float = 3.6
    jump_slack: float = 1.0
    jump_sum: float = 5.0
    dispersion_memory_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A rate that cannot be negative: mean and standard deviation."""

    mean: float
    std: float

    def quantile(self, q: float) -> float:
        """The value that is not exceeded with probability `q` (0 < q < 1)."""
        return max(0.0, self.mean + _NORMAL.inv_cdf(q) * self.std)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """What is known at `at_s`: level (per s), trend (per s²) and their covariance.

    `dispersion` is variance of the counts over their mean; `drift` the surprises, in standard
    deviations, that lately added up in one direction.
    """

    at_s: float
    level: float
    trend: float
    level_var: float
    covar: float
    trend_var: float
    dispersion: float = 1.0
    drift: float = 0.0
    dynamics: Dynamics = Dynamics()


def observe(
    trend: Trend | None,
    rate: float,
    at_s: float,
    *,
    window_s: float = 1.0,
    dynamics: Dynamics | None = None,
) -> Trend:
    """Fold in one measured rate and return the new state; `trend` is None for the first one.

    `rate` is events per second, counted over the `window_s` seconds that ended at `at_s`.
    `dynamics` replaces those of `trend`.

    Raises `ValueError` if `rate` is negative or not finite, `window_s` is not positive, or
    `at_s` lies before `trend.at_s`.
    """
    if not (math.isfinite(rate) and rate >= 0.0):
        raise ValueError(f"rate must be a finite number >= 0, not {rate}")
    if not window_s > 0.0:
        raise ValueError(f"window_s must be > 0, not {window_s}")
    if trend is None:
        return _first(rate, at_s, window_s, dynamics or Dynamics())
    if dynamics is not None:
        trend = replace(trend, dynamics=dynamics)
    return _update(_advance(trend, at_s), rate, window_s, elapsed_s=at_s - trend.at_s)


def predict(trend: Trend, at_s: float) -> Forecast:
    """The rate at `at_s`, which must not lie before `trend.at_s` (`ValueError`)."""
    ahead = _advance(trend, at_s)
    return Forecast(mean=max(0.0, ahead.level), std=math.sqrt(ahead.level_var))


def _first(rate: float, at_s: float, window_s: float, dynamics: Dynamics) -> Trend:
    noise_var = _count_var(rate, window_s)
    spread = max(rate, math.sqrt(noise_var))
    return Trend(
        at_s=at_s,
        level=rate,
        trend=0.0,
        level_var=noise_var,
        covar=0.0,
        trend_var=dynamics.trend_rel**2 * dynamics.fade_s * spread**2,
        dynamics=dynamics,
    )


def _advance(trend: Trend, at_s: float) -> Trend:
    step_s = at_s - trend.at_s
    if step_s < 0.0:
        raise ValueError(f"time runs backwards: {at_s} is before {trend.at_s}")
    if step_s == 0.0:
        return trend
    dynamics = trend.dynamics
    keep = math.exp(-step_s / dynamics.fade_s)
    reach_s = dynamics.fade_s * (1.0 - keep)
    scale = max(trend.level, math.sqrt(trend.level_var)) ** 2
    q_trend = dynamics.trend_rel**2 * scale
    q_level = dynamics.level_rel**2 * scale
    level_q, covar_q, trend_q = _fading_noise(step_s, dynamics.fade_s, keep)
    return replace(
        trend,
        at_s=at_s,
        level=max(0.0, trend.level + reach_s * trend.trend),
        trend=trend.trend * keep,
        level_var=trend.level_var
        + 2.0 * reach_s * trend.covar
        + reach_s**2 * trend.trend_var
        + q_level * step_s
        + q_trend * level_q,
        covar=keep * (trend.covar + reach_s * trend.trend_var) + q_trend * covar_q,
        trend_var=keep**2 * trend.trend_var + q_trend * trend_q,
    )


def _fading_noise(step_s: float, fade_s: float, keep: float) -> tuple[float, float, float]:
    """Variance of level, covariance, variance of trend that unit white noise adds in a step."""
    if step_s < 0.01 * fade_s:  # the closed form cancels to nothing here
        return step_s**3 / 3.0, step_s**2 / 2.0, step_s
    lost = 1.0 - keep
    level = fade_s**2 * (step_s - 2.0 * fade_s * lost + 0.5 * fade_s * (1.0 - keep**2))
    return level, 0.5 * (fade_s * lost) ** 2, 0.5 * fade_s * (1.0 - keep**2)


def _update(trend: Trend, rate: float, window_s: float, elapsed_s: float) -> Trend:
    dynamics = trend.dynamics
    count_var = _count_var(trend.level, window_s)
    noise_var = trend.dispersion * count_var
    expected_std = math.sqrt(trend.level_var + noise_var)
    limit = dynamics.outlier_sigma * expected_std
    surprise = min(limit, max(-limit, rate - trend.level))
    drift = _accumulate(trend, surprise / expected_std)
    if abs(drift) > dynamics.jump_sum:
        return _jump(trend, rate, window_s)
    level_gain = trend.level_var / expected_std**2
    trend_gain = trend.covar / expected_std**2
    level = max(0.0, trend.level + level_gain * surprise)
    moved = trend.trend + trend_gain * surprise
    weight = 1.0 - math.exp(-elapsed_s / dynamics.dispersion_memory_s)
    return replace(
        trend,
        level=level,
        trend=max(0.0, moved) if level == 0.0 else moved,
        level_var=(1.0 - level_gain) * trend.level_var,
        covar=(1.0 - level_gain) * trend.covar,
        trend_var=max(0.0, trend.trend_var - trend_gain * trend.covar),
        dispersion=_learn_dispersion(trend, surprise**2, count_var, weight),
        drift=drift,
    )


def _accumulate(trend: Trend, surprise_sigma: float) -> float:
    """Page's cumulative sum of both directions, kept as one signed number."""
    slack = trend.dynamics.jump_slack
    if surprise_sigma >= 0.0:
        return max(0.0, max(0.0, trend.drift) + surprise_sigma - slack)
    return min(0.0, min(0.0, trend.drift) + surprise_sigma + slack)


def _jump(trend: Trend, rate: float, window_s: float) -> Trend:
    """Begin again from the new rate; only the dispersion is kept."""
    fresh = _first(rate, trend.at_s, window_s, trend.dynamics)
    return replace(fresh, level_var=trend.dispersion * fresh.level_var, dispersion=trend.dispersion)


def _learn_dispersion(
    trend: Trend, squared_surprise: float, count_var: float, weight: float
) -> float:
    measured = max(0.0, squared_surprise - trend.level_var) / count_var
    learned = trend.dispersion + weight * (measured - trend.dispersion)
    return min(_MAX_DISPERSION, max(_MIN_DISPERSION, learned))


def _count_var(rate: float, window_s: float) -> float:
    """Variance of a Poisson count over its window; half a count keeps an idle pool sceptical."""
    return (rate + 0.5 / window_s) / window_s
