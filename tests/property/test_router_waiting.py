"""Whatever happens in whatever order: nobody waits who could go."""

from collections.abc import Callable
from math import inf

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from router.core.dispatch import Dispatch, DispatchSettings
from router.core.flight import Flight
from router.core.request import Leg, Outcome, RetryReason, Route
from router.core.waiting import Place
from tests.unit.router.builders import fleet, members, pool, request, request_class
from weir.domain.fleet import PoolSpec, Role, Stage
from weir.domain.ids import ClassName, PoolId, RouterId, WorkerId
from weir.domain.planning import RoutingPlan

_FLEETS: dict[str, list[PoolSpec]] = {
    "pairs": [pool(n, r) for n, r in (("p", Role.PREFILL), ("q", Role.PREFILL))]
    + [pool("d", Role.DECODE), pool("e", Role.DECODE, context_limit_tokens=1000)],
    "mixed": [pool("p", Role.PREFILL), pool("d", Role.DECODE), pool("a", Role.AGG)],
    "dialects": [
        pool("p", Role.PREFILL, dialect="x"),
        pool("d", Role.DECODE, dialect="x"),
        pool("q", Role.PREFILL, dialect="y"),
        pool("e", Role.DECODE, dialect="y", context_limit_tokens=1000),
    ],
    "agg": [pool("a", Role.AGG), pool("b", Role.AGG, context_limit_tokens=1000)],
}
_CLASSES = (request_class("small", isl=(0, 400), ttft_s=5.0), request_class("large", ttft_s=9.0))


class Queue(RuleBasedStateMachine):
    """A driver that does what it should: it sends, resumes, ends, and wakes in time."""

    @initialize(kind=st.sampled_from([*_FLEETS]))
    def start(self, kind: str) -> None:
        self.specs = _FLEETS[kind]
        self.dispatch = Dispatch(
            fleet(self.specs, _CLASSES), RouterId("r"), DispatchSettings(), self.wake
        )
        self.now_s = 0.0
        self.wake_s = inf
        self.version = 0
        self.sent: list[Flight] = []
        self.prefilled: dict[Flight, Leg | None] = {}
        self.places: list[Place] = []
        for spec in self.specs:
            self.change_members(spec, 1)

    def wake(self, at_s: float) -> None:
        self.wake_s = at_s

    def change_members(self, spec: PoolSpec, workers: int) -> None:
        self.version += 1
        names = [f"{spec.id}-{n}" for n in range(workers)]
        self.dispatch.apply_members(members(spec.id, *names, version=self.version), self.now_s)

    def place(
        self,
        flight: Flight,
        prefilled: Leg | None = None,
        exclude: frozenset[WorkerId] = frozenset(),
    ) -> None:
        placed = self.dispatch.place(flight, self.now_s, exclude, prefilled)
        if isinstance(placed, Place):
            place = placed
            self.places.append(place)

            def resume(_: Route) -> None:
                self.places.remove(place)
                self.sent.append(place.flight)

            place.resume = resume
        elif isinstance(placed, Route):
            self.sent.append(flight)

    @rule(isl=st.integers(1, 2000), limit=st.integers(1, 500), streaming=st.booleans())
    def arrive(self, isl: int, limit: int, streaming: bool) -> None:
        self.place(
            self.dispatch.open(request(isl, max_tokens=limit, streaming=streaming), self.now_s)
        )

    @rule(isl=st.integers(100, 2000), times=st.integers(2, 12))
    def burst(self, isl: int, times: int) -> None:
        for _ in range(times):
            self.place(self.dispatch.open(request(isl), self.now_s))

    @rule(choice=st.integers(0, 3), workers=st.integers(0, 3))
    def news(self, choice: int, workers: int) -> None:
        self.change_members(self.specs[choice % len(self.specs)], workers)

    @rule(weights=st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=4, max_size=4))
    def plan(self, weights: list[float]) -> None:
        self.version += 1
        shares: dict[Stage, dict[PoolId, float]] = {stage: {} for stage in Stage}
        for spec, weight in zip(self.specs, weights, strict=False):
            stage = Stage.DECODE if spec.role is Role.DECODE else Stage.PREFILL
            shares[stage][spec.id] = weight
        plan = RoutingPlan(term=1, version=self.version, shares={ClassName("small"): shares})
        self.dispatch.apply_plan(plan, self.now_s)

    @rule(seconds=st.floats(0.0, 5.0))
    def pass_time(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        while self.wake_s <= until_s:
            self.now_s, self.wake_s = max(self.now_s, self.wake_s), inf
            self.dispatch.admit(self.now_s)
        self.now_s = until_s

    @precondition(lambda self: self.sent)
    @rule(choice=st.integers(0), step=st.sampled_from([Flight.prefill_done, Flight.first_token]))
    def progress(self, choice: int, step: Callable[[Flight, float], None]) -> None:
        flight = self.sent[choice % len(self.sent)]
        assert flight.route is not None
        self.prefilled[flight] = flight.route.prefill
        step(flight, self.now_s)

    @precondition(lambda self: self.sent)
    @rule(choice=st.integers(0), outcome=st.sampled_from(Outcome), blame=st.booleans())
    def finish(self, choice: int, outcome: Outcome, blame: bool) -> None:
        flight = self.sent.pop(choice % len(self.sent))
        failed = flight.route.decode if blame and flight.route is not None else None
        if outcome is Outcome.COMPLETED:
            flight.first_token(self.now_s)
        flight.finish(outcome, self.now_s, 100, 20, failed)

    @precondition(lambda self: self.sent)
    @rule(choice=st.integers(0), keep=st.booleans(), exclude=st.booleans())
    def retry(self, choice: int, keep: bool, exclude: bool) -> None:
        flight = self.sent.pop(choice % len(self.sent))
        route = flight.route
        assert route is not None
        done = self.prefilled.get(flight) if keep else None
        flight.retry(route.decode, RetryReason.CLOSED, self.now_s)
        failed = frozenset({route.decode.worker.id}) if exclude else frozenset()
        self.place(flight, done, failed)

    @precondition(lambda self: self.places)
    @rule(choice=st.integers(0))
    def give_up(self, choice: int) -> None:
        place = self.places.pop(choice % len(self.places))
        self.dispatch.give_up(place)
        place.flight.finish(Outcome.SHED, self.now_s)

    @invariant()
    def nobody_waits_who_could_go(self) -> None:
        """Whoever is first in a line and was looked at; another looks at the next event."""
        if not hasattr(self, "dispatch"):
            return
        waiting = self.dispatch.waiting
        hopeful, late = (waiting.heads(self.now_s, late=late) for late in (False, True))
        # Whoever wanted a pool may be late by now, without an event since.
        barred = frozenset[PoolId]().union(*(place.line.wanted for place in late))
        for place in (*hopeful, *late):
            if place.line.judged(place):
                decision = self.dispatch._decide(place, barred, self.now_s)
                assert not isinstance(decision, Route), decision
            barred |= place.line.wanted


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
