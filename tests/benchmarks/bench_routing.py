"""What the choice of pool and worker is worth: a fixed fleet, and each way to choose in it.

    python -m tests.benchmarks.bench_routing [--quick] [--json] [--write FILE]

Twenty minutes of three traces on an example fleet each, in the simulator. The fleet has as many
replicas of each pool as are busy in the mean at ten times the trace's rate, rounded up; then the
rate is set so that they are 60 to 95 % busy in the mean. `weir` is its router, with the plan of
its GlobalPlanner, which may not change the fleet. The others (`tests.benchmarks.blind`) choose
among all workers of a stage. Seed 0: the same code prints the same figures.

`--write` puts the tables into FILE between their markers, `--quick` simulates a quarter of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path

from tests.benchmarks.blind import CHOICES, Blind, ByGrid
from tests.benchmarks.static_grid import gridded
from tests.benchmarks.tables import arguments, measured, show
from weir import fleet
from weir.domain.ids import PoolId
from weir.simulator.inputs import Inputs
from weir.simulator.meter import Meter
from weir.simulator.policies.port import Policy
from weir.simulator.policies.weir import Weir
from weir.simulator.run import Outcome
from weir.simulator.scenario import Scenario
from weir.simulator.summarize import summarize
from weir.simulator.world import World

__all__ = ["CASES", "GRIDS", "LOADS", "WAYS", "Case", "Figures", "main", "measure", "table"]

_EXAMPLES = Path(__file__).parents[2] / "examples"
_PART = "routing"
_SEED = 0
_BASE_SCALE = 10.0
_LENGTH_S, _WARMUP_S = 1200.0, 300.0
LOADS = (0.60, 0.70, 0.80, 0.90, 0.95)
_GRID, _OUR_GRID = "static grid", "grid, weir's queue"
WAYS = ("weir", *CHOICES)
GRIDS = (_GRID, _OUR_GRID)
"""For fleets with several pools a stage; one pool is one cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The fleet of that name on a part of one trace."""

    fleet: str
    trace: str
    from_s: float
    tenant_column: str | None = None
    grid: bool = False

    @property
    def ways(self) -> tuple[str, ...]:
        return (*WAYS, *GRIDS) if self.grid else WAYS

    @property
    def name(self) -> str:
        return f"{self.fleet} on {self.trace}"

    def scenario(self, load: float, *, share: float = 1.0) -> Scenario:
        """With the fixed fleet this busy in the mean; `share` of the time."""
        first = self._inputs((), _BASE_SCALE, share).scenario(_SEED)
        needs = {pool_id: float(need.mean()) for pool_id, need in first.oracle.need.items()}
        replicas = {pool_id: max(1, ceil(need)) for pool_id, need in needs.items()}
        rate_scale = _BASE_SCALE * load * sum(replicas.values()) / sum(needs.values())
        return self._inputs(_fixed(first, replicas), rate_scale, share).scenario(_SEED)

    def _inputs(self, sets: Sequence[str], rate_scale: float, share: float) -> Inputs:
        (trace,) = (_EXAMPLES / "traces").glob(f"{self.trace}_*.csv.gz")
        return Inputs(
            loaded=fleet.load(_EXAMPLES / f"fleets/{self.fleet}.yaml", sets),
            trace=trace,
            rate_scale=rate_scale,
            tenant_column=self.tenant_column,
            from_s=self.from_s,
            to_s=self.from_s + share * _LENGTH_S,
            warmup_s=share * _WARMUP_S,
        )


CASES = (
    Case(fleet="disagg", trace="alibaba_large_d4", from_s=6000.0),
    Case(fleet="agg", trace="alibaba_large_d5_bursty", from_s=25_800.0),
    Case(fleet="classes", trace="fleet_d3", from_s=25_800.0, tenant_column="class", grid=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one way to choose at one load. Latencies are those of completed requests."""

    case: str
    load: float
    way: str
    gpus: int
    requests: int
    attainment: float | None
    attainment_lowest: float | None
    ttft_p99_s: float | None
    itl_p99_s: float | None
    shed: int


def _fixed(scenario: Scenario, replicas: dict[PoolId, int]) -> tuple[str, ...]:
    """The document's changes that leave its pools no other size."""
    return tuple(
        f"pools.{pool_id}.{bound}={count}"
        for pool_id, count in replicas.items()
        for bound in ("min_replicas", "max_replicas")
    )


def measure(case: Case, load: float, way: str, *, share: float = 1.0) -> Figures:
    """Raises `RuntimeError` if an invariant does not hold."""
    scenario = case.scenario(load, share=share)
    if way in GRIDS:
        scenario = gridded(scenario)
    world = World(scenario, _policy(way))
    meter = Meter(world)
    world.run()
    outcome = Outcome(world=world, policy_name=way, faults=(), meter=meter)
    summary = summarize(outcome, wall_s=0.0, cpu_s=0.0)
    if summary.invariant_violations:
        raise RuntimeError(f"{case.name} at {load:.0%}, {way}: {summary.violations}")
    return Figures(
        case=case.name,
        load=load,
        way=way,
        gpus=world.cluster.peak_gpus,
        requests=summary.requests,
        attainment=summary.attainment,
        attainment_lowest=summary.attainment_lowest,
        ttft_p99_s=summary.ttft_p99_s,
        itl_p99_s=summary.itl_p99_s,
        shed=summary.shed,
    )


def _policy(way: str) -> Policy:
    if way in ("weir", _OUR_GRID):
        return Weir()
    return ByGrid() if way == _GRID else Blind(way)


def table(figures: Sequence[Figures]) -> Iterator[str]:
    """Lines of Markdown: a row per way, attainment and TTFT by load."""
    for case in dict.fromkeys(each.case for each in figures):
        own = [each for each in figures if each.case == case]
        loads = sorted({each.load for each in own})
        yield f"### {case}, {own[0].gpus} GPUs"
        yield ""
        yield f"| attainment, TTFT p99 at | {' | '.join(f'{load:.0%}' for load in loads)} |"
        yield f"|---|{'---:|' * len(loads)}"
        for way in dict.fromkeys(each.way for each in own):
            cells = [_cell(each) for each in own if each.way == way]
            yield f"| {way} | {' | '.join(cells)} |"
        yield ""


def _cell(figures: Figures) -> str:
    attainment, ttft_s = figures.attainment, figures.ttft_p99_s
    if attainment is None or ttft_s is None:
        return "–"
    shed = f", {figures.shed:,} shed" if figures.shed else ""
    return f"{attainment:.1%}, {ttft_s:.2f} s{shed}"


def main() -> None:
    args = arguments(__doc__, quick="simulate a quarter of it")
    share = 0.25 if args.quick else 1.0
    figures = measured(
        partial(measure, case, load, way, share=share)
        for case in CASES
        for load in LOADS
        for way in case.ways
    )
    show(args, _PART, figures, table)


if __name__ == "__main__":
    main()
