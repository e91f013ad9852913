"""A class whose targets nobody can meet: no GPUs for it, and no harm to the others."""

from pathlib import Path

import pytest

from tests.unit.simulator.worlds import Rows, scenario
from weir.simulator.policies.port import Policy
from weir.simulator.run import simulate
from weir.simulator.summarize import summarize
from weir.simulator.summary import SimulationSummary
from weir.simulator.world import World

SHORT: Rows = [(0.5 * number, 400, 40) for number in range(600)]
LONG: Rows = [(0.1 + 0.25 * number, 1500, 60) for number in range(1200)]

TTFT = ("spec.classes.1.ttft_ms=1000",)
"""Their prompts take 1.5 s on an idle engine."""
ITL = ("spec.classes.1.itl_ms=22", "spec.simulation.speed_biases={decode: -0.3}")
"""A token takes 29 ms there: engines are slower than their profile says."""


def run(folder: Path, rows: Rows, *sets: str) -> tuple[SimulationSummary, set[str]]:
    """Its summary, and what was called infeasible at the end."""
    told: set[str] = set()

    def watch(world: World, policy: Policy) -> None:
        def look(_: object) -> None:
            assert world.roles is not None
            leader = world.roles.leader()
            assert leader is not None and leader.planner is not None
            told.update(leader.planner.standing().infeasible)

        world.events.at(290.0, look)

    made = scenario(folder, sorted(rows), *sets, to_s=300.0, warmup_s=100.0)
    outcome = simulate(made, "weir", watch=[watch])
    assert outcome.world.invariants.violations == []
    return summarize(outcome, wall_s=0.0, cpu_s=0.0), told


@pytest.mark.parametrize("sets", [TTFT, ITL], ids=["TTFT", "ITL"])
def test_an_infeasible_class_takes_no_gpus_and_harms_nobody(
    tmp_path: Path, sets: tuple[str, ...]
) -> None:
    alone, nothing = run(tmp_path, SHORT, *sets)
    both, told = run(tmp_path, [*SHORT, *LONG], *sets)
    assert nothing == set()
    assert told == {"long"}
    assert both.gpu_hours <= 1.3 * alone.gpu_hours
    assert both.classes["short"].attainment == pytest.approx(1.0, abs=0.01)
    # It is served from what there is.
    assert both.classes["long"].completed > 100
