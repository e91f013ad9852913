"""The oracle against brute force: every schedule of a few bins and replicas is tried."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from weir.simulator.oracle.schedule import PoolPlan, plan_pool

NEEDS = st.lists(
    st.one_of(st.sampled_from([0.0, 0.3, 0.5, 1.0, 2.0, 3.0]), st.floats(0.0, 3.5)),
    min_size=1,
    max_size=5,
)
START_UPS = st.integers(0, 3)
COVERS = st.sampled_from([0.7, 0.9, 0.995, 1.0])
LIMITS = st.sampled_from([(0, 3), (0, 1), (1, 3), (1, 2), (2, 2)])

_Floats = NDArray[np.float64]


def _schedules(bins: int, low: int, high: int) -> Iterator[_Floats]:
    for replicas in itertools.product(range(low, high + 1), repeat=bins):
        yield np.array(replicas, np.float64)


def _bins_held(replicas: _Floats, start_up: int) -> float:
    """Replica-bins, start-up within the window included."""
    starts = np.maximum(np.diff(replicas), 0.0)
    return float(replicas.sum() + starts @ np.minimum(start_up, np.arange(1, len(replicas))))


def _covered(need: _Floats, replicas: _Floats) -> float:
    return float(np.minimum(need, replicas).sum())


def _target(need: _Floats, cover: float, high: int) -> float:
    return min(cover * float(need.sum()), float(np.minimum(need, high).sum())) - 1e-7


def _plan(need: list[float], start_up: int, cover: float, low: int, high: int) -> PoolPlan:
    return plan_pool(
        np.array(need),
        bin_s=3600.0,
        start_up_s=3600.0 * start_up,
        gpus_per_replica=1,
        min_replicas=low,
        max_replicas=high,
        cover=cover,
    )


@given(NEEDS, START_UPS, COVERS, LIMITS)
def test_no_schedule_that_covers_enough_is_below_the_bound(
    need: list[float], start_up: int, cover: float, limits: tuple[int, int]
) -> None:
    a = np.array(need)
    low, high = limits
    plan = _plan(need, start_up, cover, low, high)
    target = _target(a, cover, high)
    best = min(
        _bins_held(n, start_up) for n in _schedules(len(a), low, high) if _covered(a, n) >= target
    )
    assert plan.gpu_hours_bound <= best + 1e-5
    assert plan.gpu_hours >= best - 1e-5
    if cover == 1.0:
        assert plan.gpu_hours_bound == pytest.approx(best, abs=1e-4)
        assert plan.gpu_hours == pytest.approx(best, abs=1e-4)


@given(NEEDS, START_UPS, COVERS, LIMITS)
def test_the_schedule_covers_enough_at_the_cost_it_says(
    need: list[float], start_up: int, cover: float, limits: tuple[int, int]
) -> None:
    a = np.array(need)
    low, high = limits
    plan = _plan(need, start_up, cover, low, high)
    assert ((plan.replicas >= low) & (plan.replicas <= high)).all()
    assert _covered(a, plan.replicas.astype(float)) >= _target(a, cover, high)
    assert _bins_held(plan.replicas.astype(float), start_up) <= plan.gpu_hours + 1e-9


@given(NEEDS, st.data(), START_UPS)
def test_more_need_never_lowers_the_bound(
    need: list[float], data: st.DataObject, start_up: int
) -> None:
    extra = data.draw(st.lists(st.floats(0.0, 2.0), min_size=len(need), max_size=len(need)))
    more = [a + b for a, b in zip(need, extra, strict=True)]
    less = _plan(need, start_up, 1.0, 0, 9).gpu_hours_bound
    assert less <= _plan(more, start_up, 1.0, 0, 9).gpu_hours_bound + 1e-4
