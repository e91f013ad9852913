"""Five times the load within ten seconds, for five minutes.

The time above SLO is that of the 5 s bins, of those in which the burst's requests come, in which
of a class more of them miss their targets than its percentile lets miss them (rounded up to a
whole one). A start takes 48 to 72 s; planners decide every 5 s, so a bin more may pass before
they see the burst.
"""

import pytest

from tests.simulation.planner_world import BIN_S, FLEETS, START_UP_S, play

BEGINS_S, FOR_S, RAMP_S = 400.0, 300.0, 10.0
OVER_S = BEGINS_S + FOR_S + RAMP_S
END_S = OVER_S + 300.0
BURST = f",burst=5@{BEGINS_S:g}+{FOR_S:g}"


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(i, marks=pytest.mark.slow) for i in (2, 3))])
@pytest.mark.parametrize("fleet", ["disagg", "agg"])
def test_slo_is_missed_no_longer_than_a_start_takes_and_then_gpus_go_back(
    fleet: str, seed: int
) -> None:
    played = play(FLEETS[fleet], END_S, seed=seed, more=BURST)
    assert played.world.invariants.violations == []
    before = played.gpus(BEGINS_S)
    assert played.above_s(BEGINS_S, OVER_S) <= START_UP_S + 10.0 + 2.0 * BIN_S
    assert played.attainment(BEGINS_S + START_UP_S + 20.0, END_S) >= 0.99
    assert played.gpus(OVER_S - 20.0) >= 2.5 * before
    assert played.gpus(OVER_S + 200.0) <= before + 2
