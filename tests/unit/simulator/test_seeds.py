"""Seed after seed, to the first that fails."""

from pathlib import Path

import pytest

from tests.unit.simulator.worlds import Scripted, scenario
from weir.simulator import policies
from weir.simulator.scenario import Scenario
from weir.simulator.seeds import first_failure
from weir.simulator.world import World


@pytest.fixture
def scenario_of(tmp_path: Path):
    def make(seed: int) -> Scenario:
        return scenario(tmp_path, [(1.0, 500, 11)], to_s=20.0, seed=seed)

    return make


def fail_at(monkeypatch: pytest.MonkeyPatch, seed: int, what) -> None:
    def act(world: World) -> None:
        if world.scenario.seed == seed:
            what(world)

    monkeypatch.setattr(policies, "make", lambda name: Scripted((5.0, act)))


def test_seeds_that_hold_say_how_much_was_looked_at(scenario_of) -> None:
    done: list[int] = []
    result = first_failure(range(3, 6), scenario_of, "static:1", (), done.append)
    assert (result.held, result.requests, result.failure) == (3, 3, None)
    assert result.checks == result.events + result.requests > result.requests
    assert done == [1, 2, 3]


def test_the_first_seed_with_a_violation_ends_the_search(
    scenario_of, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at(monkeypatch, 2, lambda world: world.invariants.found("B1", "too many"))
    result = first_failure(range(9), scenario_of, "scripted")
    assert result.held == 2
    assert result.failure is not None
    assert (result.failure.seed, result.failure.problems) == (2, ("B1 at 5.000 s: too many",))


def test_a_seed_that_stops_the_run_fails_with_its_traceback(
    scenario_of, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(world: World) -> None:
        raise ZeroDivisionError("a defect")

    fail_at(monkeypatch, 1, breaks)
    result = first_failure(range(9), scenario_of, "scripted")
    assert result.failure is not None
    assert result.failure.seed == 1
    assert result.failure.problems[0].endswith("ZeroDivisionError: a defect")
