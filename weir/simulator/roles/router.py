"""A router: its own dispatcher, and the legs of the calls that came to it."""

from math import inf

from router.core.dispatch import Dispatch, DispatchSettings
from router.core.flight import Flight
from router.core.queue.waiting import Place
from router.core.request import Leg, Outcome, RequestProfile, RetryReason, Route, Shed
from router.core.reuse.ties import Ties
from weir.domain.errors import RequestError
from weir.domain.ids import RouterId, WorkerId
from weir.domain.planning import PoolMembers, RoutingPlan
from weir.engine.request import Request
from weir.simulator.call import Call, End
from weir.simulator.process import Process
from weir.simulator.replica import Phase, Replica
from weir.simulator.roles.keys import PLAN_KEY, members_key
from weir.simulator.roles.plane import Plane
from weir.workload.prefixes import BLOCK_TOKENS

__all__ = ["Journey", "RouterRole"]

_MOST_ATTEMPTS = 3
_MOST_CONNECTS = 10
_CONNECT_S = 0.002
_BYTES_PER_TOKEN = 4
_NOBODY: frozenset[WorkerId] = frozenset()
_BLOCK_ENDS = range(BLOCK_TOKENS, 1 << 30, BLOCK_TOKENS)


class Journey:
    """One attempt of a call at one router."""

    __slots__ = (
        "attempts",
        "call",
        "connects",
        "exclude",
        "flight",
        "place",
        "prefilled",
        "router",
    )

    def __init__(self, router: "RouterRole", call: Call, flight: Flight) -> None:
        self.router = router
        self.call = call
        self.flight = flight
        self.place: Place | None = None
        self.prefilled: Leg | None = None
        self.exclude = _NOBODY
        self.attempts = 0
        self.connects = 0


