"""From a run to its summary, and the summary as text."""

import resource

from weir.fleet.feasible import idle_ttft_s
from weir.local.local_fleet import LocalFleet
from weir.local.replay import Replay
from weir.local.scoring import SPAN_S, Outcome, Score, score
from weir.summary import ClassSummary, PoolSummary, RunSummary, SpanSummary
from weir.text import count, percent, requests_text, table

__all__ = ["process_tree_cpu_s", "replay_text", "summarize", "summary_text"]


def summarize(fleet: LocalFleet, replay: Replay | None) -> RunSummary:
    """The run up to now, while the fleet still runs; without `wall_s` and `cpu_s`."""
    judged = _score(fleet, replay)
    gpus = fleet.engines.table.gpus
    histories = [fleet.engines.table.history(pool.id) for pool in fleet.fleet.pools]
    return RunSummary(
        requests=judged.total.requests,
        completed=judged.outcomes.get(Outcome.COMPLETED, 0),
        failed=judged.outcomes.get(Outcome.FAILED, 0),
        shed=judged.outcomes.get(Outcome.SHED, 0),
        cancelled=judged.cancelled,
        infeasible=judged.total.infeasible,
        attainment=judged.total.attainment,
        ttft_p50_s=judged.ttft_s.p50,
        ttft_p99_s=judged.ttft_s.p99,
        itl_p50_s=judged.itl_s.p50,
        itl_p99_s=judged.itl_s.p99,
        goodput_rps=_goodput_rps(judged, replay),
        weighted_goodput_rps=_weighted_goodput_rps(fleet, judged, replay),
        gpu_hours=gpus.gpu_hours(fleet.clock.now_s()),
        budget_gpus=fleet.fleet.budget.gpus,
        peak_charged_gpus=max(gpus.peak_gpus, fleet.monitor.peak_charged_gpus),
        budget_violations=max(gpus.violations, fleet.monitor.budget_violations),
        scale_ups=sum(history.scale_ups for history in histories if history),
        scale_downs=sum(history.scale_downs for history in histories if history),
        pools=_pools(fleet),
        classes={
            name: ClassSummary(
                requests=counts.requests,
                infeasible=counts.infeasible,
                attainment=counts.attainment,
            )
            for name, counts in judged.classes.items()
        },
        timeline=[
            SpanSummary(
                start_s=number * SPAN_S, requests=counts.requests, attainment=counts.attainment
            )
            for number, counts in judged.spans.items()
        ],
        wall_s=0.0,
        cpu_s=0.0,
    )


def process_tree_cpu_s() -> float:
    """CPU seconds of this process and of all children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def replay_text(summary: RunSummary) -> str:
    """How the replay's requests went, for people."""
    return "\n".join(requests_text(summary))


def summary_text(summary: RunSummary) -> str:
    """The whole summary for people."""
    return "\n".join(
        [
            *requests_text(summary),
            f"GPUs        {summary.gpu_hours:.3f} GPU-hours, "
            f"peak {summary.peak_charged_gpus} of {summary.budget_gpus}, "
            f"{summary.budget_violations} budget violations",
            f"scaling     {summary.scale_ups} up, {summary.scale_downs} down",
            f"cost        {summary.wall_s:.1f} s wall, {summary.cpu_s:.1f} s CPU",
            "",
            *table(
                ("pool", "role", "replicas", "final", "requests"),
                (
                    (name, p.role, _range(p), count(p.replicas_final), count(p.requests))
                    for name, p in summary.pools.items()
                ),
            ),
            "",
            *table(
                ("class", "requests", "infeasible", "attainment"),
                (
                    (name, count(c.requests), count(c.infeasible), percent(c.attainment))
                    for name, c in summary.classes.items()
                ),
            ),
            "",
            *table(
                ("minute", "requests", "attainment"),
                (
                    (f"{s.start_s / SPAN_S:.0f}", count(s.requests), percent(s.attainment))
                    for s in summary.timeline
                ),
            ),
        ]
    )


def _score(fleet: LocalFleet, replay: Replay | None) -> Score:
    model = fleet.fleet.models[0].name
    return score(
        replay.records if replay else (),
        fleet.fleet.classes,
        lambda isl_tokens, osl_tokens: idle_ttft_s(fleet.fleet, model, isl_tokens, osl_tokens),
    )


def _goodput_rps(judged: Score, replay: Replay | None) -> float | None:
    if replay is None or not replay.submission_s:
        return None
    return judged.total.met / replay.submission_s


def _weighted_goodput_rps(fleet: LocalFleet, judged: Score, replay: Replay | None) -> float | None:
    if replay is None or not replay.submission_s:
        return None
    weighted = sum(item.weight * judged.classes[item.name].met for item in fleet.fleet.classes)
    return weighted / replay.submission_s


def _pools(fleet: LocalFleet) -> dict[str, PoolSummary]:
    summaries = {}
    for pool in fleet.fleet.pools:
        history = fleet.engines.table.history(pool.id)
        summaries[str(pool.id)] = PoolSummary(
            role=pool.role.value,
            replicas_min=history.lowest if history else None,
            replicas_max=history.highest if history else None,
            replicas_final=fleet.engines.table.state(pool.id).ready if history else None,
            requests=_pool_requests(fleet, pool.id),
        )
    return summaries


def _pool_requests(fleet: LocalFleet, pool_id: str) -> int | None:
    """0 for a pool that the router has not named yet, None if the router was never read."""
    counters = fleet.monitor.pool_requests
    return round(counters.total(pool_id) or 0.0) if counters else None


def _range(pool: PoolSummary) -> str:
    return f"{count(pool.replicas_min)}-{count(pool.replicas_max)}"
