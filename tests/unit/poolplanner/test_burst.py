from random import Random

import pytest

from poolplanner.core.burst import Burstiness
from poolplanner.core.observation import Arrivals


def _see(burst: Burstiness, counts: list[int], window_s: float = 5.0) -> float:
    for count in counts:
        burst.see(Arrivals(rate_rps=count / window_s, window_s=window_s))
    return burst.value


def _poisson(rng: Random, mean: float) -> int:
    at, count = rng.expovariate(mean), 0
    while at < 1.0:
        at, count = at + rng.expovariate(mean), count + 1
    return count


def test_nothing_seen_and_steady_arrivals_are_poisson() -> None:
    assert Burstiness().value == 1.0
    assert _see(Burstiness(), [10] * 50) == 1.0
    rng = Random(1)
    counts = [_poisson(rng, 50.0) for _ in range(400)]
    assert _see(Burstiness(), counts) == pytest.approx(1.0, abs=0.4)


def test_requests_that_come_in_groups_of_four_are_four_times_as_bursty() -> None:
    rng = Random(2)
    counts = [4 * _poisson(rng, 20.0) for _ in range(400)]
    assert _see(Burstiness(), counts) == pytest.approx(4.0, rel=0.35)


def test_a_slow_rise_is_no_burst() -> None:
    assert _see(Burstiness(), [100 + 2 * i for i in range(60)]) == 1.0


def test_one_jump_is_not_believed_at_once() -> None:
    assert _see(Burstiness(), [10, 10, 50]) <= 8.0
