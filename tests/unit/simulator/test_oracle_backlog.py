"""A hundred bins; a replica does one bin's work in a bin, and a start costs six."""

import numpy as np
import pytest

from weir.simulator.oracle.backlog import Corridor, least_by_backlog, least_by_work

REPLICAS = np.arange(20.0)


def _corridor(work: list[float], wait: int) -> Corridor:
    """This work by bin, which may wait for so many bins."""
    most = np.concatenate([[0.0], np.cumsum(work)])
    return Corridor(least=np.concatenate([np.zeros(wait), most])[: len(most)], most=most)


def _least(work: list[float], wait: int = 0, *, cover: float = 1.0) -> float:
    corridor = _corridor(work, wait)
    return least_by_backlog(corridor, REPLICAS, start_up=6.0, cover=cover)


def test_replicas_are_whole() -> None:
    # Two replicas, of which both may stop in the midst of the last bin.
    assert _least([1.5] * 100) == pytest.approx(198.0)


def test_work_that_cannot_wait_needs_its_peaks() -> None:
    assert _least([0.0, 2.0] * 50) == pytest.approx(198.0)


def test_work_that_may_wait_a_bin_needs_its_mean() -> None:
    assert _least([0.0, 2.0] * 50, wait=1) == pytest.approx(99.0, abs=1.1)


def test_a_long_lull_is_worth_a_start() -> None:
    # Held for 2 x 20 bins; the start costs 6, and at each end of a run a bin is allowed for.
    assert _least([*[1.0] * 20, *[0.0] * 60, *[1.0] * 20]) == pytest.approx(40 + 6 - 3)


def test_work_that_may_be_lost_lowers_it() -> None:
    # One in a hundred bins needs two; losing it takes 1 of 101.
    work = [*[1.0] * 50, 2.0, *[1.0] * 49]
    assert _least(work, cover=0.99) == pytest.approx(99.0, abs=0.1)
    assert _least(work) > 103.0


def test_too_wide_a_corridor_leaves_the_work_itself() -> None:
    corridor = _corridor([10.0] * 1000, wait=900)
    assert least_by_backlog(corridor, REPLICAS, start_up=6.0, cover=1.0) == 0.0
    assert least_by_work(corridor, REPLICAS, 1.0) == pytest.approx(1000.0)


def test_work_goes_to_the_best_replicas_first() -> None:
    # The minimum does 1 in a bin, the first replica more 2, further ones 1 each.
    corridor = _corridor([4.5] * 10, wait=0)
    capacity = np.array([1.0, 3.0, 4.0, 5.0])
    assert least_by_work(corridor, capacity, 1.0) == pytest.approx(25.0)
    assert least_by_work(_corridor([0.5] * 10, wait=0), capacity, 1.0) == 0.0
