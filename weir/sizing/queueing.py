"""How many requests wait too long, where several servers work off one line.

The wait of the GI/G/c queue, with the two-moment view of its tail (Kimura, "Approximations for
the waiting time in the GI/G/s queue", Queueing Systems 19, 1995): P(wait > t) = P(wait > 0) *
exp(-t / m), m = service * (burstiness + spread) / (2 c (1 - load)). P(wait > 0) is that of
Halfin and Whitt ("Heavy-traffic limits for queues with many exponential servers", Operations
Research 29(3), 1981), which is within some percent from one server on and takes any number
above 0. Routers that send to the least work keep the line as good as one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist

__all__ = ["LONE", "Queue", "greatest_share", "held_share", "late_share", "mean_held_s", "sizes"]

_CELLS = (0.0, 0.4, 0.7, 0.85, 0.93, 0.97, 0.987, 0.995, 1.0)
"""Shares of requests, the shorter ones first; finer where a percentile of the TTFT is decided."""
_PRECISION = 1e-4
_MOST_MARGIN = 37.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """Who waits beside whom: `replicas` (>= 1, not only whole ones) share what arrives.

    `burstiness`: variance of the arrivals in a time over their mean; 1.0 is Poisson.
    `isl_spread`, `osl_spread`: squared coefficients of variation of the lengths. `isl_tokens`:
    the mean prompt that is waited for, where several classes wait in one line; None is the own.
    """

    replicas: float = 1.0
    burstiness: float = 1.0
    isl_spread: float = 0.0
    osl_spread: float = 0.0
    isl_tokens: float | None = None

    def __post_init__(self) -> None:
        if not 1.0 <= self.replicas < math.inf:
            raise ValueError(f"replicas must be >= 1 and finite, not {self.replicas}")
        for name in ("burstiness", "isl_spread", "osl_spread"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be >= 0 and finite, not {getattr(self, name)}")


LONE = Queue()
"""One replica, and requests that are all alike."""


def held_share(margin: float) -> float:
    """Share of arrivals that find nothing free: `margin` standard deviations are, in the mean."""
    if margin <= 0.0:
        return 1.0
    if margin > _MOST_MARGIN:
        return 0.0
    density = math.exp(-0.5 * margin * margin) / math.sqrt(2.0 * math.pi)
    below = 0.5 * (1.0 + math.erf(margin / math.sqrt(2.0)))
    return 1.0 / (1.0 + margin * below / density)


def mean_held_s(queue: Queue, *, service_s: float, spread: float, load: float) -> float:
    """Mean wait of those that wait; a replica alone works one off in `service_s`."""
    if load >= 1.0:
        return math.inf
    return 0.5 * service_s * (queue.burstiness + spread) / (queue.replicas * (1.0 - load))


def late_share(held: float, held_s: float, allowed_s: float) -> float:
    """Share of all that wait longer than `allowed_s`: `held` wait, `held_s` in the mean."""
    if allowed_s < 0.0:
        return 1.0
    if held_s <= 0.0 or held <= 0.0:
        return 0.0
    return held * math.exp(-allowed_s / held_s)


def greatest_share(
    late: Callable[[float], float], *, least: float, most: float, beyond: float
) -> float:
    """The greatest share of the full rate in [least, most] at which `late` is at most `beyond`.

    `late` must not fall; `least` if there is none.
    """
    if late(least) > beyond:
        return least
    if late(most) <= beyond:
        return most
    low, high = least, most
    while high - low > _PRECISION * high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if late(middle) <= beyond else (low, middle)
    return low


@lru_cache(maxsize=64)
def sizes(spread: float) -> tuple[tuple[float, float], ...]:
    """Lognormal lengths over their mean, each with the share of requests that it stands for."""
    if spread <= 0.0:
        return ((1.0, 1.0),)
    sigma, normal = math.sqrt(math.log1p(spread)), NormalDist()
    mean = -0.5 * sigma * sigma
    return tuple(
        (math.exp(mean + sigma * normal.inv_cdf(0.5 * (low + high))), high - low)
        for low, high in pairwise(_CELLS)
    )
