"""From a run to its summary, and the summary as text."""

import resource
from collections.abc import Iterable, Sequence

from weir.fleet.feasible import idle_ttft_s
from weir.local.local_fleet import LocalFleet
from weir.local.replay import Replay
from weir.local.scoring import SPAN_S, Outcome, Score, score
from weir.summary import ClassSummary, PoolSummary, RunSummary, SpanSummary

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
    return "\n".join(
        [
            f"requests    {summary.requests}: {summary.completed} completed, "
            f"{summary.failed} failed, {summary.shed} shed, {summary.cancelled} cancelled; "
            f"{summary.infeasible} infeasible",
            f"attainment  {_percent(summary.attainment)}, goodput {_rate(summary.goodput_rps)}",
            f"TTFT        p50 {_ms(summary.ttft_p50_s)}, p99 {_ms(summary.ttft_p99_s)}",
            f"ITL         p50 {_ms(summary.itl_p50_s)}, p99 {_ms(summary.itl_p99_s)}",
        ]
    )


def summary_text(summary: RunSummary) -> str:
    """The whole summary for people."""
    return "\n".join(
        [
            replay_text(summary),
            f"GPUs        {summary.gpu_hours:.3f} GPU-hours, "
            f"peak {summary.peak_charged_gpus} of {summary.budget_gpus}, "
            f"{summary.budget_violations} budget violations",
            f"scaling     {summary.scale_ups} up, {summary.scale_downs} down",
            f"cost        {summary.wall_s:.1f} s wall, {summary.cpu_s:.1f} s CPU",
            "",
            *_columns(
                ("pool", "role", "replicas", "final", "requests"),
                (
                    (name, p.role, _range(p), _text(p.replicas_final), _text(p.requests))
                    for name, p in summary.pools.items()
                ),
            ),
            "",
            *_columns(
                ("class", "requests", "infeasible", "attainment"),
                (
                    (name, _text(c.requests), _text(c.infeasible), _percent(c.attainment))
                    for name, c in summary.classes.items()
                ),
            ),
            "",
            *_columns(
                ("minute", "requests", "attainment"),
                (
                    (f"{s.start_s / SPAN_S:.0f}", _text(s.requests), _percent(s.attainment))
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


def _columns(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    table = [header, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def _range(pool: PoolSummary) -> str:
    return f"{_text(pool.replicas_min)}-{_text(pool.replicas_max)}"


def _text(value: int | None) -> str:
    return "–" if value is None else str(value)


def _ms(value_s: float | None) -> str:
    return "–" if value_s is None else f"{value_s * 1000:.0f} ms"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _rate(value_rps: float | None) -> str:
    return "–" if value_rps is None else f"{value_rps:.2f} req/s"
