import numpy as np
import pytest

from weir.simulator.oracle.schedule import PoolPlan, plan_pool


def _plan(need: list[float], start_up_bins: float = 0.0, **changes: float) -> PoolPlan:
    """Bins of 10 s; one GPU a replica, 0 to 10 of them, all work covered, unless changed."""
    fields = {"min_replicas": 0, "max_replicas": 10, "gpus_per_replica": 1, "cover": 1.0}
    return plan_pool(
        np.array(need),
        bin_s=10.0,
        start_up_s=10.0 * start_up_bins,
        **(fields | changes),  # type: ignore[arg-type]
    )


def _gpu_s(plan: PoolPlan) -> float:
    assert plan.gpu_hours_bound == pytest.approx(plan.gpu_hours)
    return plan.gpu_hours * 3600.0


def test_whole_replicas_cover_the_need() -> None:
    plan = _plan([0.5, 2.1, 3.0, 0.0])
    assert plan.replicas.tolist() == [1, 3, 3, 0]
    assert _gpu_s(plan) == pytest.approx(70.0)


def test_a_short_lull_is_held_through_and_a_long_one_is_not() -> None:
    # A start costs 3 bins, so that a gap of 2 is not worth one.
    assert _plan([1.0, 0.0, 0.0, 1.0], 3).replicas.tolist() == [1, 1, 1, 1]
    long = _plan([1.0, 0.0, 0.0, 0.0, 0.0, 1.0], 3)
    assert long.replicas.tolist() == [1, 0, 0, 0, 0, 1]
    assert _gpu_s(long) == pytest.approx(20.0 + 30.0)


def test_only_start_up_within_the_window_is_paid() -> None:
    # Serving from the second bin on, it started within the first or before.
    assert _gpu_s(_plan([0.0, 1.0], 6)) == pytest.approx(20.0)


def test_the_first_replicas_are_there_without_starting() -> None:
    assert _gpu_s(_plan([4.0, 4.0], 6)) == pytest.approx(80.0)


def test_what_is_dearest_to_cover_is_left_out_first() -> None:
    # 1 % of 101 replica-bins may be missing: the peak of one replica-bin.
    need = [*[1.0] * 50, 2.0, *[1.0] * 49]
    plan = _plan(need, 6, cover=0.99)
    assert plan.replicas.tolist() == [1] * 100


def test_the_minimum_runs_always_and_the_maximum_is_never_passed() -> None:
    plan = _plan([0.0, 5.0, 0.0], min_replicas=1, max_replicas=3)
    assert plan.replicas.tolist() == [1, 3, 1]
    assert _gpu_s(plan) == pytest.approx(50.0)


def test_gpus_of_a_replica_count() -> None:
    assert _gpu_s(_plan([1.0, 1.0], gpus_per_replica=4)) == pytest.approx(80.0)


def test_a_margin_raises_the_schedule_but_not_the_bound() -> None:
    plan = _plan([2.0, 2.0], margin=1.5)
    assert plan.replicas.tolist() == [3, 3]
    assert plan.gpu_hours_bound == pytest.approx(40.0 / 3600.0)


def test_a_replica_is_ordered_a_start_up_before_it_serves() -> None:
    plan = _plan([0.0, 0.0, 0.0, 2.0, 0.0, 0.0], 2)
    assert plan.orders().tolist() == [0, 2, 2, 2, 0, 0]
    assert plan.orders(lead_s=25.0).tolist() == [2, 2, 2, 2, 0, 0]
    assert plan.orders(lead_s=0.0).tolist() == plan.replicas.tolist()


@pytest.mark.parametrize("need", [[], [0.0, 0.0]])
def test_nothing_is_held_for_nothing(need: list[float]) -> None:
    plan = _plan(need, 6)
    assert plan.replicas.tolist() == [0] * len(need)
    assert plan.orders().tolist() == [0] * len(need)
    assert plan.gpu_hours == plan.gpu_hours_bound == 0.0


@pytest.mark.parametrize(
    ("need", "changes"),
    [
        ([-1.0], {}),
        ([float("nan")], {}),
        ([1.0], {"cover": 0.0}),
        ([1.0], {"margin": 0.0}),
        ([1.0], {"min_replicas": 3, "max_replicas": 2}),
    ],
)
def test_what_makes_no_sense_is_refused(need: list[float], changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        _plan(need, **changes)


def test_a_day_of_noise_is_planned_nearly_exactly() -> None:
    generator = np.random.default_rng(1)
    need = 12.0 + 5.0 * np.sin(np.arange(720) / 100.0) + generator.normal(0.0, 1.0, 720)
    plan = _plan(np.maximum(need, 0.0).tolist(), 6, max_replicas=40, cover=0.995)
    assert plan.gpu_hours_bound <= plan.gpu_hours <= 1.005 * plan.gpu_hours_bound
    assert np.minimum(need, plan.replicas).sum() >= 0.995 * need.sum()
