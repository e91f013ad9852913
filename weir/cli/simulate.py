"""`weir simulate FLEET`: a fleet, a trace and a policy in virtual time.

Standard output gets the summary, with `--json` one object and nothing else; everything else
goes to stderr. Exit codes: 0 done, 1 an invariant was violated or a seed fails, 2 bad usage or
input, found before the run.
"""

import argparse
import gc
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict

from weir.cli.progress import progress
from weir.cli.simulate_options import Chosen, configure, replay_command, usage
from weir.cli.simulate_outputs import Outputs
from weir.fleet import check, load
from weir.simulator.compare import comparison_text
from weir.simulator.inputs import Inputs
from weir.simulator.run import simulate
from weir.simulator.scenario import Scenario
from weir.simulator.seeds import SeedsResult, first_failure
from weir.simulator.summarize import summarize
from weir.simulator.summary import SimulationSummary
from weir.simulator.summary_text import summary_text

__all__ = ["configure", "run"]


class _Costs:
    """Wall and CPU seconds of this process since its imports."""

    def __init__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def spent(self) -> tuple[float, float]:
        return time.perf_counter() - self._began[0], time.process_time() - self._began[1]


_OBJECTS = 100_000
"""New objects between two looks of the garbage collector: a world is large and lives long."""


def run(args: argparse.Namespace) -> int:
    gc.freeze()
    gc.set_threshold(_OBJECTS, 50, 100)
    costs = _Costs()
    chosen = usage(args)
    loaded = load(args.fleet, args.sets)
    for warning in check(loaded):
        print(f"weir simulate: {loaded.path}: warning: {warning}", file=sys.stderr)
    inputs = Inputs(
        loaded=loaded,
        trace=args.trace,
        rate_scale=args.rate_scale,
        tenant_column=args.tenant_from,
        from_s=args.from_s,
        to_s=args.to_s,
        warmup_s=args.warmup_s,
    )
    if args.seeds is not None:
        return _seeds(args, inputs, chosen)
    scenario = inputs.scenario(args.seed)
    if args.compare is not None:
        return _compared(args, scenario, chosen, costs)
    return _one(args, scenario, chosen, costs)


def _one(args: argparse.Namespace, scenario: Scenario, chosen: Chosen, costs: _Costs) -> int:
    (policy,) = chosen.policies
    with Outputs(args.events, args.report) as outputs:
        with progress(policy) as tell:
            outcome = simulate(
                scenario, policy, chosen.faults, outputs.journal, tell, outputs.watch
            )
        wall_s, cpu_s = costs.spent()
        summary = summarize(outcome, wall_s=wall_s, cpu_s=cpu_s)
        outputs.finish(outcome, summary)
    print(summary.model_dump_json() if args.json else summary_text(summary))
    return _exit_code([summary])


def _compared(args: argparse.Namespace, scenario: Scenario, chosen: Chosen, costs: _Costs) -> int:
    prepared = costs.spent()
    summaries = {
        policy: _timed(scenario, policy, chosen.faults, prepared) for policy in chosen.policies
    }
    if args.json:
        dumped = {name: summary.model_dump(mode="json") for name, summary in summaries.items()}
        print(json.dumps({"policies": dumped}))
    else:
        print(comparison_text(summaries))
    return _exit_code(list(summaries.values()))


def _timed(
    scenario: Scenario, policy: str, faults: tuple[str, ...], prepared: tuple[float, float]
) -> SimulationSummary:
    """Every policy is charged what making the scenario has cost, as if it had run alone."""
    costs = _Costs()
    with progress(policy) as tell:
        outcome = simulate(scenario, policy, faults, progress=tell)
    wall_s, cpu_s = costs.spent()
    return summarize(outcome, wall_s=prepared[0] + wall_s, cpu_s=prepared[1] + cpu_s)


def _seeds(args: argparse.Namespace, inputs: Inputs, chosen: Chosen) -> int:
    (policy,) = chosen.policies
    with progress(f"{len(args.seeds)} seeds") as tell:
        result = first_failure(
            args.seeds,
            inputs.scenario,
            policy,
            chosen.faults,
            None if tell is None else lambda done: tell(done / len(args.seeds)),
        )
    command = None
    if result.failure is not None:
        command = replay_command(args, chosen, result.failure.seed)
    print(json.dumps(_as_json(result, command)) if args.json else _as_text(result, command))
    return 0 if result.failure is None else 1


def _as_json(result: SeedsResult, command: str | None) -> Mapping[str, object]:
    failure = None if result.failure is None else {**asdict(result.failure), "replay": command}
    return {**asdict(result), "failure": failure}


def _as_text(result: SeedsResult, command: str | None) -> str:
    held = (
        f"{result.held} seeds held: {result.requests} requests, {result.events} events, "
        f"{result.checks} checks of the invariants"
    )
    if result.failure is None:
        return held
    return "\n".join(
        [f"seed {result.failure.seed} fails:", *result.failure.problems, held, "", f"{command}"]
    )


def _exit_code(summaries: list[SimulationSummary]) -> int:
    return 1 if any(summary.invariant_violations for summary in summaries) else 0
