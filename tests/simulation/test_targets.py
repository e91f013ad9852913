"""Pools that are sized by thresholds of how full their engines are, in whole fleets."""

from pathlib import Path

import pytest

from tests.simulation.fleet_world import constant, loaded_fleet, run, unrecovered
from weir.fleet import load
from weir.simulator.call import Call, End
from weir.simulator.inputs import Inputs
from weir.simulator.policies import make
from weir.simulator.world import World

DISAGG = Path(__file__).parents[2] / "examples" / "fleets" / "disagg.yaml"
BUSY = "poisson:rate=12,isl=700,osl=180,for=300"


@pytest.mark.parametrize("seed", range(10))
def test_all_invariants_hold_under_all_faults_and_the_fleet_recovers(seed: int) -> None:
    target = ("latency", "throughput")[seed % 2]
    result = run(seed, loaded=loaded_fleet(f"spec.planner.target={target}"))
    assert result.world.invariants.violations == []
    assert unrecovered(result) == []


@pytest.mark.parametrize(("target", "most"), [("throughput", 4), ("latency", 1)])
def test_under_constant_demand_pools_hardly_move(target: str, most: int) -> None:
    # One decode replica is now and then above its threshold here, and two are always below.
    result = run(
        1,
        names=(),
        loaded=loaded_fleet(f"spec.planner.target={target}"),
        columns=constant(2.0, 900.0),
        end_s=900.0,
    )
    assert result.world.invariants.violations == []
    assert len([step for step in result.world.journal.steps if step.at_s > 450.0]) <= most


def test_ten_minutes_without_telemetry_take_no_replica() -> None:
    silent, begins_s, ends_s = {"traffic", "forward-pass"}, 300.0, 900.0

    def watch(world: World) -> None:
        assert world.roles is not None
        weather = world.roles.plane.network.weather.silent
        world.events.at(begins_s, lambda _: weather.update(silent))
        world.events.at(ends_s, lambda _: weather.difference_update(silent))

    result = run(
        2,
        names=(),
        loaded=loaded_fleet("spec.planner.target=latency"),
        columns=constant(2.0, 960.0),
        end_s=960.0,
        watch=watch,
    )
    assert result.world.invariants.violations == []
    taken = [
        step
        for step in result.world.journal.steps
        if begins_s + 15.0 < step.at_s < ends_s and step.after < step.before
    ]
    assert taken == []


@pytest.mark.parametrize("target", ["throughput", "latency"])
def test_more_calls_are_in_time_than_with_dynamos_planner_and_the_same_thresholds(
    target: str,
) -> None:
    ours = _attainment("weir", f"spec.planner.target={target}")
    theirs = _attainment(f"dynamo-{target}")
    assert ours > theirs + 0.2


def _attainment(policy: str, *sets: str) -> float:
    inputs = Inputs(loaded=load(DISAGG, sets), trace=BUSY, from_s=0.0, to_s=300.0)
    world = World(inputs.scenario(0), make(policy))
    (slo,) = (c.slo for c in world.fleet.classes)
    met = []

    def ended(call: Call, _: End) -> None:
        first_s = call.first_s
        met.append(first_s is not None and first_s - call.arrived_s <= slo.ttft_s)

    world.on_end.append(ended)
    world.run()
    return sum(met) / len(met)
