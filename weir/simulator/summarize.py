"""From a world that has run to its summary."""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from weir.domain.fleet import PoolSpec, RequestClass
from weir.simulator.call import End
from weir.simulator.journal import Step
from weir.simulator.recorder import SPAN_S, Recorder, Tally, mean_s, quantile_s
from weir.simulator.run import Outcome
from weir.simulator.summary import SimulatedClass, SimulatedPool, SimulationSummary
from weir.summary import SpanSummary

__all__ = ["summarize"]

_VIOLATIONS_SHOWN = 5

Histogram = NDArray[np.int64]


class _Latencies(TypedDict):
    ttft_mean_s: float | None
    ttft_p50_s: float | None
    ttft_p95_s: float | None
    ttft_p99_s: float | None
    itl_mean_s: float | None
    itl_p50_s: float | None
    itl_p95_s: float | None
    itl_p99_s: float | None


def summarize(outcome: Outcome, *, wall_s: float, cpu_s: float) -> SimulationSummary:
    """`wall_s` and `cpu_s` are what the run has cost; nothing else depends on the machine."""
    world, scenario = outcome.world, outcome.world.scenario
    recorder, tally = world.recorder, world.recorder.classes
    pools = {str(spec.id): _pool(outcome, spec, i) for i, spec in enumerate(world.fleet.pools)}
    classes = {str(c.name): _class(tally, c, i) for i, c in enumerate(world.fleet.classes)}
    replica_hours = sum(pool.replica_hours for pool in pools.values())
    gpu_hours = sum(pool.gpu_hours for pool in pools.values())
    scale_ups = sum(pool.scale_ups for pool in pools.values())
    scale_downs = sum(pool.scale_downs for pool in pools.values())
    weights = np.array([item.weight for item in world.fleet.classes])
    ends, met = tally.ends.sum(axis=0), int(tally.met.sum())
    violations = world.invariants.violations
    steps = [abs(step.after - step.before) for step in _counted(outcome)]
    bound = scenario.oracle.gpu_hours_bound
    return SimulationSummary(
        fleet=world.fleet.name,
        policy=outcome.policy_name,
        seed=scenario.seed,
        faults=outcome.faults,
        from_s=scenario.start_s,
        to_s=scenario.end_s,
        warmup_s=scenario.count_from_s - scenario.start_s,
        requests=int(tally.requests.sum()),
        completed=int(ends[End.COMPLETED]),
        failed=int(ends[End.FAILED]),
        shed=int(ends[End.SHED]),
        cancelled=int(ends[End.CANCELLED]),
        infeasible=int(tally.infeasible.sum()),
        attainment=_share(met, int(tally.judged.sum())),
        attainment_lowest=min(
            (c.attainment for c in classes.values() if c.attainment is not None), default=None
        ),
        **_latencies(tally.ttft.sum(axis=0), tally.itl.sum(axis=0)),
        goodput_rps=met / (scenario.end_s - scenario.count_from_s),
        weighted_goodput_rps=float(tally.met @ weights) / (scenario.end_s - scenario.count_from_s),
        weighted_goodput_bound_rps=scenario.weighted_goodput_bound_rps,
        gpu_hours=gpu_hours,
        replica_hours=replica_hours,
        gpu_hours_bound=bound,
        gpu_hours_floor=scenario.oracle.gpu_hours_floor,
        ratio_to_oracle=gpu_hours / bound if bound else None,
        margin=outcome.margin,
        budget_gpus=scenario.fleet.budget.gpus,
        peak_charged_gpus=world.invariants.budget.peak_gpus,
        budget_violations=sum(text.startswith(("B1", "B2")) for text in violations),
        scale_ups=scale_ups,
        scale_downs=scale_downs,
        scaling_steps=len(steps),
        scaling_step_mean=sum(steps) / len(steps) if steps else None,
        scaling_step_max=max(steps, default=None),
        churn=(scale_ups + scale_downs) / replica_hours if replica_hours else None,
        pools=pools,
        classes=classes,
        timeline=_timeline(recorder, scenario.count_from_s),
        retries=recorder.retried,
        uncounted=recorder.uncounted,
        invariant_violations=world.invariants.count,
        violations=tuple(violations[:_VIOLATIONS_SHOWN]),
        events=world.events.happened,
        checks=outcome.checks,
        wall_s=wall_s,
        cpu_s=cpu_s,
        requests_per_cpu_s=world.arrived / cpu_s if cpu_s > 0.0 else None,
    )


def _pool(outcome: Outcome, spec: PoolSpec, index: int) -> SimulatedPool:
    scenario, tally = outcome.world.scenario, outcome.world.recorder.pools
    pool, work = outcome.world.cluster.pools[spec.id], outcome.meter.work(spec.id)
    return SimulatedPool(
        role=spec.role.value,
        replicas_min=pool.fewest_ready,
        replicas_max=pool.most_ready,
        replicas_final=work.ready,
        replicas_mean=pool.ready_s / (scenario.end_s - scenario.count_from_s),
        requests=int(tally.requests[index]),
        attainment=tally.attainment(index),
        **_latencies(tally.ttft[index], tally.itl[index]),
        utilization=work.busy_s / pool.ready_s if pool.ready_s else None,
        replica_hours=pool.ready_s / 3600.0,
        gpu_hours=pool.gpu_s / 3600.0,
        scale_ups=work.started,
        scale_downs=work.stopped,
    )


def _class(tally: Tally, item: RequestClass, index: int) -> SimulatedClass:
    return SimulatedClass(
        requests=int(tally.requests[index]),
        infeasible=int(tally.infeasible[index]),
        attainment=tally.attainment(index),
        completed=int(tally.ends[index, End.COMPLETED]),
        failed=int(tally.ends[index, End.FAILED]),
        shed=int(tally.ends[index, End.SHED]),
        abandoned=int(tally.ends[index, End.CANCELLED]),
        ttft_slo_s=item.slo.ttft_s,
        itl_slo_s=item.slo.itl_s,
        **_latencies(tally.ttft[index], tally.itl[index]),
    )


def _latencies(ttft: Histogram, itl: Histogram) -> _Latencies:
    return _Latencies(
        ttft_mean_s=mean_s(ttft),
        ttft_p50_s=quantile_s(ttft, 0.50),
        ttft_p95_s=quantile_s(ttft, 0.95),
        ttft_p99_s=quantile_s(ttft, 0.99),
        itl_mean_s=mean_s(itl),
        itl_p50_s=quantile_s(itl, 0.50),
        itl_p95_s=quantile_s(itl, 0.95),
        itl_p99_s=quantile_s(itl, 0.99),
    )


def _counted(outcome: Outcome) -> list[Step]:
    scenario = outcome.world.scenario
    return [
        step
        for step in outcome.world.journal.steps
        if scenario.count_from_s <= step.at_s < scenario.end_s
    ]


def _timeline(recorder: Recorder, count_from_s: float) -> list[SpanSummary]:
    """All classes together; minutes without requests are left out."""
    requests, judged, met = (
        counts.reshape(-1, recorder.spans).sum(axis=0).tolist()
        for counts in (recorder.timeline.requests, recorder.timeline.judged, recorder.timeline.met)
    )
    return [
        SpanSummary(
            start_s=count_from_s + span * SPAN_S,
            requests=requests[span],
            attainment=_share(met[span], judged[span]),
        )
        for span in range(recorder.spans)
        if requests[span]
    ]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
