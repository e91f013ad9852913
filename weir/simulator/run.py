"""One simulated run, from a scenario to its outcome: for the command, tests and benchmarks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from weir.simulator import policies
from weir.simulator.faults import install
from weir.simulator.journal import Journal
from weir.simulator.meter import Meter
from weir.simulator.policies.oracle import Oracle
from weir.simulator.policies.oracle_run import run_oracle
from weir.simulator.policies.port import Policy
from weir.simulator.role_errors import role_errors
from weir.simulator.scenario import Scenario
from weir.simulator.world import World

__all__ = ["Outcome", "Watcher", "simulate"]

Watcher = Callable[[World, Policy], object]
"""Gets to see the world before it runs."""

_SEARCHED = "oracle"
_USUAL_TRIALS = 6


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A world that has run.

    `margin` is the oracle's; None for other policies and where none reaches the targets.
    """

    world: World
    policy_name: str
    faults: tuple[str, ...]
    meter: Meter
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

    The plain `oracle` happens several times, until its least margin is found. Raises
    `WeirError` for a name that is not known.
    """
    if policy_name == _SEARCHED:
        return _searched(scenario, tuple(faults), journal, progress, watch)
    policy = policies.make(policy_name)
    world, meter = _made(scenario, policy, faults, journal, watch)
    with role_errors(world):
        world.run(progress)
    return Outcome(
        world=world,
        policy_name=policy_name,
        faults=tuple(faults),
        meter=meter,
        margin=policy.margin if isinstance(policy, Oracle) else None,
    )


def _searched(
    scenario: Scenario,
    faults: tuple[str, ...],
    journal: Journal | None,
    progress: Callable[[float], None] | None,
    watch: Sequence[Watcher],
) -> Outcome:
    """Journal and watchers see only the run at the margin that was found, made again for them."""
    trials: list[tuple[World, Meter, Oracle]] = []

    def build(policy: Oracle) -> World:
        trials.append((*_made(scenario, policy, faults), policy))
        if progress is not None:
            progress(min(0.9, (len(trials) - 1) / _USUAL_TRIALS))
        return trials[-1][0]

    world, margin = run_oracle(scenario, build)
    meter, last = next((meter, policy) for trial, meter, policy in trials if trial is world)
    if journal is not None or watch:
        world, meter = _made(scenario, Oracle(last.margin), faults, journal, watch)
        world.run()
    return Outcome(world=world, policy_name=_SEARCHED, faults=faults, meter=meter, margin=margin)


def _made(
    scenario: Scenario,
    policy: Policy,
    faults: Sequence[str],
    journal: Journal | None = None,
    watch: Sequence[Watcher] = (),
) -> tuple[World, Meter]:
    """A world that is ready to run."""
    world = World(scenario, policy, journal)
    meter = Meter(world)
    install(world, faults)
    for look in watch:
        look(world, policy)
    return world, meter
