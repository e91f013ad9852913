"""CPU time of one routing decision and of one request's whole accounting.

    python -m tests.benchmarks.bench_choose [--json]

`4x4` is 4 prefill and 4 decode pools of 4 workers, `64x64` 64 and 64 pools of 64 workers.
"""

import argparse
import json
import time
from collections import deque

from router.core.flight import Flight
from router.core.request import Outcome, RequestProfile, Route
from router.service import RouterService
from tests.unit.router.builders import members, pool, request, service
from weir.domain.fleet import Role
from weir.domain.profile import EngineProfile

__all__ = ["main", "measure"]

_DECISIONS = 4000
_IN_FLIGHT = 400


def measure(pools: int, workers: int, *, decisions: int = _DECISIONS) -> dict[str, float]:
    """Microseconds of CPU: `decide` alone, and open + decide + sent + ... + finish."""
    router = _router(pools, workers)
    flying: deque[Flight] = deque()
    decide_us, request_us = [], []
    for i in range(decisions):
        profile = request(100 + i % 1900, max_tokens=10 + i % 300, tenant=f"t{i % 7}")
        now_s = i * 0.01
        began = time.thread_time_ns()
        router.decide(profile, now_s)
        decided = time.thread_time_ns()
        flying.append(_begin(router, profile, now_s))
        if len(flying) > _IN_FLIGHT:
            _end(flying.popleft(), now_s)
        decide_us.append((decided - began) / 1e3)
        request_us.append((time.thread_time_ns() - decided) / 1e3)
    return {
        "decide_p50_us": _quantile(decide_us, 0.50),
        "decide_p99_us": _quantile(decide_us, 0.99),
        "request_p50_us": _quantile(request_us, 0.50),
        "request_p99_us": _quantile(request_us, 0.99),
    }


def _router(pools: int, workers: int) -> RouterService:
    profile = EngineProfile()
    names = [f"w{i}" for i in range(workers)]
    specs = [
        pool(f"{role.value}{i}", role, profile=profile, context_limit_tokens=100_000)
        for role in (Role.PREFILL, Role.DECODE)
        for i in range(pools)
    ]
    return service(specs, *(members(s.id, *(f"{s.id}-{n}" for n in names)) for s in specs))


def _begin(router: RouterService, profile: RequestProfile, now_s: float) -> Flight:
    flight = router.open(profile, now_s)
    route = router.decide(profile, now_s)
    if isinstance(route, Route):
        flight.sent(route, now_s)
    return flight


def _end(flight: Flight, now_s: float) -> None:
    flight.prefill_done(now_s)
    flight.first_token(now_s)
    flight.finish(Outcome.COMPLETED, now_s, prompt_tokens=100, output_tokens=50)


def _quantile(values: list[float], q: float) -> float:
    return round(sorted(values)[int(q * (len(values) - 1))], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    results = {f"{n}x{n}": measure(n, n) for n in (4, 64)}
    if parser.parse_args().json:
        print(json.dumps(results))
        return
    for name, numbers in results.items():
        print(name, *(f"{key}={value}" for key, value in numbers.items()))


if __name__ == "__main__":
    main()
