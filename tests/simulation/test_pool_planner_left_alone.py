"""Five minutes without a GlobalPlanner, under load."""

import pytest

from tests.simulation.planner_world import FLEETS, START_UP_S, lose_global_planner, play

LOST_S, FOUND_S, OVER_S = 300.0, 600.0, 900.0
RISES_S = 400.0
LOST = lose_global_planner(LOST_S, FOUND_S - LOST_S)
FLEETS_AND_SEEDS = [
    ("disagg", 0),
    ("agg", 1),
    pytest.param("disagg", 1, marks=pytest.mark.slow),
    pytest.param("agg", 0, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("fleet", "seed"), FLEETS_AND_SEEDS)
def test_pools_hold_what_they_have_and_nobody_notices(fleet: str, seed: int) -> None:
    played = play(FLEETS[fleet], OVER_S, seed=seed, watch=LOST)
    assert played.world.invariants.violations == []
    assert played.taken(LOST_S, FOUND_S) == 0
    assert played.added(LOST_S, FOUND_S) == 0
    assert played.attainment(LOST_S, OVER_S) >= 0.99


@pytest.mark.parametrize(("fleet", "seed"), FLEETS_AND_SEEDS)
def test_load_that_rises_meanwhile_is_met_as_soon_as_it_is_found_again(
    fleet: str, seed: int
) -> None:
    more = f",burst=2@{RISES_S:g}+{OVER_S:g}"
    played = play(FLEETS[fleet], OVER_S, seed=seed, more=more, watch=LOST)
    assert played.world.invariants.violations == []
    assert played.added(LOST_S, FOUND_S) == 0
    assert played.taken(LOST_S, FOUND_S) == 0
    assert played.replicas(FOUND_S + 30.0) > played.replicas(FOUND_S)
    assert played.attainment(FOUND_S + 60.0 + START_UP_S, OVER_S) >= 0.99


def test_six_pools_that_share_classes_stay_as_they_are_too() -> None:
    more = f",burst=2@{RISES_S:g}+{OVER_S:g}"
    played = play(FLEETS["classes"], OVER_S, seed=0, more=more, watch=LOST)
    assert played.world.invariants.violations == []
    assert played.added(LOST_S, FOUND_S) == 0
    assert played.taken(LOST_S, FOUND_S) == 0
    assert played.steps(LOST_S, FOUND_S) == []
    assert played.steps(FOUND_S, FOUND_S + 30.0) != []
