"""Watts under faults: what may be running never draws more than the budget."""

import pytest

from globalplanner.core.budget.limits import limits_of
from tests.simulation.fleet_world import loaded_fleet, run
from weir.simulator.world import World

POWER_W = 3900
SETS = (
    f"spec.budget.power_w={POWER_W}",
    *(f"spec.pools.{i}.power_w_per_gpu={watts}" for i, watts in enumerate((300, 500, 700))),
)


class Peak:
    """The most watts that replicas of any phase could draw at once."""

    watts = 0

    def __call__(self, world: World) -> None:
        def look(_: object = None) -> None:
            drawn = sum(
                len(pool.replicas) * pool.spec.gpus_per_replica * (pool.spec.power_w_per_gpu or 0)
                for pool in world.cluster.pools.values()
            )
            self.watts = max(self.watts, drawn)
            if not world.over:
                world.events.after(0.5, look)

        world.events.at(0.0, look)


@pytest.mark.parametrize("seed", range(4))
def test_watts_never_exceed_the_power_budget_under_faults(seed: int) -> None:
    loaded = loaded_fleet(*SETS)
    assert limits_of(loaded.fleet)[-1].most == POWER_W
    assert run(seed, loaded=loaded).world.invariants.violations == []


def test_without_faults_power_is_used_and_kept() -> None:
    peak = Peak()
    result = run(3, names=(), loaded=loaded_fleet(*SETS), watch=peak)
    assert result.world.invariants.violations == []
    assert 0.5 * POWER_W <= peak.watts <= POWER_W
