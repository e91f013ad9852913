"""CPU time of the engine model in virtual time, for one request and leg.

    python -m tests.benchmarks.bench_engine [--json]

One `EngineRun` at a time with the engine of `examples/fleets/disagg.yaml`; Poisson arrivals;
prompts of 10 to 1,200 tokens, outputs of 2 to 360. `prefill_leg`: three quarters of what it can
prefill, KV held for 50 ms. `decode_leg`: about 24 of 32 sequences busy. `aggregated`: both on
one replica. The figures include making the request and asking when the engine is due.
"""

import argparse
import json
import time
from collections import deque
from collections.abc import Callable
from math import inf
from pathlib import Path
from random import Random

from weir.domain.profile import EngineProfile
from weir.engine.request import Request
from weir.engine.run import EngineRun
from weir.fleet.loading import load

__all__ = ["main", "measure"]

_FLEET = Path(__file__).resolve().parents[2] / "examples/fleets/disagg.yaml"
_FETCH_S = 0.05
_ROUNDS = 5

Make = Callable[[int, int, int], Request]
Arrivals = list[tuple[float, int, int]]


def measure(requests: int = 20_000) -> dict[str, float]:
    """All figures, the best of a few rounds; about ten seconds."""
    profile = load(_FLEET).fleet.pools[0].profile
    legs: dict[str, tuple[float, Make]] = {
        "prefill_leg": (3.7, lambda id, isl, osl: Request(id, isl, 1, (), False, True)),
        "decode_leg": (4.1, lambda id, isl, osl: Request(id, isl, osl, (), True)),
        "aggregated": (2.0, Request),
    }
    figures: dict[str, float] = {}
    for name, (rate_rps, make) in legs.items():
        arrivals = _poisson(rate_rps, requests)
        rounds = [_drive(profile, arrivals, make) for _ in range(_ROUNDS)]
        cpu_s, advances, iterations = min(rounds)
        figures[f"{name}_us"] = round(1e6 * cpu_s / requests, 2)
        figures[f"{name}_advances"] = round(advances / requests, 2)
        figures[f"{name}_iterations"] = round(iterations / requests, 1)
    figures["both_legs_us"] = round(figures["prefill_leg_us"] + figures["decode_leg_us"], 2)
    return figures


def _poisson(rate_rps: float, requests: int) -> Arrivals:
    """Time, ISL and OSL of each request."""
    random, now_s, arrivals = Random(1), 0.0, []
    for _ in range(requests):
        now_s += random.expovariate(rate_rps)
        arrivals.append((now_s, random.randint(10, 1200), random.randint(2, 360)))
    return arrivals


def _drive(profile: EngineProfile, arrivals: Arrivals, make: Make) -> tuple[float, int, int]:
    """CPU seconds; calls of `advance`; iterations."""
    run = EngineRun(profile)
    held: deque[tuple[float, object]] = deque()
    advances, finished = 0, 0
    began = time.process_time()
    for number, (now_s, isl, osl) in enumerate([*arrivals, (inf, 0, 0)]):
        while (due_s := run.due_s) < now_s or held:
            if held and held[0][0] <= min(due_s, now_s):
                release_s, id = held.popleft()
                run.release(id, release_s)
                continue
            if due_s >= now_s:
                break
            outcome = run.advance()
            advances += 1
            for sequence in outcome.finished:
                finished += 1
                if sequence.request.hold:
                    held.append((due_s + _FETCH_S, sequence.id))
        if now_s < inf:
            run.submit(make(number, isl, osl), now_s)
    cpu_s = time.process_time() - began
    assert finished == len(arrivals)
    return cpu_s, advances, run.totals(arrivals[-1][0] + 1e6).iterations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    figures = measure()
    if parser.parse_args().json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:32} {value:12.4g}")


if __name__ == "__main__":
    main()
