"""Whatever happens in whatever order: nothing is lost, counted twice, or left behind."""

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from router.core.flight import Flight
from router.core.request import Leg, Outcome, RetryReason, Route
from router.core.reuse.ties import Ties
from tests.unit.router.builders import members, pool, request, request_class, service
from weir.domain.fleet import Role
from weir.domain.ids import WorkerId
from weir.domain.legs import LegRules, WithoutPrefill

_POOLS = {"p": Role.PREFILL, "d": Role.DECODE, "a": Role.AGG}
_CLASSES = (request_class("small", isl=(0, 200)), request_class("large"))
_TIES = st.builds(
    lambda blocks, session: Ties(
        tuple(hash(tuple(blocks[: i + 1])) for i in range(len(blocks))),
        range(100, 5000, 100),
        size=100 * len(blocks) + 50,
        session=session,
    ),
    st.lists(st.integers(0, 1), max_size=20),
    st.sampled_from(["", "s", "t"]),
)
_names = st.sets(st.sampled_from(["w1", "w2", "w3"]))


class Flights(RuleBasedStateMachine):
    """Requests come, move on, fail and end while workers come and go."""

    @initialize(
        agg=st.booleans(),
        below=st.sampled_from([0, 100, 10_000]),
        without_prefill=st.sampled_from(WithoutPrefill),
    )
    def start(self, agg: bool, below: int, without_prefill: WithoutPrefill) -> None:
        legs = LegRules(direct_below_tokens=below, without_prefill=without_prefill)
        pools = [pool(name, role) for name, role in _POOLS.items() if agg or name != "a"]
        self.router = service(pools, classes=_CLASSES, legs=legs)
        self.now_s = 0.0
        self.version = 0
        self.flights: list[Flight] = []
        self.tried: dict[int, list[Leg]] = {}
        self.arrivals = 0
        self.ended = dict.fromkeys(Outcome, 0)
        for name in _POOLS:
            self.change_members(name, {"w1", "w2"}, set())

    def _pick(self, choice: int) -> Flight:
        return self.flights[choice % len(self.flights)]

    def _legs(self, flight: Flight) -> list[Leg]:
        return self.tried.setdefault(id(flight), [])

    @rule(name=st.sampled_from([*_POOLS]), workers=_names, draining=_names)
    def news(self, name: str, workers: set[str], draining: set[str]) -> None:
        self.change_members(name, workers, draining)

    def change_members(self, name: str, workers: set[str], draining: set[str]) -> None:
        self.version += 1
        news = members(
            name,
            *(f"{name}-{w}" for w in sorted(workers)),
            version=self.version,
            draining=" ".join(f"{name}-{w}" for w in draining),
        )
        self.router.apply_members(news)

    @rule(seconds=st.floats(0.0, 10.0))
    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(
        isl=st.integers(1, 3000),
        limit=st.none() | st.integers(1, 500),
        streaming=st.booleans(),
        ties=st.none() | _TIES,
    )
    def arrive(self, isl: int, limit: int | None, streaming: bool, ties: Ties | None) -> None:
        profile = request(isl, max_tokens=limit, streaming=streaming, ties=ties)
        self.flights.append(self.router.open(profile, self.now_s))
        self.arrivals += 1

    @precondition(lambda self: self.flights)
    @rule(choice=st.integers(0), keep_prefill=st.booleans(), exclude=_names)
    def send(self, choice: int, keep_prefill: bool, exclude: set[str]) -> None:
        """Also sends what is already sent, as a hedge against callers that err."""
        flight = self._pick(choice)
        heads = [leg for leg in self._legs(flight) if leg.pool_id == "p"]
        decision = self.router.decide(
            flight.profile,
            self.now_s,
            frozenset(WorkerId(f"{name}-{w}") for name in _POOLS for w in exclude),
            heads[-1] if heads and keep_prefill else None,
        )
        if isinstance(decision, Route):
            flight.sent(decision, self.now_s)
            legs = (decision.prefill, decision.decode)
            self._legs(flight).extend(leg for leg in legs if leg is not None)

    @precondition(lambda self: self.flights)
    @rule(choice=st.integers(0), step=st.sampled_from([Flight.prefill_done, Flight.first_token]))
    def progress(self, choice: int, step: Callable[[Flight, float], None]) -> None:
        step(self._pick(choice), self.now_s)

    @precondition(lambda self: self.flights)
    @rule(
        choice=st.integers(0), prompt=st.none() | st.integers(0, 4000), cached=st.integers(0, 4000)
    )
    def told(self, choice: int, prompt: int | None, cached: int) -> None:
        self._pick(choice).reused(prompt, cached)

    @precondition(lambda self: any(self.tried.values()))
    @rule(choice=st.integers(0), leg=st.integers(0), reason=st.sampled_from(RetryReason))
    def retry(self, choice: int, leg: int, reason: RetryReason) -> None:
        flights = [f for f in self.flights if self._legs(f)]
        if flights:
            flight = flights[choice % len(flights)]
            legs = self._legs(flight)
            flight.retry(legs[leg % len(legs)], reason, self.now_s)

    @precondition(lambda self: self.flights)
    @rule(
        choice=st.integers(0),
        outcome=st.sampled_from(Outcome),
        prompt=st.none() | st.integers(0, 4000),
        output=st.none() | st.integers(0, 1000),
        twice=st.booleans(),
    )
    def finish(
        self, choice: int, outcome: Outcome, prompt: int | None, output: int | None, twice: bool
    ) -> None:
        flight = self._pick(choice)
        self.flights.remove(flight)
        legs = self.tried.pop(id(flight), [])
        failed_leg = legs[-1] if legs and outcome is Outcome.FAILED else None
        flight.finish(outcome, self.now_s, prompt, output, failed_leg)
        self.ended[outcome] += 1
        if twice:
            flight.finish(Outcome.COMPLETED, self.now_s)
            flight.first_token(self.now_s)
            flight.prefill_done(self.now_s)

    @invariant()
    def who_has_left_is_believed_to_have_nothing(self) -> None:
        if hasattr(self, "router"):
            for each in self.router.pools:
                believed = {} if each.reuse is None else each.reuse.index.held()
                assert believed.keys() <= set(each.workers.values())
                assert all(tokens > 0 for tokens in believed.values())

    @invariant()
    def counters_add_up(self) -> None:
        if not hasattr(self, "router"):
            return
        logs = self.router.traffic.classes.values()
        assert sum(log.arrivals for log in logs) == self.arrivals
        for outcome in Outcome:
            assert sum(log.outcomes[outcome] for log in logs) == self.ended[outcome]
        assert sum(log.open for log in logs) == len(self.flights)
        waiting = sum(flight.route is None for flight in self.flights)
        assert sum(log.queued for log in logs) == waiting
        for log in logs:
            assert log.arrivals == sum(log.outcomes.values()) + log.open

    @invariant()
    def loads_are_never_negative(self) -> None:
        if not hasattr(self, "router"):
            return
        for the_pool in self.router.pools:
            log = self.router.traffic.pools[the_pool.id]
            assert min(log.in_flight, log.queued_tokens) >= 0
            for worker in the_pool.workers.values():
                assert min(worker.in_flight, worker.queued_tokens, worker.kv_tokens) >= 0
                assert 0 <= worker.direct_tokens <= worker.queued_tokens
                assert not worker.direct_tokens or the_pool.spec.role is Role.DECODE

    def teardown(self) -> None:
        for flight in getattr(self, "flights", []):
            flight.finish(Outcome.CANCELLED, self.now_s)
        for the_pool in self.router.pools if hasattr(self, "router") else ():
            log = self.router.traffic.pools[the_pool.id]
            assert (log.in_flight, log.queued_tokens) == (0, 0)
            for worker in the_pool.workers.values():
                assert (worker.in_flight, worker.queued_tokens, worker.kv_tokens) == (0, 0, 0)
                assert worker.direct_tokens == 0
                assert not worker.probing


TestFlights = Flights.TestCase
TestFlights.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
