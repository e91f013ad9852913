"""What it is worth to send a turn straight to the decode worker that keeps the one before.

    python -m tests.benchmarks.bench_cached [--quick] [--json] [--write FILE]

The same trace, fleet and loads as `bench_reuse`: prompts with fewer new tokens than the row says
may go without a prefill leg (`router.disaggregation.direct_below_tokens`), none with 0. The ITL
target bounds what a decode worker may compute at once, so that there is a table for each of two
targets. Means of three seeds: the same code prints the same figures.

`--write` puts the tables into FILE between its markers, `--quick` takes one seed and one load.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

from router.core.request import RouteReason
from tests.benchmarks.bench_reuse import scenario
from tests.benchmarks.tables import arguments, measured, show
from weir.domain.ids import PoolId
from weir.simulator.gateway.weir import WeirGateway
from weir.simulator.meter import Meter
from weir.simulator.policies.weir import Weir
from weir.simulator.run import Outcome
from weir.simulator.summarize import summarize
from weir.simulator.world import World

__all__ = ["BELOW", "ITL_MS", "LOADS", "Figures", "main", "measure", "tables"]

_PART = "cached"
_PREFILL = PoolId("prefill")
_END_S = 2400.0
_SEEDS = (0, 1, 2)
LOADS = (0.60, 0.80, 0.95)
BELOW = (0, 256, 1024)
ITL_MS = (100, 250)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one limit at one load with one seed.

    `direct`: share of all requests without a prefill leg. `hits`: of their prompt tokens, the share
    that decode engines had; `expected` is what the router took it for. `busy`: share of the time
    that prefill engines computed.
    """

    itl_ms: int
    load: float
    below: int
    seed: int
    direct: float
    hits: float
    expected: float
    busy: float
    attainment: float
    ttft_mean_s: float
    ttft_p50_s: float
    ttft_p99_s: float
    itl_mean_s: float
    itl_p99_s: float
    shed: int


def measure(itl_ms: int, load: float, below: int, seed: int, end_s: float = _END_S) -> Figures:
    """Raises `RuntimeError` if an invariant does not hold."""
    sets = [
        "profiles.decode.block_tokens=512",
        f"classes.all.itl_ms={itl_ms}",
        f"router.disaggregation.direct_below_tokens={below}",
    ]
    world = World(scenario(load, seed, end_s=end_s, sets=sets), Weir())
    meter = Meter(world)
    world.run()
    summary = summarize(
        Outcome(world=world, policy_name="weir", faults=(), meter=meter), wall_s=0.0, cpu_s=0.0
    )
    if summary.invariant_violations:
        raise RuntimeError(f"{below} at {load:.0%}: {summary.violations}")
    assert isinstance(world.gateway, WeirGateway)
    routes = [router.dispatch.traffic.routes for router in world.gateway.routers]
    kept = [
        pool.kept
        for router in world.gateway.routers
        for pool in router.dispatch.pools
        if pool.kept is not None
    ]
    prompts = sum(each.prompt_tokens for each in kept) or 1
    counted_s = world.scenario.end_s - world.scenario.count_from_s
    engines = len(world.cluster.pools[_PREFILL].replicas)
    return Figures(
        itl_ms=itl_ms,
        load=load,
        below=below,
        seed=seed,
        direct=sum(r[RouteReason.DIRECT] for r in routes) / sum(sum(r.values()) for r in routes),
        hits=sum(each.told_tokens for each in kept) / prompts,
        expected=sum(each.expected_tokens for each in kept) / prompts,
        busy=meter.work(_PREFILL).busy_s / counted_s / engines,
        attainment=summary.attainment or 0.0,
        ttft_mean_s=summary.ttft_mean_s or 0.0,
        ttft_p50_s=summary.ttft_p50_s or 0.0,
        ttft_p99_s=summary.ttft_p99_s or 0.0,
        itl_mean_s=summary.itl_mean_s or 0.0,
        itl_p99_s=summary.itl_p99_s or 0.0,
        shed=summary.shed,
    )


def tables(figures: Sequence[Figures]) -> Iterator[str]:
    """Lines of Markdown: a row per load and limit."""
    for itl_ms in sorted({each.itl_ms for each in figures}):
        yield f"\nITL target {itl_ms} ms:\n"
        yield (
            "| load | below | without a prefill leg | cached there | attainment"
            " | TTFT mean / p50 / p99 | ITL mean / p99 | prefill busy |"
        )
        yield "|---:|---:|---:|---:|---:|---|---|---:|"
        of_target = [each for each in figures if each.itl_ms == itl_ms]
        for load, below in sorted({(each.load, each.below) for each in of_target}):
            own = [each for each in of_target if (each.load, each.below) == (load, below)]
            yield f"| {load:.0%} | {below} | {_cells(own)} |"


def _cells(figures: Sequence[Figures]) -> str:
    def mean(name: str) -> float:
        return fmean(getattr(each, name) for each in figures)

    cached = f"{mean('hits'):.1%}" if mean("direct") else ""
    return (
        f"{mean('direct'):.1%} | {cached} | {mean('attainment'):.2%} | {mean('ttft_mean_s'):.2f} /"
        f" {mean('ttft_p50_s'):.2f} / {mean('ttft_p99_s'):.1f} s"
        f" | {1e3 * mean('itl_mean_s'):.1f} / {1e3 * mean('itl_p99_s'):.1f} ms"
        f" | {mean('busy'):.1%}" + (f", {mean('shed'):,.0f} shed" if mean("shed") else "")
    )


def main() -> None:
    args = arguments(__doc__, quick="one seed, one load")
    loads, seeds = (LOADS[1:2], _SEEDS[:1]) if args.quick else (LOADS, _SEEDS)
    figures = measured(
        partial(measure, itl_ms, load, below, seed)
        for itl_ms in ITL_MS
        for load in loads
        for below in BELOW
        for seed in seeds
    )
    show(args, _PART, figures, tables)


if __name__ == "__main__":
    main()