class RouterRole:
    """Calls that are on it when it dies have failed: their connections break."""

    def __init__(self, plane: Plane, name: str, *, tenants: bool) -> None:
        world = plane.world
        self.process = Process(name, begin=self._begin, forget=self._forget)
        self.journeys: dict[int, Journey] = {}
        self.shed_at_s: float | None = None
        self._plane = plane
        self._world = world
        self._events = world.events
        self._model = world.scenario.fleet.models[0].name
        self._tenants = tenants
        self._calls = world.invariants.calls
        self._drains = world.invariants.drains
        self._clock = plane.clock()
        self._sampled_s = 0.0
        self.dispatch = self._dispatch()

    # --- life ----------------------------------------------------------------------------

    def _begin(self) -> None:
        plane = self._plane
        self._clock = plane.clock()
        self.dispatch = self._dispatch()
        self._sampled_s = self._clock.now_s()
        for spec in self._world.scenario.fleet.pools:
            plane.store.watch(self.process, members_key(spec.id), "members", self._on_members)
        if self._world.scenario.grid is None:
            plane.store.watch(self.process, PLAN_KEY, "plan", self._on_plan)
        self._publish(self.process.life)

    def _forget(self) -> None:
        journeys, self.journeys = self.journeys, {}
        for journey in journeys.values():
            call = journey.call
            for replica in (call.prefill, call.decode):
                if replica is not None:
                    replica.abort(call)
            call.state = journey.place = None
            self._world.end(call, End.FAILED)

    def _dispatch(self) -> Dispatch:
        settings, life = self._world.router_settings, self.process.life

        def wake(at_s: float) -> None:
            if at_s < inf:
                self._events.after(max(0.0, at_s - self._clock.now_s()) + 1e-3, probe)

        def probe(_: object) -> None:
            if self.process.life == life and self.process.alive:
                self.dispatch.admit(self._clock.now_s())

        return Dispatch(
            self._world.scenario.fleet,
            RouterId(f"{self.process.name}-{life}"),
            DispatchSettings(
                bytes_per_token=settings.bytes_per_token,
                osl_prior_tokens=settings.osl_prior_tokens,
                queue_requests=settings.queue_requests,
                queue_bytes=settings.queue_bytes,
                queue_timeout_s=settings.queue_timeout_s,
                no_endpoints_timeout_s=settings.no_endpoints_timeout_s,
                grid=self._world.scenario.grid,
                legs=settings.disaggregation.rules,
                slow_start_s=settings.slow_start_s,
            ),
            wake,
        )

    # --- news ----------------------------------------------------------------------------

    def _on_members(self, members: object) -> None:
        if isinstance(members, PoolMembers):
            self.dispatch.apply_members(members, self._clock.now_s())

    def _on_plan(self, plan: object) -> None:
        if isinstance(plan, RoutingPlan):
            self.dispatch.apply_plan(plan, self._clock.now_s())

    def _publish(self, life: int) -> None:
        """Send a sample each interval, also when nothing happens."""
        world = self._world
        if self.process.life != life or not self.process.alive or world.over:
            return
        now_s = self._clock.now_s()
        window_s = now_s - self._sampled_s
        if window_s > 0.0:
            self._sampled_s = now_s
            sample = self.dispatch.sample(window_s, now_s)
            for process, take in self._plane.on_traffic:
                self._plane.network.send_value(self.process, process, "traffic", take, sample)
        self._events.after(world.router_settings.sample_interval_s, self._publish, life)

    # --- calls ---------------------------------------------------------------------------

    def arrive(self, call: Call) -> None:
        self._calls.router = self
        slo = self.dispatch.classes[call.class_index].slo
        profile = RequestProfile(
            model=self._model,
            isl_tokens=call.isl_tokens,
            prompt_bytes=call.isl_tokens * _BYTES_PER_TOKEN,
            streaming=True,
            tenant=call.tenant if self._tenants else "",
            ttft_s=slo.ttft_s,
            itl_s=slo.itl_s,
        )
        if call.chain and self.dispatch.reuses(self._model):
            profile.ties = Ties(call.chain, _BLOCK_ENDS, size=call.isl_tokens)
        try:
            flight = self.dispatch.open(profile, self._clock.now_s())
        except RequestError:
            self._world.end(call, End.FAILED)
            return
        journey = Journey(self, call, flight)
        call.state = journey
        self.journeys[call.id] = journey
        self._place(journey)

    def cancel(self, call: Call) -> None:
        journey: Journey = call.state
        if journey.place is not None:
            self.dispatch.leave(journey.place)
        self._end(journey, Outcome.CANCELLED, End.CANCELLED)

    def _place(self, journey: Journey) -> None:
        placed = self.dispatch.place(
            journey.flight, self._clock.now_s(), journey.exclude, journey.prefilled
        )
        if isinstance(placed, Route):
            self._go(journey, placed)
        elif isinstance(placed, Shed):
            self._shed(journey, placed)
        else:
            journey.place = place = placed

            def resume(found: Route | Shed) -> None:
                journey.place = None
                if isinstance(found, Shed):
                    self._shed(journey, found)
                else:
                    self._go(journey, found)

            place.resume = resume
            self._wait((journey, place))

    def _wait(self, waiting: tuple[Journey, Place]) -> None:
        journey, place = waiting
        if journey.place is not place:
            return
        left_s = self.dispatch.wait_s(place, self._clock.now_s())
        if left_s > 0.0:
            self._events.after(left_s, self._wait, waiting)
        else:
            journey.place = None
            self._shed(journey, self.dispatch.give_up(place))

    def _shed(self, journey: Journey, shed: Shed) -> None:
        self._end(journey, Outcome.SHED, End.SHED, retry_after_s=shed.retry_after_s)

    # --- legs ----------------------------------------------------------------------------

    def _go(self, journey: Journey, route: Route) -> None:
        self._drains.chosen(route)
        head = route.prefill
        if head is None:
            self._serve(journey, route.decode)
        elif journey.prefilled is not None:
            self._fetch(journey, route.decode)
        else:
            self._prefill(journey, head)

    def _prefill(self, journey: Journey, leg: Leg) -> None:
        call = journey.call
        call.prefill = replica = self._replica(leg)
        if replica is None or replica.phase is not Phase.READY:
            self._refused(journey, leg, replica)
            return
        request = Request(
            id=call.id,
            prompt_tokens=call.isl_tokens,
            output_tokens=1,
            block_hashes=call.block_hashes(replica.profile.block_tokens),
            hold=True,
        )
        if replica.submit(call, request) is not None:
            self._end(journey, Outcome.FAILED, End.FAILED)

    def prefilled(self, call: Call, replica: Replica) -> None:
        """Its prefill leg has answered."""
        journey: Journey = call.state
        route = journey.flight.route
        if route is None or route.prefill is None:
            return
        journey.prefilled = route.prefill
        if call.chain:
            journey.flight.reused(call.isl_tokens, call.cached_tokens)
        journey.flight.prefill_done(self._clock.now_s())
        self._fetch(journey, route.decode)

    def _fetch(self, journey: Journey, leg: Leg) -> None:
        """The decode replica pulls the prompt's KV and goes on with it."""
        call = journey.call
        call.decode = replica = self._replica(leg)
        if replica is None or replica.phase is not Phase.READY:
            self._refused(journey, leg, replica)
            return
        delay_s = replica.profile.kv_transfer_s(call.isl_tokens)
        self._events.after(delay_s, self._fetched, (journey, leg, journey.flight.route))

    def _fetched(self, fetch: tuple[Journey, Leg, Route | None]) -> None:
        journey, leg, route = fetch
        call = journey.call
        replica = call.decode
        if journey.flight.route is not route or call.ended or replica is None:
            return
        if call.prefill is not None:
            call.prefill.release(call)
        if not replica.alive:
            self._broke(journey, leg)
            return
        request = Request(
            id=call.id,
            prompt_tokens=call.isl_tokens,
            output_tokens=call.osl_tokens,
            block_hashes=call.block_hashes(replica.profile.block_tokens),
            prefilled=True,
        )
        if replica.submit(call, request) is not None:
            self._end(journey, Outcome.FAILED, End.FAILED)

    def _serve(self, journey: Journey, leg: Leg) -> None:
        """Both stages in one leg."""
        call = journey.call
        call.prefill = call.decode = replica = self._replica(leg)
        if replica is None or replica.phase is not Phase.READY:
            self._refused(journey, leg, replica)
            return
        request = Request(
            id=call.id,
            prompt_tokens=call.isl_tokens,
            output_tokens=call.osl_tokens,
            block_hashes=call.block_hashes(replica.profile.block_tokens),
        )
        if replica.submit(call, request) is not None:
            self._end(journey, Outcome.FAILED, End.FAILED)

    def first(self, call: Call, replica: Replica) -> None:
        """The first token of the leg that answers the client."""
        if call.first_s is None:
            call.first_s = self._events.now_s
            call.state.flight.first_token(self._clock.now_s())

    def finished(self, call: Call, replica: Replica) -> None:
        journey: Journey = call.state
        self._calls.router = self
        del self.journeys[call.id]
        call.state = None
        if call.chain and journey.prefilled is None:
            journey.flight.reused(call.isl_tokens, call.cached_tokens)
        journey.flight.finish(
            Outcome.COMPLETED, self._clock.now_s(), call.isl_tokens, call.osl_tokens
        )
        self._world.end(call, End.COMPLETED)

    # --- trouble -------------------------------------------------------------------------

    def lost(self, call: Call, replica: Replica) -> None:
        """A replica has died under the call."""
        journey: Journey | None = call.state
        route = journey.flight.route if journey is not None else None
        if journey is None or route is None:
            return
        head = route.prefill if replica is call.prefill else None
        leg = head or route.decode
        if call.first_s is not None:
            self._end(journey, Outcome.FAILED, End.FAILED, blamed=leg)
        else:
            self._broke(journey, leg)

    def _broke(self, journey: Journey, leg: Leg) -> None:
        """The leg's connection has broken before its first token."""
        journey.attempts += 1
        self._retry(journey, leg, RetryReason.CLOSED, kv_intact=False)

    def _refused(self, journey: Journey, leg: Leg, replica: Replica | None) -> None:
        """Nobody listens there any more, or it takes nothing new."""
        gone = replica is None or not replica.alive
        if gone:
            journey.connects += 1
        else:
            journey.attempts += 1
        reason = RetryReason.CONNECT if gone else RetryReason.STATUS
        route = journey.flight.route

        def told(_: object) -> None:
            if journey.flight.route is route and not journey.call.ended:
                self._retry(journey, leg, reason, kv_intact=True)

        self._events.after(_CONNECT_S, told)

    def _retry(self, journey: Journey, leg: Leg, reason: RetryReason, *, kv_intact: bool) -> None:
        call = journey.call
        if journey.attempts >= _MOST_ATTEMPTS or journey.connects >= _MOST_CONNECTS:
            self._end(journey, Outcome.FAILED, End.FAILED, blamed=leg)
            return
        journey.flight.retry(leg, reason, self._clock.now_s())
        journey.exclude |= {leg.worker.id}
        if not kv_intact or (journey.prefilled is not None and not _alive(call.prefill)):
            journey.prefilled = None
        if journey.prefilled is None and call.prefill is not None:
            call.prefill.abort(call)
        self._place(journey)

    def _end(
        self,
        journey: Journey,
        outcome: Outcome,
        end: End,
        *,
        blamed: Leg | None = None,
        retry_after_s: float = 1.0,
    ) -> None:
        """Any end but a good one."""
        call = journey.call
        if self.journeys.pop(call.id, None) is None:
            return
        self._calls.router = self
        call.state = None
        for replica in (call.prefill, call.decode):
            if replica is not None:
                replica.abort(call)
        journey.flight.finish(outcome, self._clock.now_s(), failed_leg=blamed)
        self._world.end(call, end, retry_after_s)

    def _replica(self, leg: Leg) -> Replica | None:
        return self._world.cluster.pools[leg.pool_id].replicas.get(leg.worker.id)


def _alive(replica: Replica | None) -> bool:
    return replica is not None and replica.alive
