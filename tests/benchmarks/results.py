"""All policies on two hours of four days and both kinds of fleet, and on too few GPUs, as Markdown.

    python -m tests.benchmarks.results [--quick] [--only days|contended] [--write FILE]

Each table is one `weir simulate --compare`, as many at once as there are cores. The same code
prints the same tables. `--write` puts them into FILE between the markers of their part, `--quick`
simulates a sixth of each instead, `--only` one part.
"""

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from weir.simulator.policies import POLICIES

__all__ = ["CASES", "LEVELS", "Case", "Contended", "main", "table", "written"]

_ROOT = Path(__file__).parents[2]
_BEGIN = "<!-- make results: begin {part} -->"
_END = "<!-- make results: end {part} -->"
_OPEN = ("static:N",)
"""Policies that need an argument to be one."""
_LIMIT_S = 3600.0
_LENGTH_S = 7200
_QUICK_S = 1200
_CONTENDED_S = 900
_CONTENDED_QUICK_S = 300
_NEEDED_GPUS = 76


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One fleet on two hours of one trace. The first ten minutes are the warm-up."""

    fleet: str
    trace: str
    from_s: int
    more: tuple[str, ...] = ()
    length_s: int = _LENGTH_S

    @property
    def name(self) -> str:
        return f"{self.fleet} on {self.trace}"

    def table(self, summaries: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
        """Lines of Markdown."""
        return table(self, summaries)

    @property
    def arguments(self) -> list[str]:
        return [
            f"examples/fleets/{self.fleet}.yaml",
            "--trace",
            f"examples/traces/{self.trace}_{self.from_s}-{self.from_s + _LENGTH_S}.csv.gz",
            "--from", str(self.from_s), "--to", str(self.from_s + self.length_s),
            "--warmup", "600",
            "--rate-scale", "10", *self.more,
        ]  # fmt: skip


CASES = (
    Case(fleet="disagg", trace="alibaba_large_d4", from_s=5400),
    Case(fleet="disagg", trace="alibaba_large_d5_bursty", from_s=25_200),
    Case(fleet="disagg", trace="alibaba_small_d2", from_s=32_400),
    Case(fleet="classes", trace="fleet_d3", from_s=25_200, more=("--tenant-from", "class")),
    Case(fleet="agg", trace="alibaba_large_d4", from_s=5400),
    Case(fleet="agg", trace="alibaba_large_d5_bursty", from_s=25_200),
    Case(fleet="agg", trace="alibaba_small_d2", from_s=32_400),
    Case(fleet="agg", trace="fleet_d3", from_s=25_200, more=("--tenant-from", "class")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contended:
    """The fleet of that name under a constant load that needs `_NEEDED_GPUS`, on fewer of them.

    Lengths are those of the trace it replays. Three minutes are for policies to find their sizes.
    """

    percent: int
    gpus: int
    of_a_class: int
    """GPUs of each of the two GPU classes at most: in all levels the same part of the budget."""
    length_s: int = _CONTENDED_S

    @property
    def name(self) -> str:
        return f"contended at {self.percent} % of the needed GPUs"

    @property
    def arguments(self) -> list[str]:
        lengths = "examples/traces/azure23_conv_head.csv.gz"
        return [
            "examples/fleets/contended.yaml",
            "--trace", f"poisson:rate=100,lengths={lengths},for={self.length_s}",
            "--rate-scale", "1", "--warmup", "180",
            "--set", f"budget.gpus={self.gpus}",
            "--set", f"budget.gpuClasses.H100={self.of_a_class}",
            "--set", f"budget.gpuClasses.L40S={self.of_a_class}",
            "--set", "simulation.speed_bias=0",
        ]  # fmt: skip

    def table(self, summaries: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
        """Lines of Markdown."""
        any_summary = next(iter(summaries.values()))
        bound_rps = any_summary["weighted_goodput_bound_rps"]
        yield f"### {self.name}"
        yield ""
        yield f"`weir simulate {' '.join(self.arguments)} --policy POLICY`"
        yield ""
        yield (
            f"{any_summary['requests']:,} requests, {self.gpus} of {_NEEDED_GPUS} GPUs; "
            f"the bound is {bound_rps:.1f} weighted requests/s."
        )
        yield ""
        classes = list(any_summary["classes"])
        yield (
            "| POLICY | weighted goodput | of the bound | "
            f"{' | '.join(classes)} | TTFT p99 | ITL p99 | GPUs, peak | shed |"
        )
        yield f"|---|{'---:|' * (len(classes) + 6)}"
        for name, summary in summaries.items():
            goodput_rps = summary["weighted_goodput_rps"]
            cells = (
                name,
                f"{goodput_rps:.1f}/s",
                f"{goodput_rps / bound_rps:.1%}",
                *(_percent(summary["classes"][item]["attainment"]) for item in classes),
                _seconds(summary["ttft_p99_s"]),
                _ms(summary["itl_p99_s"]),
                str(summary["peak_charged_gpus"]),
                f"{summary['shed']:,}",
            )
            yield f"| {' | '.join(cells)} |"
        yield ""


LEVELS = (
    Contended(percent=60, gpus=46, of_a_class=26),
    Contended(percent=80, gpus=61, of_a_class=35),
    Contended(percent=100, gpus=_NEEDED_GPUS, of_a_class=44),
)


def table(case: Case, summaries: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Lines of Markdown."""
    any_summary = next(iter(summaries.values()))
    yield f"### {case.fleet} on {case.trace}"
    yield ""
    yield f"`weir simulate {' '.join(case.arguments)} --policy POLICY`"
    yield ""
    yield (
        f"{any_summary['requests']:,} requests, {any_summary['infeasible']:,} of them infeasible; "
        f"the oracle's bound is {any_summary['gpu_hours_bound']:.1f} GPU-hours, the floor "
        f"{any_summary['gpu_hours_floor']:.1f}."
    )
    yield ""
    yield (
        "| POLICY | attainment | lowest class | TTFT p99 | ITL p99 | GPU-hours | to oracle "
        "| steps | churn | shed |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    yield from (_row(name, summary) for name, summary in summaries.items())
    yield ""


def _row(name: str, summary: Mapping[str, Any]) -> str:
    cells = (
        name,
        _percent(summary["attainment"]),
        _percent(summary["attainment_lowest"]),
        _seconds(summary["ttft_p99_s"]),
        _ms(summary["itl_p99_s"]),
        f"{summary['gpu_hours']:.1f}",
        _number(summary["ratio_to_oracle"]),
        str(summary["scaling_steps"]),
        _number(summary["churn"]),
        f"{summary['shed']:,}",
    )
    return f"| {' | '.join(cells)} |"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.2%}"


