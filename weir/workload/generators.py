"""Generated requests: Poisson, bursty or even arrivals, with bursts laid over them.

Arrivals are a renewal process with gamma-distributed gaps of mean 1, read on a clock that runs
with the rate (time change; Gerhardt and Nelson, "Transforming renewal processes for simulation
of nonstationary arrival processes", INFORMS Journal on Computing 21(4), 2009).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weir.workload.columns import TraceColumns
from weir.workload.lengths import Lengths

__all__ = ["MAX_CV", "MAX_REQUESTS", "Burst", "bursty", "constant", "poisson"]

MAX_REQUESTS = 20_000_000
MAX_CV = 20.0
_RAMP_STEPS = 100


@dataclass(frozen=True, slots=True)
class Burst:
    """The rate rises to `factor` times itself in the `ramp_s` from `start_s` on, stays there
    until `for_s` after `start_s`, and comes back in another `ramp_s`."""

    factor: float
    start_s: float
    for_s: float
    ramp_s: float = 10.0


def poisson(
    rate_rps: float,
    duration_s: float,
    lengths: Lengths,
    rng: np.random.Generator,
    bursts: Sequence[Burst] = (),
) -> TraceColumns:
    """Independent arrivals from 0 to `duration_s`.

    Raises `ValueError` if more than `MAX_REQUESTS` are due, as the others do.
    """
    return bursty(rate_rps, duration_s, 1.0, lengths, rng, bursts)


def constant(
    rate_rps: float,
    duration_s: float,
    noise: float,
    lengths: Lengths,
    rng: np.random.Generator,
    bursts: Sequence[Burst] = (),
) -> TraceColumns:
    """Even arrivals; `noise` is the standard deviation of their gaps as a share, 0 for none."""
    return bursty(rate_rps, duration_s, noise, lengths, rng, bursts)


def bursty(
    rate_rps: float,
    duration_s: float,
    cv: float,
    lengths: Lengths,
    rng: np.random.Generator,
    bursts: Sequence[Burst] = (),
) -> TraceColumns:
    """Arrivals whose gaps have this coefficient of variation: above 1 they come in clusters.

    Raises `ValueError` if it is not from 0 to `MAX_CV`.
    """
    if not 0.0 <= cv <= MAX_CV:
        raise ValueError(f"the coefficient of variation must be from 0 to {MAX_CV:g}, not {cv}")
    times_s, expected = _clock(rate_rps, duration_s, bursts)
    if expected[-1] > MAX_REQUESTS:
        raise ValueError(
            f"{expected[-1]:.0f} requests are due, more than {MAX_REQUESTS}: "
            "lower the rate or the duration"
        )
    arrivals = _renewals(float(expected[-1]), cv, rng)
    return lengths(np.interp(arrivals, expected, times_s), rng)


def _clock(
    rate_rps: float, duration_s: float, bursts: Sequence[Burst]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Instants, and the requests expected until each; the rate is linear in between."""
    knots = [np.array((0.0, duration_s))]
    for burst in bursts:
        for begin_s in (burst.start_s, burst.start_s + burst.for_s):
            knots.append(np.linspace(begin_s, begin_s + burst.ramp_s, _RAMP_STEPS))
    times_s = np.unique(np.clip(np.concatenate(knots), 0.0, duration_s))
    rates_rps = np.full(len(times_s), rate_rps)
    for burst in bursts:
        risen = (times_s - burst.start_s) / burst.ramp_s
        fallen = (times_s - burst.start_s - burst.for_s) / burst.ramp_s
        share = np.minimum(np.clip(risen, 0.0, 1.0), 1.0 - np.clip(fallen, 0.0, 1.0))
        rates_rps *= 1.0 + (burst.factor - 1.0) * share
    steps = np.diff(times_s) * (rates_rps[1:] + rates_rps[:-1]) / 2.0
    return times_s, np.concatenate(((0.0,), np.cumsum(steps)))


def _renewals(until: float, cv: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Sums of gaps of mean 1, as long as they are below `until`."""
    if cv == 0.0:
        return np.arange(0.5, until)
    shape = 1.0 / (cv * cv)
    sums = np.zeros(1)
    while sums[-1] < until:
        left = until - sums[-1]
        size = int(left + 4.0 * max(1.0, cv) * math.sqrt(left)) + 16
        gaps = rng.gamma(shape, 1.0 / shape, size)
        sums = np.concatenate((sums, sums[-1] + np.cumsum(gaps)))
    return sums[1 : np.searchsorted(sums, until)]
