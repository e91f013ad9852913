"""An hour of constant load that comes by chance, as it does in a Poisson process or in clusters.

Clusters (the variance of counts four times their mean) are now and then long enough to look like
more load; then a pool may take a replica and give it back.
"""

import pytest

from tests.simulation.planner_world import FLEETS, play

HOUR_S = 3600.0
SETTLED_S = 0.2 * HOUR_S


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(i, marks=pytest.mark.slow) for i in (2, 3))])
@pytest.mark.parametrize("fleet", ["disagg", "agg"])
def test_nothing_is_scaled_in_the_last_four_fifths_of_it(fleet: str, seed: int) -> None:
    played = play(FLEETS[fleet], HOUR_S, seed=seed, kind="poisson")
    assert played.world.invariants.violations == []
    assert played.steps(SETTLED_S, HOUR_S) == []
    assert played.attainment(SETTLED_S, HOUR_S) >= 0.99


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("fleet", ["disagg", "agg"])
def test_clusters_move_a_pool_by_a_replica_now_and_then_at_most(fleet: str, seed: int) -> None:
    played = play(FLEETS[fleet], HOUR_S, seed=seed, kind="bursty", more=",cv=2")
    steps = played.steps(SETTLED_S, HOUR_S)
    assert len(steps) <= 10
    assert all(abs(step.after - step.before) <= 1 for step in steps)
    assert played.attainment(SETTLED_S, HOUR_S) >= 0.99


def test_six_pools_that_share_classes_make_a_step_now_and_then() -> None:
    """A request of the longest class comes in a second and decodes for minutes: that varies."""
    played = play(FLEETS["classes"], HOUR_S, seed=0)
    steps = played.steps(SETTLED_S, HOUR_S)
    assert len(steps) <= 12
    assert all(abs(step.after - step.before) <= 1 for step in steps)
    assert played.attainment(SETTLED_S, HOUR_S) >= 0.99
