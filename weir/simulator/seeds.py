"""Many seeds of one scenario: the first that breaks an invariant, or how much held."""

import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from weir.simulator.run import Outcome, simulate
from weir.simulator.scenario import Scenario

__all__ = ["Failure", "SeedsResult", "first_failure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What a seed has shown. A defect that stops the run counts as much as a broken invariant."""

    seed: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedsResult:
    """`held` seeds without a violation, in all of which so much happened and was looked at."""

    held: int
    requests: int
    events: int
    checks: int
    failure: Failure | None


def first_failure(
    seeds: Iterable[int],
    scenario_of: Callable[[int], Scenario],
    policy_name: str,
    faults: Sequence[str] = (),
    progress: Callable[[int], None] | None = None,
) -> SeedsResult:
    """Simulate one seed after the other. `progress` is told how many are done."""
    held = requests = events = checks = 0
    failure = None
    for seed in seeds:
        outcome, problems = _tried(scenario_of(seed), policy_name, faults)
        if problems:
            failure = Failure(seed=seed, problems=problems)
            break
        assert outcome is not None
        held += 1
        requests += outcome.world.arrived
        events += outcome.world.events.happened
        checks += outcome.checks
        if progress is not None:
            progress(held)
    return SeedsResult(held=held, requests=requests, events=events, checks=checks, failure=failure)


def _tried(
    scenario: Scenario, policy_name: str, faults: Sequence[str]
) -> tuple[Outcome | None, tuple[str, ...]]:
    try:
        outcome = simulate(scenario, policy_name, faults)
    except Exception:
        return None, (traceback.format_exc().rstrip(),)
    return outcome, tuple(outcome.world.invariants.violations)
