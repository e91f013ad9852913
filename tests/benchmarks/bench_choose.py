"""CPU time of one routing decision, of one request's accounting, and of whole flights.

    python -m tests.benchmarks.bench_choose [--json]

`4x4` is 4 prefill and 4 decode pools of 4 workers, `64x64` 64 and 64 pools of 64 workers.
`classes` is that example's fleet with 10 workers in each of its 6 pools: everything that the
router does for a request from its arrival to its end, `crowded` with requests that wait.
"""

import argparse
import functools
import json
import time
from collections import deque
from pathlib import Path

from router.core.dispatch import Dispatch, DispatchSettings
from router.core.flight import Flight
from router.core.request import Outcome, RequestProfile, Route
from router.core.waiting import Place
from router.service import RouterService
from tests.unit.router.builders import members, pool, request, service
from weir.domain.fleet import Fleet, Role, Stage
from weir.domain.ids import PoolId, RouterId
from weir.domain.planning import RoutingPlan
from weir.domain.profile import EngineProfile
from weir.fleet import load

__all__ = ["main", "measure", "measure_flights"]

_DECISIONS = 4000
_IN_FLIGHT = 400
_CLASSES = Path(__file__).parents[2] / "examples/fleets/classes.yaml"
_FLIGHTS = 20_000
_RATE_RPS = 56.0
_IN_PREFILL = 40
_WARM_UP = 3000
_LENGTHS = ((120, 20), (900, 240), (200, 60), (2500, 300), (700, 700), (60, 90), (1400, 1100))
"""Prompt and output tokens, in turn."""


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


def measure_flights(flights: int = _FLIGHTS) -> dict[str, float]:
    """Microseconds of CPU per flight, arrival to completion, at a steady load."""
    return {
        "flight_us": _Traffic(in_decode=600, waiting=0).per_flight_us(flights),
        "crowded_flight_us": _Traffic(in_decode=10_000, waiting=300).per_flight_us(flights),
    }


class _Traffic:
    """Every step one request arrives, and the oldest of a stage with more than its number leaves.

    `waiting`: how many wait for room at most.
    """

    def __init__(self, *, in_decode: int, waiting: int) -> None:
        fleet = load(_CLASSES).fleet
        self._dispatch = Dispatch(fleet, RouterId("r"), DispatchSettings(), lambda at_s: None)
        for spec in fleet.pools:
            names = [f"{spec.id}-{n}" for n in range(10)]
            self._dispatch.apply_members(members(spec.id, *names), 0.0)
        self._dispatch.apply_plan(_plan(fleet), 0.0)
        self._prefilling: deque[Flight] = deque()
        self._decoding: deque[Flight] = deque()
        self._in_decode = in_decode
        self._waiting = waiting
        self._steps = 0
        for _ in range(_WARM_UP):
            self._step()

    def per_flight_us(self, flights: int) -> float:
        began = time.thread_time_ns()
        for _ in range(flights):
            self._step()
        return round((time.thread_time_ns() - began) / 1e3 / flights, 1)

    def _step(self) -> None:
        self._steps += 1
        now_s = self._steps / _RATE_RPS
        self._arrive(now_s)
        if len(self._prefilling) > _IN_PREFILL:
            flight = self._prefilling.popleft()
            flight.prefill_done(now_s)
            flight.first_token(now_s)
            self._decoding.append(flight)
        while len(self._decoding) > self._in_decode or len(self._dispatch.waiting) > self._waiting:
            flight = self._decoding.popleft()
            profile = flight.profile
            osl = (profile.max_tokens or 0) // 2
            flight.finish(Outcome.COMPLETED, now_s, profile.isl_tokens, osl)
        if self._steps % int(_RATE_RPS) == 0:
            self._dispatch.sample(1.0)

    def _arrive(self, now_s: float) -> None:
        isl, osl = _LENGTHS[self._steps % len(_LENGTHS)]
        profile = RequestProfile(
            model="demo-model",
            isl_tokens=isl,
            isl_exact=True,
            prompt_bytes=4 * isl,
            max_tokens=2 * osl,
            streaming=True,
            ttft_s=2.0,
            itl_s=0.05,
        )
        flight = self._dispatch.open(profile, now_s)
        placed = self._dispatch.place(flight, now_s)
        if isinstance(placed, Place):
            placed.resume = functools.partial(self._resume, flight)
        elif isinstance(placed, Route):
            self._prefilling.append(flight)

    def _resume(self, flight: Flight, _: Route) -> None:
        self._prefilling.append(flight)


def _plan(fleet: Fleet) -> RoutingPlan:
    """Four fifths of a class to its own pools, the rest to the next ones; both may spill."""
    names = [c.name for c in fleet.classes]
    shares: dict = {}
    spill: dict = {}
    for i, name in enumerate(names):
        for stage in Stage:
            own, other = (PoolId(f"{stage}-{names[(i + k) % 3]}") for k in (0, 1))
            shares.setdefault(name, {})[stage] = {own: 0.8, other: 0.2}
            spill.setdefault(name, {})[stage] = (own, other)
    return RoutingPlan(term=1, version=1, shares=shares, spill=spill)


def _quantile(values: list[float], q: float) -> float:
    return round(sorted(values)[int(q * (len(values) - 1))], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    as_json = parser.parse_args().json
    results = {f"{n}x{n}": measure(n, n) for n in (4, 64)}
    results["classes"] = measure_flights()
    if as_json:
        print(json.dumps(results))
        return
    for name, numbers in results.items():
        print(name, *(f"{key}={value}" for key, value in numbers.items()))


if __name__ == "__main__":
    main()
