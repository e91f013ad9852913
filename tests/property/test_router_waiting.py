"""Whatever happens in whatever order: nobody waits who could go, nobody is lost, bounds hold."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from math import inf

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from router.core.dispatch import Dispatch, DispatchSettings
from router.core.flight import Flight
from router.core.queue.line import by_order, by_turn
from router.core.queue.waiting import Place
from router.core.request import Leg, Outcome, RetryReason, Route, Shed
from router.core.reuse.ties import Ties
from tests.unit.router.builders import fleet, members, pool, request, request_class
from weir.domain.fleet import PoolSpec, Role, Stage
from weir.domain.ids import ClassName, PoolId, RouterId, WorkerId
from weir.domain.legs import LegRules
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
_SMALL = request_class("small", isl=(0, 400), ttft_s=5.0)
_URGENT = request_class("urgent", isl=(400, 500), ttft_s=3.0, priority=1)
_SHED = replace(
    request_class("shed", isl=(500, 900), ttft_s=4.0, priority=-1),
    sheds_late=True,
    queue_requests=3,
)
_CLASSES = (_SMALL, _URGENT, _SHED, request_class("large", ttft_s=9.0))
_ENDS = st.sampled_from([each for each in Outcome if each is not Outcome.SHED])
_MOST = 12
_MOST_OF = {c.name: c.queue_requests or _MOST // 2 for c in _CLASSES}


class Queue(RuleBasedStateMachine):
    """A driver that does what it should: it sends, resumes, ends, and wakes in time."""

    @initialize(kind=st.sampled_from([*_FLEETS]), below=st.sampled_from([0, 150, 600]))
    def start(self, kind: str, below: int) -> None:
        self.specs = _FLEETS[kind]
        self.dispatch = Dispatch(
            fleet(self.specs, _CLASSES),
            RouterId("r"),
            DispatchSettings(
                queue_requests=_MOST,
                queue_timeout_s=20.0,
                no_endpoints_timeout_s=50.0,
                legs=LegRules(direct_below_tokens=below),
            ),
            self.wake,
        )
        self.opened: set[Flight] = set()
        self.ended: set[Flight] = set()
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

            def resume(found: Route | Shed) -> None:
                self.places.remove(place)
                self.settle(place.flight, found)

            place.resume = resume
        else:
            self.settle(flight, placed)

    def settle(self, flight: Flight, found: Route | Shed) -> None:
        if isinstance(found, Route):
            self.sent.append(flight)
        else:
            self.end(flight, Outcome.SHED)

    def end(self, flight: Flight, outcome: Outcome) -> None:
        self.ended.add(flight)
        flight.finish(outcome, self.now_s)

    def open(self, isl: int, shares: int = 0, **changes: object) -> Flight:
        profile = request(isl, **changes)
        if shares:  # All begin alike for so many blocks of 100 tokens, and differ then.
            own = range(len(self.opened) * 100 + 100, len(self.opened) * 100 + 100 + isl // 100)
            hashes = (*range(1, shares + 1), *own)[: isl // 100]
            profile.ties = Ties(hashes, range(100, 10_000, 100), size=isl)
        flight = self.dispatch.open(profile, self.now_s)
        self.opened.add(flight)
        return flight

    @rule(isl=st.integers(1, 2000), limit=st.integers(1, 500), streaming=st.booleans())
    def arrive(self, isl: int, limit: int, streaming: bool) -> None:
        self.place(self.open(isl, max_tokens=limit, streaming=streaming))

    @rule(isl=st.integers(100, 2000), times=st.integers(2, 12), shares=st.integers(0, 20))
    def burst(self, isl: int, times: int, shares: int) -> None:
        for _ in range(times):
            self.place(self.open(isl, shares))

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
        for place in list(self.places):
            if not place.left and self.dispatch.wait_s(place, self.now_s) <= 0.0:
                self.places.remove(place)
                self.dispatch.give_up(place)
                self.end(place.flight, Outcome.SHED)

    @precondition(lambda self: self.sent)
    @rule(choice=st.integers(0), step=st.sampled_from([Flight.prefill_done, Flight.first_token]))
    def progress(self, choice: int, step: Callable[[Flight, float], None]) -> None:
        flight = self.sent[choice % len(self.sent)]
        assert flight.route is not None
        self.prefilled[flight] = flight.route.prefill
        step(flight, self.now_s)

    @precondition(lambda self: self.sent)
    @rule(choice=st.integers(0), outcome=_ENDS, blame=st.booleans())
    def finish(self, choice: int, outcome: Outcome, blame: bool) -> None:
        flight = self.sent.pop(choice % len(self.sent))
        failed = flight.route.decode if blame and flight.route is not None else None
        if outcome is Outcome.COMPLETED:
            flight.first_token(self.now_s)
        self.ended.add(flight)
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
        self.dispatch.leave(place)
        self.end(place.flight, Outcome.CANCELLED)

    @invariant()
    def nobody_is_lost(self) -> None:
        """Each is at an engine, waits, or has ended, and none is two of these."""
        if not hasattr(self, "dispatch"):
            return
        waiting = {place.flight for place in self.places}
        assert len(self.dispatch.waiting) == len(waiting) == len(self.places)
        assert len(self.sent) + len(waiting) + len(self.ended) == len(self.opened)
        assert {*self.sent} | waiting | self.ended == self.opened
        logs = self.dispatch.traffic.classes.values()
        assert sum(log.arrivals for log in logs) == len(self.opened)
        assert sum(log.outcomes[Outcome.SHED] for log in logs) == sum(
            sum(log.sheds.values()) for log in logs
        )

    @invariant()
    def bounds_hold(self) -> None:
        if not hasattr(self, "dispatch"):
            return
        waiting = Counter(place.flight.request_class.name for place in self.places)
        assert waiting.total() <= _MOST
        for name, held in self.dispatch.waiting.waits.items():
            assert held.requests == waiting[name] <= _MOST_OF[name]
            own = [p.flight for p in self.places if p.flight.request_class.name == name]
            assert held.bytes == sum(flight.profile.prompt_bytes for flight in own)

    @invariant()
    def each_line_is_in_order(self) -> None:
        if not hasattr(self, "dispatch"):
            return
        for place in self.places:
            line = place.line
            assert place in (line.late if place.late else line.hopeful)
            assert line.hopeful == sorted(line.hopeful, key=by_order)
            assert line.late == sorted(line.late, key=by_turn)

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
