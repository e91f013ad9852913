"""What of a count is a rate, and what is a burst."""

import random

import pytest

from globalplanner.core.load.burst import BurstFilter


def admitted(counts: list[float], *, quiet_rps: float = 0.5) -> list[float]:
    """Per second, after two minutes of quiet traffic."""
    burst_filter = BurstFilter()
    for second in range(120):
        burst_filter.admit(float(second % round(1.0 / quiet_rps) == 0), 1.0)
    return [burst_filter.admit(count, 1.0) for count in counts]


@pytest.mark.parametrize("burst", [[200.0], [120.0, 80.0], [80.0, 120.0]])
def test_requests_that_come_at_once_are_no_rate(burst: list[float]) -> None:
    assert max(admitted([*burst, 0.0, 1.0, 0.0])) < 8.0


def test_a_rate_is_believed_from_the_third_second_on() -> None:
    seen = admitted([8.0] * 6)
    assert max(seen[:2]) < 8.0
    assert seen[2:] == [8.0] * 4


def test_what_comes_after_a_burst_is_seen_as_it_is() -> None:
    assert admitted([200.0, 9.0, 7.0, 8.0, 9.0])[2:] == [7.0, 8.0, 9.0]


def test_ordinary_randomness_passes() -> None:
    source = random.Random(7)
    burst_filter = BurstFilter()
    counts = [sum(source.random() < 0.1 for _ in range(100)) for _ in range(400)]
    seen = [burst_filter.admit(float(count), 1.0) for count in counts]
    assert sum(seen[50:]) == pytest.approx(sum(counts[50:]), rel=0.02)


def test_traffic_that_is_always_bursty_is_learned() -> None:
    # 20 requests every tenth second: 2 rps.
    burst_filter = BurstFilter()
    counts = [20.0 if second % 10 == 0 else 0.0 for second in range(600)]
    seen = [burst_filter.admit(count, 1.0) for count in counts]
    assert sum(seen[300:]) / 300 == pytest.approx(2.0, rel=0.15)


def test_one_burst_does_not_pave_the_way_for_the_next() -> None:
    seen = admitted([200.0, *[0.0] * 20, 200.0])
    assert seen[-1] < 20.0
