"""One simulated run, from a scenario to its outcome: for the command, tests and benchmarks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from weir.simulator import policies
from weir.simulator.faults import install
from weir.simulator.journal import Journal
from weir.simulator.meter import Meter
from weir.simulator.policies.port import Policy
from weir.simulator.scenario import Scenario
from weir.simulator.world import World

__all__ = ["Outcome", "Watcher", "simulate"]

Watcher = Callable[[World, Policy], object]
"""Gets to see the world before it runs."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A world that has run. Bound and margin are None where they were not worked out."""

    world: World
    policy_name: str
    faults: tuple[str, ...]
    meter: Meter
    gpu_hours_bound: float | None = None
    margin: float | None = None

    @property
    def checks(self) -> int:
        """How often the invariants were looked at: after each event and each arrival."""
        return self.world.events.happened + self.world.arrived


def simulate(
    scenario: Scenario,
    policy_name: str,
    faults: Sequence[str] = (),
    journal: Journal | None = None,
    progress: Callable[[float], None] | None = None,
    watch: Sequence[Watcher] = (),
) -> Outcome:
    """Let the scenario happen under a policy and faults, by their names.

    Raises `WeirError` for a name that is not known.
    """
    policy = policies.make(policy_name)
    world = World(scenario, policy, journal)
    meter = Meter(world)
    install(world, faults)
    for look in watch:
        look(world, policy)
    world.run(progress)
    return Outcome(world=world, policy_name=policy_name, faults=tuple(faults), meter=meter)
