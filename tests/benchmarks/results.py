"""All policies on two hours of four days and both kinds of fleet, as Markdown.

    python -m tests.benchmarks.results [--quick] [--write FILE]

Each fleet and trace is one `weir simulate --compare`, as many at once as there are cores. The
same code prints the same tables. `--write` puts them into FILE between its markers, `--quick`
simulates twenty minutes of each instead.
"""

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from weir.simulator.policies import POLICIES

__all__ = ["CASES", "Case", "main", "table", "written"]

_ROOT = Path(__file__).parents[2]
_BEGIN = "<!-- make results: begin -->"
_END = "<!-- make results: end -->"
_OPEN = ("static:N",)
"""Policies that need an argument to be one."""
_LIMIT_S = 3600.0
_LENGTH_S = 7200
_QUICK_S = 1200


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One fleet on two hours of one trace. The first ten minutes are the warm-up."""

    fleet: str
    trace: str
    from_s: int
    more: tuple[str, ...] = ()
    length_s: int = _LENGTH_S

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


def _simulated(case: Case) -> Mapping[str, Mapping[str, Any]]:
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
    print(f"{case.fleet} on {case.trace}: done after {took_s:.0f} s", file=sys.stderr)
    return summaries


def written(document: str, results: str) -> str:
    """The document with these results between its markers. Raises `ValueError` without them."""
    before, begin, rest = document.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the document has no lines {_BEGIN} and {_END}")
    return f"{before}{begin}\n{results}\n{end}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables into FILE")
    parser.add_argument("--quick", action="store_true", help="simulate a sixth of it")
    args = parser.parse_args()
    target: Path | None = args.write
    cases = [replace(case, length_s=_QUICK_S) if args.quick else case for case in CASES]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(_simulated, cases))
    lines = [line for case, summaries in zip(cases, found, strict=True)
             for line in table(case, summaries)]  # fmt: skip
    results = "\n".join(lines).rstrip()
    print(results)
    if target is not None:
        target.write_text(written(target.read_text(), results))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{(used.ru_utime + used.ru_stime) / 60.0:.1f} CPU-minutes", file=sys.stderr)


if __name__ == "__main__":
    main()
