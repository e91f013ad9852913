"""The oracle against brute force: every schedule of a few replicas, every split of work."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.unit.globalplanner.fleets import fleet, pool, request_class
from weir.domain.fleet import Fleet, Role, Slo
from weir.domain.profile import EngineProfile, PolynomialTiming
from weir.simulator.oracle.backlog import Corridor, least_by_backlog, least_by_work
from weir.simulator.oracle.curves import Bins
from weir.simulator.oracle.floor import gpu_hours_floor
from weir.simulator.oracle.offered import Offered
from weir.simulator.oracle.schedule import PoolPlan, plan_pool

NEEDS = st.lists(
    st.one_of(
        st.sampled_from([0.0, 0.3, 0.5, 1.0, 2.0, 3.0]),
        st.floats(0.0, 3.5).map(lambda x: round(x, 3)),
    ),
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


HALVES = st.lists(st.floats(0.0, 1.7), min_size=2, max_size=6).filter(lambda x: len(x) % 2 == 0)
"""Work that comes in each half of a bin, in half-bins of a replica."""


@given(HALVES, st.integers(0, 3), st.integers(0, 6), COVERS, st.sampled_from([1.0, 0.8]))
def test_no_schedule_is_below_the_bound_however_work_waits_and_whenever_replicas_change(
    halves: list[float], wait: int, start_up: int, cover: float, width: float
) -> None:
    # A schedule may change in the middle of a bin; the bound only sees whole ones.
    most = np.concatenate([[0.0], np.cumsum(halves)])
    least = np.concatenate([np.zeros(wait), most])[: len(most)]
    corridor = Corridor(least=least[::2] / 2.0, most=most[::2] / 2.0)
    capacity = width * np.arange(3)
    bound = max(
        least_by_work(corridor, capacity, cover),
        least_by_backlog(corridor, capacity, start_up=start_up / 2.0, cover=cover),
    )
    best = min(
        (
            _bins_held(n, start_up) / 2.0
            for n in _schedules(len(halves), 0, 2)
            if _left_undone(least, most, width * n) <= (1.0 - cover) * most[-1] + 1e-7
        ),
        default=np.inf,
    )
    assert bound <= best + 1e-6


def _left_undone(least: _Floats, most: _Floats, capacity: _Floats) -> float:
    """By doing work as soon as it comes, and giving up only what would be late."""
    done = undone = 0.0
    for due, there, able in zip(least[1:], most[1:], capacity, strict=True):
        done = min(there, done + able)
        undone += max(0.0, due - done)
        done = max(done, due)
    return undone


PAIRS = st.tuples(
    st.tuples(*[st.sampled_from([0.5, 0.8, 1.0, 2.0])] * 2),  # speeds
    st.tuples(*[st.integers(1, 2)] * 2),  # GPUs per replica
    st.tuples(*[st.sampled_from([(0, 2), (1, 2), (0, 1)])] * 2),  # least and most replicas
)
COUNTS = st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0, 0, 1])), min_size=1, max_size=3)
SHORT, LONG = 250, 500
"""Tokens. At speed 1 an engine prefills 1,000 a second; only the second pool takes long ones."""

_Pair = tuple[tuple[float, ...], tuple[int, ...], tuple[tuple[int, int], ...]]


@given(PAIRS, COUNTS, START_UPS, COVERS)
def test_no_split_of_the_work_between_two_pools_is_below_the_floor(
    pair: _Pair, counts: list[tuple[int, int]], start_up: int, cover: float
) -> None:
    whole = _fleet_of(pair, start_up)
    bins = Bins(start_s=0.0, bin_s=1.0, count=len(counts))
    profiles = {
        spec.id: replace(spec.profile, speed=speed)
        for spec, speed in zip(whole.pools, pair[0], strict=True)
    }
    floor = gpu_hours_floor(whole, profiles, _offered(counts), bins, cover=cover)
    work = np.array(counts) * [SHORT / 1000.0, LONG / 1000.0]
    assert floor * 3600.0 <= _least_gpu_s(whole, pair[0], work.T, start_up, cover) + 1e-5


def _fleet_of(pair: _Pair, start_up: int) -> Fleet:
    engine = EngineProfile(timing=PolynomialTiming(prefill_s=(0.0, 1e-3)), max_batched_tokens=500)
    pools = [
        pool(
            f"p{index}",
            Role.PREFILL,
            profile=engine,
            gpus_per_replica=gpus,
            min_replicas=low,
            max_replicas=high,
            start_up_s=float(start_up),
            context_limit_tokens=(SHORT, 2 * LONG)[index] + 1,
        )
        for index, (gpus, (low, high)) in enumerate(zip(*pair[1:], strict=True))
    ]
    return fleet(pools, classes=[request_class(slo=Slo(ttft_s=0.0, itl_s=0.05))])


def _offered(counts: list[tuple[int, int]]) -> Offered:
    """So many short and long prompts in each second, none of which may wait."""
    rows = [
        (float(second), isl)
        for second, numbers in enumerate(counts)
        for isl, number in zip((SHORT, LONG), numbers, strict=True)
        for _ in range(number)
    ]
    return Offered(
        arrival_s=np.array([second for second, _ in rows]),
        isl_tokens=np.array([isl for _, isl in rows], np.int64),
        osl_tokens=np.ones(len(rows), np.int64),
        class_index=np.zeros(len(rows), np.intp),
    )


def _least_gpu_s(
    whole: Fleet, speeds: Sequence[float], work: _Floats, start_up: int, cover: float
) -> float:
    """By every schedule of both pools and, in each second, every split of the work.

    `work` is in seconds at speed 1. It counts by the GPU seconds it takes where it takes fewest.
    """
    gpus = [spec.gpus_per_replica for spec in whole.pools]
    weights = [
        min(gpus[0] / speeds[0], gpus[1] / speeds[1]),
        gpus[1] / speeds[1],
    ]
    target = cover * float(weights @ work.sum(axis=1)) - 1e-7
    least = np.inf
    for first, second in itertools.product(
        *(
            list(_schedules(work.shape[1], spec.min_replicas, spec.max_replicas))
            for spec in whole.pools
        )
    ):
        covered = _most_covered(speeds[0] * first, speeds[1] * second, work, weights)
        if covered >= target:
            cost = gpus[0] * _bins_held(first, start_up) + gpus[1] * _bins_held(second, start_up)
            least = min(least, cost)
    return least


def _most_covered(first: _Floats, second: _Floats, work: _Floats, weights: list[float]) -> float:
    """What pools of this capacity can do of short and long work, by which goes first."""
    short, long = work
    ways = []
    for part in (0.0, 0.5, 1.0):  # of the long work that the second pool could do
        of_long = part * np.minimum(long, second)
        of_short = np.minimum(short, first + second - of_long)
        ways.append(weights[0] * of_short + weights[1] * of_long)
    return float(np.max(ways, axis=0).sum())
