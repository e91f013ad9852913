"""Requests that one CPU second simulates.

    python -m tests.benchmarks.bench_simulator [--quick] [--json]

`classes`: two hours of three services at ten times their rate, some 360,000 requests, under a
fixed fleet and under weir with planning ticks every 5 s. `pools`: the same 64,000 requests on
fleets of 4, 32 and 256 pools; the load of each pool is the same, so that more pools see a
shorter time. Costs are those of the whole command after its imports, as its summary tells them.
Under weir 256 pools with 64 classes are left out: what its GlobalPlanner weighs grows with classes
times pairs of pools, and is too much there. `--quick` simulates a tenth of it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import yaml

from weir.workload import TraceRequest, write_trace

__all__ = ["main", "measure_classes", "measure_pools"]

_ROOT = Path(__file__).parents[2]
_CLASSES = _ROOT / "examples/fleets/classes.yaml"
_TRACE = _ROOT / "examples/traces/fleet_d3_25200-32400.csv.gz"
_POLICIES = ("static:p99", "weir")
_FROM_S, _TO_S = 25_200, 32_400
_POOLS = {"static:4": (4, 32, 256), "hpa": (4, 32, 256), "weir": (4, 32)}
_REQUESTS = 64_000
_POOLS_PER_CLASS = 4
_RATE_OF_CLASS_RPS = 12.0
_LIMIT_S = 1800.0


def measure_classes(policy: str, *, quick: bool = False) -> dict[str, float]:
    to_s = _FROM_S + (_TO_S - _FROM_S) // (10 if quick else 1)
    window = ["--from", str(_FROM_S), "--to", str(to_s), "--rate-scale", "10"]
    return _simulated(_CLASSES, _TRACE, "--policy", policy, *window)


def measure_pools(pools: int, policy: str, *, quick: bool = False) -> dict[str, float]:
    """Each class has two prefill and two decode pools of its own."""
    classes = pools // _POOLS_PER_CLASS
    requests = _REQUESTS // (10 if quick else 1)
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as folder:
        fleet, trace = Path(folder) / "fleet.yaml", Path(folder) / "trace.csv"
        fleet.write_text(yaml.safe_dump(_fleet(classes)))
        write_trace(trace, _requests(classes, requests))
        return _simulated(fleet, trace, "--policy", policy)


def _simulated(fleet: Path, trace: Path, *arguments: str) -> dict[str, float]:
    command = [sys.executable, "-m", "weir", "simulate", str(fleet), "--trace", str(trace)]
    done = subprocess.run(
        [*command, *arguments, "--json"],
        cwd=_ROOT, stdout=subprocess.PIPE, timeout=_LIMIT_S, check=True,
    )  # fmt: skip
    summary = json.loads(done.stdout)
    requests = summary["requests"] + summary["uncounted"]
    return {
        "requests": requests,
        "requests_per_cpu_s": round(summary["requests_per_cpu_s"]),
        "us_per_request": round(1e6 * summary["cpu_s"] / requests, 1),
        "attainment": round(summary["attainment"], 4),
        "gpu_hours": round(summary["gpu_hours"], 2),
        "violations": summary["invariant_violations"],
    }


def _fleet(classes: int) -> dict[str, Any]:
    """Classes differ by a band of prompt lengths of their own; their load is about the same."""
    profile = {
        "timing": {
            "kind": "polynomial",
            "prefill_s": [0, 3.3333e-4],
            "decode_s": [0.010],
            "decode_per_sequence_s": 0.9375e-3,
        },
        "kv_tokens": 262_144,
        "max_sequences": 32,
        "max_batched_tokens": 2048,
    }
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "Fleet",
        "metadata": {"name": f"pools-{classes * _POOLS_PER_CLASS}"},
        "spec": {
            "models": [{"name": "m"}],
            "classes": [
                {"name": f"c{i}", "ttft_ms": 2000, "itl_ms": 50, **_band(i, classes)}
                for i in range(classes)
            ],
            "budget": {"gpus": 64 * classes},
            "profiles": {"engine": profile},
            "pools": [
                {
                    "name": f"{role}-{i}-{twin}",
                    "role": role,
                    "model": "m",
                    "profile": "engine",
                    "min_replicas": 1,
                    "max_replicas": 32,
                    "start_up_s": 60,
                    "context_limit_tokens": 65_536,
                }
                for role in ("prefill", "decode")
                for i in range(classes)
                for twin in "ab"
            ],
            "planner": {"interval_s": 5},
        },
    }


def _band(index: int, classes: int) -> dict[str, Any]:
    if index == classes - 1:
        return {}
    return {"isl": {"max": _shortest(index + 1)}}


def _shortest(index: int) -> int:
    return 1000 + 4 * index


def _requests(classes: int, count: int) -> list[TraceRequest]:
    """Classes at random, with outputs of 100 to 300 tokens."""
    rng, rate_rps = Random(0), _RATE_OF_CLASS_RPS * classes
    return [
        TraceRequest(
            timestamp_s=round(number / rate_rps, 3),
            isl_tokens=_shortest(rng.randrange(classes)) + rng.randrange(4),
            osl_tokens=rng.randint(100, 300),
        )
        for number in range(count)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="simulate a tenth of it")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    results = {
        f"classes {policy}": measure_classes(policy, quick=args.quick) for policy in _POLICIES
    }
    for policy, sizes in _POOLS.items():
        for pools in sizes:
            results[f"pools-{pools} {policy}"] = measure_pools(pools, policy, quick=args.quick)
    if args.json:
        print(json.dumps(results))
        return
    for name, numbers in results.items():
        print(name, *(f"{key}={value}" for key, value in numbers.items()))


if __name__ == "__main__":
    main()
