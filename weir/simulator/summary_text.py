"""A simulation's summary as text for people."""

from collections.abc import Iterator

from weir.simulator.summary import SimulatedClass, SimulatedPool, SimulationSummary
from weir.text import UNKNOWN, count, ms, percent, requests_text, table

__all__ = ["finer_percent", "number", "summary_text"]


def summary_text(summary: SimulationSummary) -> str:
    """One run, whole."""
    return "\n".join(_lines(summary))


def finer_percent(share: float | None) -> str:
    """Finer than `percent`: targets are as high as 99.9 %."""
    return UNKNOWN if share is None else f"{share:.2%}"


def number(value: float | None, digits: int = 2) -> str:
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def _lines(summary: SimulationSummary) -> Iterator[str]:
    yield f"simulated   {_what(summary)}"
    yield from requests_text(summary)
    yield (
        f"GPUs        {summary.gpu_hours:.2f} GPU-hours, {_against(summary)}; "
        f"peak {summary.peak_charged_gpus} of {summary.budget_gpus}"
    )
    yield f"scaling     {_scaling(summary)}"
    yield (
        f"invariants  {_violations(summary.invariant_violations)} "
        f"in {summary.checks} checks of {summary.events} events"
    )
    yield from (f"            {line}" for text in summary.violations for line in text.splitlines())
    yield (
        f"cost        {summary.wall_s:.1f} s wall, {summary.cpu_s:.1f} s CPU, "
        f"{number(summary.requests_per_cpu_s, 0)} requests per CPU second"
    )
    yield ""
    yield from table(_CLASS_HEADER, (_class(n, c) for n, c in summary.classes.items()))
    yield ""
    yield from table(_POOL_HEADER, (_pool(n, p) for n, p in summary.pools.items()))


_CLASS_HEADER = (
    "class", "requests", "attainment", "TTFT mean", "p50", "p95", "p99", "target", "ITL mean",
    "p50", "p95", "p99", "target", "failed", "shed", "abandoned", "infeasible",
)  # fmt: skip

_POOL_HEADER = (
    "pool", "requests", "attainment", "replicas", "mean", "utilization", "GPU-hours", "up", "down",
)  # fmt: skip


def _what(summary: SimulationSummary) -> str:
    faults = f", faults {','.join(summary.faults)}" if summary.faults else ""
    warmup = (
        f" after {summary.uncounted} of a warm-up of {summary.warmup_s:g} s"
        if summary.warmup_s
        else ""
    )
    return (
        f"{summary.fleet} under {summary.policy}, seed {summary.seed}{faults}, "
        f"{summary.from_s:g} s to {summary.to_s:g} s{warmup}"
    )


def _against(summary: SimulationSummary) -> str:
    margin = "" if summary.margin is None else f", margin {summary.margin:.2f}"
    ratio = number(summary.ratio_to_oracle)
    return f"{ratio} of the oracle's bound of {summary.gpu_hours_bound:.2f}{margin}"


def _scaling(summary: SimulationSummary) -> str:
    steps = f"{summary.scaling_steps} steps"
    if summary.scaling_steps:
        mean, most = number(summary.scaling_step_mean, 1), count(summary.scaling_step_max)
        steps += f" of {mean} replicas in the mean, {most} at most"
    return (
        f"{steps}; {summary.scale_ups} started, {summary.scale_downs} stopped, "
        f"churn {number(summary.churn)} per replica-hour"
    )


def _violations(found: int) -> str:
    return "hold" if not found else f"{found} VIOLATIONS"


def _class(name: str, item: SimulatedClass) -> tuple[str, ...]:
    return (
        name,
        count(item.requests),
        finer_percent(item.attainment),
        ms(item.ttft_mean_s),
        ms(item.ttft_p50_s),
        ms(item.ttft_p95_s),
        ms(item.ttft_p99_s),
        ms(item.ttft_slo_s),
        ms(item.itl_mean_s),
        ms(item.itl_p50_s),
        ms(item.itl_p95_s),
        ms(item.itl_p99_s),
        ms(item.itl_slo_s),
        count(item.failed),
        count(item.shed),
        count(item.abandoned),
        count(item.infeasible),
    )


def _pool(name: str, pool: SimulatedPool) -> tuple[str, ...]:
    return (
        name,
        count(pool.requests),
        finer_percent(pool.attainment),
        f"{count(pool.replicas_min)}-{count(pool.replicas_max)}",
        number(pool.replicas_mean, 1),
        percent(pool.utilization),
        f"{pool.gpu_hours:.2f}",
        count(pool.scale_ups),
        count(pool.scale_downs),
    )
