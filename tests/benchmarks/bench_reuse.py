"""What it is worth to send a conversation's next turn where the last one was computed.

    python -m tests.benchmarks.bench_reuse [--quick] [--json] [--write FILE]

The forty minutes of mooncake_conv, whose rows say how much of each prompt had been seen before,
on a fixed fleet in the simulator; ten minutes are not counted. Engines are as fast as makes
prefill as busy in the mean as the load says if nothing were reused. `weir` is its router;
`weir, reuse unseen` the same one that is not told what prompts share; the others
(`tests.benchmarks.blind`) choose among all workers of a stage. Engines are alike in all of them,
and reuse what they have. Means of three seeds: the same code prints the same figures.

`--write` puts the table into FILE between its markers, `--quick` takes one seed and two loads.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

from tests.benchmarks.blind import Blind
from tests.benchmarks.tables import arguments, measured, show
from weir import fleet
from weir.domain.ids import PoolId
from weir.simulator.gateway.weir import WeirGateway
from weir.simulator.inputs import Inputs
from weir.simulator.meter import Meter
from weir.simulator.policies.port import Policy
from weir.simulator.policies.weir import Weir
from weir.simulator.run import Outcome
from weir.simulator.scenario import Scenario
from weir.simulator.summarize import summarize
from weir.simulator.world import World

__all__ = ["LOADS", "WAYS", "Figures", "main", "measure", "scenario", "table"]

_ROOT = Path(__file__).parents[2]
_TRACE = _ROOT / "examples/traces/mooncake_conv.csv.gz"
_FLEET = _ROOT / "examples/fleets/conversations.yaml"
_PART = "reuse"
_REPLICAS = {"prefill": 8, "decode": 2}
_PREFILL = PoolId("prefill")
_END_S, _WARMUP_S = 2400.0, 600.0
_UNSEEN = "weir, reuse unseen"
_SEEDS = (0, 1, 2)
LOADS = (0.60, 0.80, 0.95)
WAYS = ("weir", _UNSEEN, "least requests", "power of two", "round robin", "random")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one way at one load with one seed. `hits`: share of all prompt tokens that were cached.

    `busy`: share of the time that prefill engines computed.
    """

    load: float
    way: str
    seed: int
    hits: float
    busy: float
    attainment: float
    ttft_p50_s: float
    ttft_p99_s: float
    shed: int


def scenario(
    load: float, seed: int, *, end_s: float = _END_S, sets: Sequence[str] = ()
) -> Scenario:
    """With engines as fast as makes them this busy in the mean if nothing is reused.

    `sets` change the fleet's document besides.
    """
    speed = 1.0
    for _ in range(2):  # The need at speed 1 tells what speed is right.
        made = _inputs(speed, end_s, sets).scenario(seed)
        need = float(made.oracle.need[_PREFILL].mean())
        speed *= need / (_REPLICAS["prefill"] * load)
    return _inputs(speed, end_s, sets).scenario(seed)


def _inputs(speed: float, end_s: float, more: Sequence[str]) -> Inputs:
    sets = [f"profiles.prefill.speed={speed:.6f}", "simulation.speed_bias=0", *more]
    for pool, count in _REPLICAS.items():
        sets += [f"pools.{pool}.min_replicas={count}", f"pools.{pool}.max_replicas={count}"]
    warmup_s = min(_WARMUP_S, end_s / 4.0)
    return Inputs(
        loaded=fleet.load(_FLEET, sets), trace=_TRACE, from_s=0.0, to_s=end_s, warmup_s=warmup_s
    )


def measure(load: float, way: str, seed: int, *, end_s: float = _END_S) -> Figures:
    """Raises `RuntimeError` if an invariant does not hold."""
    policy: Policy = Weir() if way in ("weir", _UNSEEN) else Blind(way)
    world = World(scenario(load, seed, end_s=end_s), policy)
    if way == _UNSEEN and isinstance(world.gateway, WeirGateway):
        for router in world.gateway.routers:
            router.dispatch.reuses = lambda model: False  # type: ignore[method-assign]
    meter = Meter(world)
    before: list[tuple[int, int]] = []
    world.events.at(world.scenario.count_from_s, lambda _: before.append(_hits(world)))
    world.run()
    outcome = Outcome(world=world, policy_name=way, faults=(), meter=meter)
    summary = summarize(outcome, wall_s=0.0, cpu_s=0.0)
    if summary.invariant_violations:
        raise RuntimeError(f"{way} at {load:.0%}: {summary.violations}")
    hit_tokens, queried_tokens = (
        after - b for after, b in zip(_hits(world), before[0], strict=True)
    )
    counted_s = world.scenario.end_s - world.scenario.count_from_s
    return Figures(
        load=load,
        way=way,
        seed=seed,
        hits=hit_tokens / queried_tokens,
        busy=meter.work(_PREFILL).busy_s / counted_s / _REPLICAS["prefill"],
        attainment=summary.attainment or 0.0,
        ttft_p50_s=summary.ttft_p50_s or 0.0,
        ttft_p99_s=summary.ttft_p99_s or 0.0,
        shed=summary.shed,
    )


def _hits(world: World) -> tuple[int, int]:
    """Prompt tokens that were found, and that were looked for, by all prefill engines so far."""
    models = [r.run.model for r in world.cluster.pools[_PREFILL].replicas.values()]
    return sum(m.prefix_hit_tokens for m in models), sum(m.prefix_queried_tokens for m in models)


def table(figures: Sequence[Figures]) -> Iterator[str]:
    """Lines of Markdown: a row per way, a column per load."""
    loads = sorted({each.load for each in figures})
    head = _cells(f"{load:.0%}" for load in loads)
    yield f"| hits; prefill busy; TTFT p50, p99; attainment at | {head}"
    yield f"|---|{'---:|' * len(loads)}"
    for way in dict.fromkeys(each.way for each in figures):
        own = [[f for f in figures if f.way == way and f.load == load] for load in loads]
        yield f"| {way} | {_cells(map(_cell, own))}"


def _cells(texts: Iterable[str]) -> str:
    return " | ".join(texts) + " |"


def _cell(figures: Sequence[Figures]) -> str:
    def mean(name: str) -> float:
        return fmean(getattr(each, name) for each in figures)

    shed = mean("shed")
    return (
        f"{mean('hits'):.1%}; {mean('busy'):.0%}; {mean('ttft_p50_s'):.2f},"
        f" {mean('ttft_p99_s'):.1f} s; {mean('attainment'):.1%}"
        + (f", {shed:,.0f} shed" if shed else "")
    )


def main() -> None:
    args = arguments(__doc__, quick="one seed, two loads")
    loads, seeds = (LOADS[1:3], _SEEDS[:1]) if args.quick else (LOADS, _SEEDS)
    figures = measured(
        partial(measure, load, way, seed) for load in loads for way in WAYS for seed in seeds
    )
    show(args, _PART, figures, table)


if __name__ == "__main__":
    main()
