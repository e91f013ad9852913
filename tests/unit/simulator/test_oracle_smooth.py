import numpy as np
import pytest

from weir.simulator.oracle.smooth import tight_string


def _rates(least: list[float], most: list[float]) -> list[float]:
    return np.diff(tight_string(np.array(least), np.array(most))).tolist()


def test_work_that_cannot_wait_is_done_as_it_comes() -> None:
    assert _rates([0, 3, 3, 4], [0, 3, 3, 4]) == pytest.approx([3, 0, 1])


def test_a_burst_is_spread_over_the_time_it_may_wait() -> None:
    # 4 come in the first step and may wait for one more.
    assert _rates([0, 0, 4, 4], [0, 4, 4, 4]) == pytest.approx([2, 2, 0])


def test_work_is_not_done_before_it_comes() -> None:
    # What comes in the last step cannot fill the lull before.
    assert _rates([0, 0, 0, 6], [0, 0, 2, 6]) == pytest.approx([0, 2, 4])


def test_what_is_done_before_the_beginning_or_may_wait_beyond_the_end_is_not_needed() -> None:
    # 5 could have been done before, and 9 of 15 need not be done within.
    assert _rates([0, 2, 4, 6], [5, 9, 12, 15]) == pytest.approx([1 / 3] * 3)
    assert _rates([0, 0, 0], [4, 4, 4]) == pytest.approx([0, 0])


@pytest.mark.parametrize("points", [0, 1])
def test_without_time_there_is_no_rate(points: int) -> None:
    assert _rates([0.0] * points, [0.0] * points) == []
