"""A pool's bounds through all roles, under every target."""

from pathlib import Path

import pytest

from tests.unit.simulator.worlds import Rows, scenario
from weir.simulator.policies.port import Policy
from weir.simulator.run import simulate
from weir.simulator.world import World

SETTLED_S = 60.0
BOUNDS = [f"spec.pools.{i}.{key}" for i in range(2) for key in ("min_replicas=2", "max_replicas=3")]
BURST: Rows = [(200.0 + 0.05 * number, 800, 60) for number in range(1200)]


@pytest.mark.parametrize("target", ["sla", "throughput", "latency"])
def test_min_and_max_replicas_hold_while_idle_and_in_a_burst(tmp_path: Path, target: str) -> None:
    held: list[tuple[float, tuple[int, ...]]] = []

    def watch(world: World, policy: Policy) -> None:
        def look(_: object = None) -> None:
            pools = world.cluster.pools.values()
            held.append((world.now_s, tuple(len(pool.replicas) for pool in pools)))
            if not world.over:
                world.events.after(1.0, look)

        world.events.at(0.0, look)

    sets = (*BOUNDS, f"spec.planner={{target: {target}}}")
    made = scenario(tmp_path, [(1.0, 400, 20), *BURST], *sets, to_s=300.0)
    outcome = simulate(made, "weir", watch=[watch])
    assert outcome.world.invariants.violations == []
    settled = [counts for at_s, counts in held if at_s > SETTLED_S]
    assert all(2 <= count <= 3 for counts in settled for count in counts)
    assert {max(counts) for counts in settled} == {2, 3}
