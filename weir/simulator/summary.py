"""The summary of a simulation: that of any run, and what only a simulator knows.

docs/reference/run-summary.md says what each field means and when it is null.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from weir.summary import ClassSummary, NonNegative, PoolSummary, RunSummary, Share, Tally

__all__ = ["SimulatedClass", "SimulatedPool", "SimulationSummary", "without_costs"]

COSTS = frozenset({"wall_s", "cpu_s", "requests_per_cpu_s"})
"""Fields that differ from run to run of one seed."""

Ratio = Annotated[float, Field(ge=0.0)]


class SimulatedPool(PoolSummary):
    """One pool; latencies and attainment are those of the requests that it had a leg of."""

    attainment: Share | None
    ttft_mean_s: NonNegative | None
    ttft_p50_s: NonNegative | None
    ttft_p95_s: NonNegative | None
    ttft_p99_s: NonNegative | None
    itl_mean_s: NonNegative | None
    itl_p50_s: NonNegative | None
    itl_p95_s: NonNegative | None
    itl_p99_s: NonNegative | None
    utilization: Ratio | None
    """Seconds that its engines computed per second that replicas were ready."""
    replica_hours: NonNegative
    """Of ready replicas."""
    replicas_mean: NonNegative
    gpu_hours: NonNegative
    """Of all replicas that hold GPUs, starting and ending ones included."""
    scale_ups: Tally
    scale_downs: Tally


class SimulatedClass(ClassSummary):
    """Requests whose true class this is."""

    completed: Tally
    failed: Tally
    shed: Tally
    abandoned: Tally
    """Left by their clients before the first token."""
    ttft_slo_s: NonNegative
    ttft_mean_s: NonNegative | None
    ttft_p50_s: NonNegative | None
    ttft_p95_s: NonNegative | None
    ttft_p99_s: NonNegative | None
    itl_slo_s: NonNegative
    itl_mean_s: NonNegative | None
    itl_p50_s: NonNegative | None
    itl_p95_s: NonNegative | None
    itl_p99_s: NonNegative | None


class SimulationSummary(RunSummary):
    """Requests and GPU-hours after the warm-up only."""

    fleet: str
    policy: str
    seed: int
    faults: tuple[str, ...]
    from_s: NonNegative
    """The simulated part of the trace."""
    to_s: NonNegative
    warmup_s: NonNegative
    pools: Mapping[str, SimulatedPool]
    classes: Mapping[str, SimulatedClass]
    attainment_lowest: Share | None
    """That of the class with the lowest."""
    weighted_goodput_bound_rps: NonNegative
    """What no allocation and no routing can bring it to."""
    ttft_mean_s: NonNegative | None
    ttft_p95_s: NonNegative | None
    itl_mean_s: NonNegative | None
    itl_p95_s: NonNegative | None
    replica_hours: NonNegative
    gpu_hours_bound: NonNegative
    """Fewest GPU-hours that cover the demand of every pool, with classes at home."""
    gpu_hours_floor: NonNegative
    """What no policy can be below, wherever it sends requests and however long they wait."""
    ratio_to_oracle: Ratio | None
    """`gpu_hours / gpu_hours_bound`; null if nothing was demanded."""
    margin: NonNegative | None
    """The oracle's margin over the bound's schedule; null for other policies."""
    scaling_steps: Tally
    """How often a policy changed a pool's wanted replicas."""
    scaling_step_mean: NonNegative | None
    """Replicas by which it did, in the mean."""
    scaling_step_max: Tally | None
    churn: NonNegative | None
    """Replicas started and stopped per ready replica-hour."""
    retries: Tally
    """Further attempts, by clients that were shed and after a replica was lost."""
    uncounted: Tally
    """Requests of the warm-up."""
    invariant_violations: Tally
    violations: tuple[str, ...]
    """The first of them."""
    events: Tally
    checks: Tally
    """How often the invariants were looked at."""
    requests_per_cpu_s: NonNegative | None
    """Requests, those of the warm-up included, per CPU second."""


def without_costs(summary: SimulationSummary) -> SimulationSummary:
    """What one seed determines: all but `COSTS`."""
    return summary.model_copy(update={"wall_s": 0.0, "cpu_s": 0.0, "requests_per_cpu_s": None})
