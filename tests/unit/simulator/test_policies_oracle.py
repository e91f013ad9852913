from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.unit.simulator.worlds import scenario
from weir.domain.ids import PoolId
from weir.simulator.policies.oracle import Oracle
from weir.simulator.policies.oracle_run import MARGINS, least_margin, run_oracle
from weir.simulator.scenario import Scenario
from weir.simulator.world import World

PREFILL = PoolId("prefill")


@pytest.mark.parametrize("needed", [*MARGINS, 1.001, 5.0])
def test_the_least_margin_of_the_grid_is_found_in_few_trials(needed: float) -> None:
    tried = []

    def attempt(margin: float) -> World | None:
        tried.append(margin)
        return cast(World, SimpleNamespace(margin=margin)) if margin >= needed else None

    found = least_margin(attempt)
    if needed > MARGINS[-1]:
        assert found is None
    else:
        assert found is not None
        least = min(margin for margin in MARGINS if margin >= needed)
        assert (found[1], cast(Any, found[0]).margin) == (least, least)
    assert len(tried) == len(set(tried)) <= 8


def _rising(folder: Path) -> Scenario:
    """Prompts of a second each: 2 in a second at first, 5 after two minutes."""
    early = [(number / 2.0, 1000, 10) for number in range(240)]
    late = [(120.0 + number / 5.0, 1000, 10) for number in range(300)]
    # the first prompt of a replica takes a second of the target's two
    return scenario(folder, [*early, *late], to_s=180.0)


def test_replicas_are_ordered_so_that_they_serve_when_the_plan_needs_them(tmp_path: Path) -> None:
    world = World(_rising(tmp_path), Oracle(1.0))
    ready: dict[float, int] = {}
    for at_s in (105.0, 121.0):
        world.events.at(
            at_s, lambda at_s: ready.update({at_s: len(world.cluster.pools[PREFILL].ready)}), at_s
        )
    world.run()
    planned = world.scenario.oracle.pools[PREFILL].replicas
    assert ready == {105.0: planned[10], 121.0: planned[12]}
    assert planned[12] > planned[10]


def test_the_search_ends_with_every_class_at_its_target(tmp_path: Path) -> None:
    small = _rising(tmp_path)
    lines: list[str] = []
    world, margin = run_oracle(small, lambda policy: World(small, policy), lines.append)
    assert margin in MARGINS
    assert world.over
    assert all(
        (world.recorder.classes.attainment(index) or 1.0) >= item.slo.percentile
        for index, item in enumerate(small.fleet.classes)
    )
    assert any(f"margin {margin:.2f} will do" in line for line in lines)


def test_a_target_out_of_reach_is_tried_with_the_largest_margin(tmp_path: Path) -> None:
    # A single replica may run, for 5 s of work a second.
    small = scenario(
        tmp_path,
        [(number / 5.0, 1000, 10) for number in range(100)],
        "pools.prefill.max_replicas=1",
        to_s=20.0,
    )
    built: list[float] = []

    def build(policy: Oracle) -> World:
        built.append(policy.margin)
        return World(small, policy)

    world, margin = run_oracle(small, build)
    assert margin is None
    assert world.over
    assert built[-1] == MARGINS[-1]
