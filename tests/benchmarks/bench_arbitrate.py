"""CPU time of one decision of the GlobalPlanner.

    python -m tests.benchmarks.bench_arbitrate [--json]

8 classes, 10 GPUs per pool in the mean, one decision after the other with the state that the one
before left, under demand that drifts above and below what the budget can serve. With `--json` also
the time from a report's arrival until its grant is sent, if that can be measured.
"""

import argparse
import importlib
import json
import sys
import time
from typing import Any

from globalplanner.core.arbiter.arbitrate import arbitrate
from globalplanner.core.arbiter.snapshot import Memory, Rules
from tests.benchmarks.arbitrated import Drift

__all__ = ["main", "measure"]

_DECISIONS = {4: 400, 32: 400, 256: 300, 1000: 300}
_WARM_UP = 70
"""Decisions from an empty fleet, not measured: until it is full, and the dwell time of 30."""


def measure(pools: int, *, decisions: int, warm_up: int = _WARM_UP) -> dict[str, float]:
    """Milliseconds of CPU per decision."""
    drift, memory, taken_ms = Drift(pools), Memory(), []
    for number in range(warm_up + decisions):
        snapshot = drift.snapshot()
        began_ns = time.thread_time_ns()
        decision = arbitrate(snapshot, Rules(), memory)
        ended_ns = time.thread_time_ns()
        memory = decision.memory
        drift.decided(decision.replicas)
        if number >= warm_up:
            taken_ms.append((ended_ns - began_ns) / 1e6)
    return {"p50_ms": _quantile(taken_ms, 0.50), "p99_ms": _quantile(taken_ms, 0.99)}


def _quantile(values: list[float], share: float) -> float:
    return round(sorted(values)[round(share * (len(values) - 1))], 3)


def _report_to_grant() -> dict[str, float]:
    """Left out as long as nothing measures it."""
    try:
        module: Any = importlib.import_module("tests.benchmarks.report_to_grant")
    except ModuleNotFoundError as error:
        print(f"report_to_grant_256_p99_ms is left out: {error}", file=sys.stderr)
        return {}
    return {"report_to_grant_256_p99_ms": round(module.measure_report_to_grant(256)["p99_ms"], 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = {
        str(pools): measure(pools, decisions=decisions) for pools, decisions in _DECISIONS.items()
    }
    if arguments.json:
        print(json.dumps({"pools": figures} | _report_to_grant()))
        return
    for size, figure in figures.items():
        print(f"{size:>5} pools: " + "  ".join(f"{key} {v:9.3f}" for key, v in figure.items()))


if __name__ == "__main__":
    main()