def _seconds(value_s: float | None) -> str:
    return "–" if value_s is None else f"{value_s:.2f} s"


def _ms(value_s: float | None) -> str:
    return "–" if value_s is None else f"{1e3 * value_s:.0f} ms"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _simulated(case: Case | Contended) -> Mapping[str, Mapping[str, Any]]:
    """Raises `RuntimeError` if it cannot run or violates an invariant."""
    policies = ",".join(name for name in POLICIES if name not in _OPEN)
    command = [sys.executable, "-m", "weir", "simulate", *case.arguments]
    began = time.monotonic()
    done = subprocess.run(
        [*command, "--compare", policies, "--json"],
        cwd=_ROOT, capture_output=True, text=True, timeout=_LIMIT_S, check=False,
    )  # fmt: skip
    if not done.stdout:
        raise RuntimeError(f"{shlex.join(command)} ended with {done.returncode}: {done.stderr}")
    summaries: Mapping[str, Mapping[str, Any]] = json.loads(done.stdout)["policies"]
    for name, summary in summaries.items():
        if summary["invariant_violations"]:
            raise RuntimeError(f"{case}, {name}: {summary['violations']}")
    took_s = time.monotonic() - began
    print(f"{case.name}: done after {took_s:.0f} s", file=sys.stderr)
    return summaries


def written(document: str, part: str, results: str) -> str:
    """The document with these results between their markers. Raises `ValueError` without them."""
    first, last = _BEGIN.format(part=part), _END.format(part=part)
    before, begin, rest = document.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"the document has no lines {first} and {last}")
    return f"{before}{begin}\n{results}\n{end}{after}"


def _parts(*, quick: bool) -> dict[str, Sequence[Case | Contended]]:
    if not quick:
        return {"days": CASES, "contended": LEVELS}
    return {
        "days": [replace(case, length_s=_QUICK_S) for case in CASES],
        "contended": [replace(level, length_s=_CONTENDED_QUICK_S) for level in LEVELS],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables into FILE")
    parser.add_argument("--quick", action="store_true", help="simulate a sixth of it")
    parser.add_argument("--only", choices=("days", "contended"), help="one part of it")
    args = parser.parse_args()
    target: Path | None = args.write
    for part, cases in _parts(quick=args.quick).items():
        if args.only in (None, part):
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                found = list(pool.map(_simulated, cases))
            lines = [line for case, summaries in zip(cases, found, strict=True)
                     for line in case.table(summaries)]  # fmt: skip
            results = "\n".join(lines).rstrip()
            print(results)
            if target is not None:
                target.write_text(written(target.read_text(), part, results))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{(used.ru_utime + used.ru_stime) / 60.0:.1f} CPU-minutes", file=sys.stderr)


if __name__ == "__main__":
    main()
