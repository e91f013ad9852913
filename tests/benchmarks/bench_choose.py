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
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from pathlib import Path

from router.core.dispatch import Dispatch, DispatchSettings
from router.core.flight import Flight
from router.core.request import Outcome, RequestProfile, Route
from router.core.waiting import Place
from router.service import RouterService
from tests.unit.router.builders import members, pool, request, service
from weir.domain.fleet import Fleet, Role, Stage
from weir.domain.ids import ClassName, PoolId, RouterId
from weir.domain.planning import RoutingPlan
from weir.domain.profile import EngineProfile
from weir.fleet import load

__all__ = ["main", "measure", "measure_flights"]

_DECISIONS = 4000
_IN_FLIGHT = 400
_CLASSES = Path(__file__).parents[2] / "examples/fleets/classes.yaml"
_FLIGHTS = 20_000
_RATE_RPS = 56.0
_ITL_S = 0.030
_WARM_UP = 3000
_Step = Callable[[Flight], None]
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
    """Microseconds of CPU per flight, arrival to completion, with little and much to do."""
    return {
        "flight_us": _Traffic(waiting=None).per_flight_us(flights),
        "crowded_flight_us": _Traffic(waiting=300).per_flight_us(flights),
    }


class _Traffic:
    """Requests take as long as on idle engines; they come at a rate, or as others end.

    `waiting`: so many wait for room at all times; None: they come at a rate that leaves room.
    """

    def __init__(self, waiting: int | None) -> None:
        fleet = load(_CLASSES).fleet
        self.dispatch = Dispatch(fleet, RouterId("r"), DispatchSettings(), lambda at_s: None)
        for spec in fleet.pools:
            names = [f"{spec.id}-{n}" for n in range(10)]
            self.dispatch.apply_members(members(spec.id, *names), 0.0)
        self.dispatch.apply_plan(_plan(fleet), 0.0)
        self._waiting = waiting
        self._arrivals = 0
        self._next_s = self._sample_s = self._now_s = 0.0
        self._heap: list[tuple[float, int, _Step, Flight]] = []
        self._order = count()
        self._ended = 0
        self._run(_WARM_UP)

    def per_flight_us(self, flights: int) -> float:
        began, ended = time.thread_time_ns(), self._ended
        self._run(ended + flights)
        return round((time.thread_time_ns() - began) / 1e3 / (self._ended - ended), 1)

    def _run(self, ended: int) -> None:
        heap = self._heap
        while self._ended < ended:
            while not heap or self._has_next(heap[0][0]):
                self._arrive()
            self._now_s, _, step, flight = heappop(heap)
            step(flight)
            if self._now_s >= self._sample_s:
                self._sample_s += 1.0
                self.dispatch.sample(1.0, self._now_s)

    def _has_next(self, before_s: float) -> bool:
        if self._waiting is not None:
            return len(self.dispatch.waiting) < self._waiting
        if self._next_s > before_s:
            return False
        self._now_s = self._next_s
        self._next_s += 1.0 / _RATE_RPS
        return True

    def _arrive(self) -> None:
        self._arrivals += 1
        isl, osl = _LENGTHS[self._arrivals % len(_LENGTHS)]
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
        flight = self.dispatch.open(profile, self._now_s)
        placed = self.dispatch.place(flight, self._now_s)
        if isinstance(placed, Place):
            placed.resume = functools.partial(self._prefill, flight)
        else:
            self._prefill(flight)

    def _prefill(self, flight: Flight, _: Route | None = None) -> None:
        self._after(0.010 + flight.profile.isl_tokens / 3000.0, self._prefilled, flight)

    def _prefilled(self, flight: Flight) -> None:
        flight.prefill_done(self._now_s)
        self._after(0.030, self._first_token, flight)

    def _first_token(self, flight: Flight) -> None:
        flight.first_token(self._now_s)
        self._after(_ITL_S * (flight.profile.max_tokens or 2) / 2, self._end, flight)

    def _end(self, flight: Flight) -> None:
        profile = flight.profile
        osl = (profile.max_tokens or 2) // 2 + 1
        flight.finish(Outcome.COMPLETED, self._now_s, profile.isl_tokens, osl)
        self._ended += 1

    def _after(self, seconds: float, step: _Step, flight: Flight) -> None:
        heappush(self._heap, (self._now_s + seconds, next(self._order), step, flight))


def _plan(fleet: Fleet) -> RoutingPlan:
    """Four fifths of a class to its own pools, the rest to the next ones; both may spill."""
    names = [c.name for c in fleet.classes]
    shares: dict[ClassName, dict[Stage, dict[PoolId, float]]] = {}
    spill: dict[ClassName, dict[Stage, tuple[PoolId, ...]]] = {}
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
