"""CPU time of one routing decision, of one request's accounting, and of whole flights.

    python -m tests.benchmarks.bench_choose [--json]

One decision is to classify, admit and choose. `4x4` is 4 prefill and 4 decode pools of 4 workers,
`64x64` 64 and 64 pools of 64 workers, `1x512` one and one of 512; in `failing` one request in a
hundred fails. Pools differ in speed, three classes have shares of a plan in all of them, every
worker is in use, and the collector is set as in a router. Figures are medians of rounds, `least`
and `most` those of single rounds. `decision_p99_limit_us` is what a decision may take, `kept`
whether the median does.
`classes` is that example's fleet with 10 workers in each of its 6 pools: everything that the
router does for a request from its arrival to its end, `crowded` with requests that wait, `reuse`
with prompts of 32 KiB of which engines may have computed a part, `kept` if decode workers may
keep it, too, and prompts of which fewer than 256 tokens are new go straight there.
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
from statistics import median

from router.app import settle_memory
from router.core.dispatch import Dispatch, DispatchSettings
from router.core.flight import Flight
from router.core.queue.waiting import Place
from router.core.request import Outcome, RequestProfile, Route
from router.core.reuse.ties import Ties, chain
from tests.unit.router.builders import fleet, members, pool, request, request_class
from weir.domain.fleet import Fleet, Role, Stage
from weir.domain.ids import ClassName, PoolId, RouterId
from weir.domain.legs import LegRules
from weir.domain.planning import RoutingPlan
from weir.domain.profile import EngineProfile
from weir.fleet import load

__all__ = ["main", "measure", "measure_flights"]

_DECISIONS = 22_000
_ROUNDS = 11
_SPEEDS = (1.0, 0.8, 1.25, 0.9)
_SHARES = (3.0, 1.0, 2.0, 1.0, 5.0)
"""Engine speeds, and weights in the plan, of pools in turn."""
_PER_WORKER = 4
_ARRIVALS_RPS = 100.0
"""Slow for so many workers: what is due by time falls to few decisions."""
_FAILING_EVERY = 100
_SIZES: dict[str, tuple[int, int, bool, float | None]] = {
    "4x4": (4, 4, False, None),
    "64x64": (64, 64, False, 100.0),
    "1x512": (1, 512, False, 200.0),
    "1x512 failing": (1, 512, True, 200.0),
    "1x4096": (1, 4096, False, None),
}
"""Pools of each role, workers in each, whether requests fail, and the limit of a decision."""
_CLASSES = Path(__file__).parents[2] / "examples/fleets/classes.yaml"
_FLIGHTS = 20_000
_RATE_RPS = 56.0
_ITL_S = 0.030
_WARM_UP = 3000
_Step = Callable[[Flight], None]
_CONVERSATIONS = 200
_LENGTHS = ((120, 20), (900, 240), (200, 60), (2500, 300), (700, 700), (60, 90), (1400, 1100))
"""Prompt and output tokens, in turn."""


def measure(
    pools: int, workers: int, *, decisions: int = _DECISIONS, failing: bool = False
) -> dict[str, float]:
    """Microseconds of CPU: `decide` alone, and a request's own steps: open, place, ... finish.

    `failing`: one request in a hundred fails, which opens a breaker.
    """
    load = _Load(_dispatch(pools, workers), _PER_WORKER * pools * workers, failing=failing)
    rounds = [load.round(decisions // _ROUNDS) for _ in range(_ROUNDS)]
    measured = {}
    for what in ("decision", "request"):
        for name, q in (("p50", 0.50), ("p99", 0.99)):
            figures = sorted(_quantile(times[what], q) for times in rounds)
            measured[f"{what}_{name}_us"] = median(figures)
            measured[f"{what}_{name}_least_us"] = figures[0]
            measured[f"{what}_{name}_most_us"] = figures[-1]
    return measured


class _Load:
    """Requests that come at a steady rate, `in_flight` at all times, half of them in prefill."""

    def __init__(self, dispatch: Dispatch, in_flight: int, *, failing: bool) -> None:
        self._dispatch = dispatch
        self._prefilling: deque[Flight] = deque()
        self._decoding: deque[Flight] = deque()
        self._half = in_flight // 2
        self._failing = failing
        self._arrivals = 0
        settle_memory()
        self.round(in_flight)

    def round(self, decisions: int) -> dict[str, list[float]]:
        decision_us, request_us = [], []
        for _ in range(decisions):
            self._arrivals = i = self._arrivals + 1
            profile = request(100 + i % 1900, max_tokens=10 + i % 300, tenant=f"t{i % 7}")
            now_s = i / _ARRIVALS_RPS
            began = time.thread_time_ns()
            self._dispatch.decide(profile, now_s)
            decided = time.thread_time_ns()
            self._rest(profile, now_s)
            decision_us.append((decided - began) / 1e3)
            request_us.append((time.thread_time_ns() - decided) / 1e3)
        return {"decision": decision_us, "request": request_us}

    def _rest(self, profile: RequestProfile, now_s: float) -> None:
        flight = self._dispatch.open(profile, now_s)
        route = self._dispatch.place(flight, now_s)
        assert isinstance(route, Route)
        if self._failing and self._arrivals % _FAILING_EVERY == 0:
            flight.finish(Outcome.FAILED, now_s, failed_leg=route.decode)
            return
        self._prefilling.append(flight)
        if len(self._prefilling) > self._half:
            flight = self._prefilling.popleft()
            flight.prefill_done(now_s)
            flight.first_token(now_s)
            self._decoding.append(flight)
        if len(self._decoding) > self._half:
            flight = self._decoding.popleft()
            flight.finish(Outcome.COMPLETED, now_s, prompt_tokens=100, output_tokens=50)


def _dispatch(pools: int, workers: int) -> Dispatch:
    specs = [
        pool(
            f"{role.value}{i}",
            role,
            profile=EngineProfile(speed=_SPEEDS[i % len(_SPEEDS)]),
            context_limit_tokens=100_000,
        )
        for role in (Role.PREFILL, Role.DECODE)
        for i in range(pools)
    ]
    classes = [
        request_class("short", isl=(0, 500)),
        request_class("long", osl=(0, 100)),
        request_class("rest"),
    ]
    of = fleet(specs, classes)
    made = Dispatch(of, RouterId("r"), DispatchSettings(), lambda at_s: None)
    for spec in specs:
        made.apply_members(members(spec.id, *(f"{spec.id}-w{i}" for i in range(workers))), 0.0)
    made.apply_plan(_plan_of_all(of), 0.0)
    return made


def _plan_of_all(fleet: Fleet) -> RoutingPlan:
    """Every class has a share in every pool, each class another one."""
    shares: dict[ClassName, dict[Stage, dict[PoolId, float]]] = {}
    for first, each in enumerate(fleet.classes):
        of_class = shares.setdefault(each.name, {})
        for stage, role in ((Stage.PREFILL, Role.PREFILL), (Stage.DECODE, Role.DECODE)):
            pools = [spec.id for spec in fleet.pools if spec.role is role]
            of_class[stage] = {
                pool_id: _SHARES[(first + i) % len(_SHARES)] for i, pool_id in enumerate(pools)
            }
    return RoutingPlan(term=1, version=1, shares=shares, spill={})


def measure_flights(flights: int = _FLIGHTS) -> dict[str, float]:
    """Microseconds of CPU per flight, arrival to completion, with little and much to do."""
    return {
        "flight_us": _Traffic(waiting=None).per_flight_us(flights),
        "crowded_flight_us": _Traffic(waiting=300).per_flight_us(flights),
        "reuse_flight_us": _Traffic(waiting=None, reuse=True).per_flight_us(flights),
        "kept_flight_us": _Traffic(waiting=None, reuse=True, below=256).per_flight_us(flights),
    }


class _Traffic:
    """Requests take as long as on idle engines; they come at a rate, or as others end.

    `waiting`: so many wait for room at all times; None: they come at a rate that leaves room.
    `reuse`: prompts are turns of conversations, of 32 KiB each. `below` this they go straight to
    decode workers.
    """

    def __init__(self, waiting: int | None, *, reuse: bool = False, below: int = 0) -> None:
        fleet = load(_CLASSES).fleet
        settings = DispatchSettings(legs=LegRules(direct_below_tokens=below))
        self.dispatch = Dispatch(fleet, RouterId("r"), settings, lambda at_s: None)
        for spec in fleet.pools:
            names = [f"{spec.id}-{n}" for n in range(10)]
            self.dispatch.apply_members(members(spec.id, *names), 0.0)
        self.dispatch.apply_plan(_plan(fleet), 0.0)
        self._waiting = waiting
        self._ties = [_turn(i) for i in range(_CONVERSATIONS)] if reuse else [None]
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
            ties=self._ties[self._arrivals % len(self._ties)],
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


def _turn(conversation: int) -> Ties:
    """A prompt of 32 KiB, of which the first eighth is the same in all."""
    material = b"s" * 4096 + b"%8d" % conversation * 3584
    return Ties(chain(material), size=len(material))


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


def measure_all() -> dict[str, dict[str, float]]:
    results = {}
    for name, (pools, workers, failing, limit_us) in _SIZES.items():
        results[name] = measured = measure(pools, workers, failing=failing)
        if limit_us is not None:
            measured["decision_p99_limit_us"] = limit_us
            measured["kept"] = measured["decision_p99_us"] <= limit_us
    return results | {"classes": measure_flights()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    as_json = parser.parse_args().json
    results = measure_all()
    if as_json:
        print(json.dumps(results))
        return
    for name, numbers in results.items():
        print(name, *(f"{key}={value}" for key, value in numbers.items()))


if __name__ == "__main__":
    main()
