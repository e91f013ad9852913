"""The router's decisions and accounting, joined. The frontend and gRPC call it.

Single-threaded: only `place` and `publish_traffic` suspend. Whenever load falls, members or
the plan change, requests that wait are placed at once, before any newer one is looked at.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

from router.core.admit import Admission
from router.core.choose import Chooser
from router.core.flight import Books, Flight
from router.core.lengths import OutputLengths, PromptLengths
from router.core.pools import ModelPools, Pools
from router.core.request import Leg, RequestProfile, Route, Shed, ShedReason, Wait, WaitReason
from router.core.shares import SmoothShares
from router.core.traffic import Traffic
from router.core.waiting import Place, Waiting
from router.ports import TrafficSink
from weir.domain.fleet import Fleet, Stage
from weir.domain.ids import ClassName, PoolId, RouterId, WorkerId
from weir.domain.planning import PoolMembers, RoutingPlan
from weir.domain.telemetry import TrafficSample
from weir.runtime.clock import Clock

__all__ = ["Flight", "RouterService", "ServiceSettings"]

_NOBODY: frozenset[WorkerId] = frozenset()
_RETRY_SOON_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """Times are model seconds. `bytes_per_token` and `osl_prior_tokens` hold until learned."""

    queue_timeout_s: float = 60.0
    sample_interval_s: float = 1.0
    bytes_per_token: float = 4.0
    osl_prior_tokens: float = 256.0
    queue_requests: int = 8192
    queue_bytes: int = 2**30


class RouterService:
    def __init__(
        self, fleet: Fleet, clock: Clock, router_id: RouterId, settings: ServiceSettings
    ) -> None:
        self.pools = Pools(fleet.models, fleet.pools)
        self.traffic = Traffic((c.name for c in fleet.classes), (p.id for p in fleet.pools))
        self.waiting = Waiting(
            most_requests=settings.queue_requests, most_bytes=settings.queue_bytes
        )
        self._admission = Admission(
            self.pools,
            fleet.classes,
            PromptLengths(settings.bytes_per_token),
            OutputLengths(settings.osl_prior_tokens),
        )
        self._chooser = Chooser(self.pools, SmoothShares())
        self._books = Books(
            pools=self.pools,
            chooser=self._chooser,
            admission=self._admission,
            traffic=self.traffic,
            changed=self._admit_waiting,
        )
        self.clock = clock
        self._router_id = router_id
        self._settings = settings
        self._called: dict[int, asyncio.Future[Route]] = {}
        self._probe: asyncio.TimerHandle | None = None

    # --- requests ----------------------------------------------------------------------

    def estimate_isl(
        self, model: str, tenant: str, prompt_bytes: int, exact_tokens: int | None = None
    ) -> int:
        """Prompt tokens: `exact_tokens` if known, else from bytes by the learned ratio."""
        if exact_tokens is not None:
            return max(1, exact_tokens)
        return self._admission.prompts.estimate(self.pools.resolve(model), tenant, prompt_bytes)

    def decide(
        self,
        profile: RequestProfile,
        now_s: float,
        exclude: frozenset[WorkerId] = _NOBODY,
        prefilled: Leg | None = None,
    ) -> Route | Wait:
        """Where the request would go now. Changes nothing.

        `exclude`: workers that already failed this request, taken only if there are no
        others. `prefilled`: the prefill leg is done and its KV waits there; only a decode
        worker is chosen.

        Raises `RequestError`: unknown model (404 model_not_found), too long for every pool
        of the model (400 context_length_exceeded).
        """
        sized = self._admission.size(profile)
        return self._chooser.choose(sized, now_s, exclude, prefilled)

    def open(self, profile: RequestProfile, now_s: float) -> Flight:
        """A request has arrived: count it in its class. Raises `RequestError` as `decide`."""
        return Flight(self._books, profile, self._admission.size(profile), now_s)

    async def place(
        self,
        flight: Flight,
        exclude: frozenset[WorkerId] = _NOBODY,
        prefilled: Leg | None = None,
    ) -> Route | Shed:
        """Decide, queue while there is no room, and mark the flight sent.

        Returns without suspending when a worker can take it now. Sheds when the queue is
        full or the request has queued for `queue_timeout_s`; `finish(Outcome.SHED, ...)`
        is left to the caller, as is `finish(Outcome.CANCELLED, ...)` when cancelled.
        """
        waited_for = WaitReason.NO_ROOM
        if not self.waiting.is_behind(flight):
            now_s = self.clock.now_s()
            decision = self._chooser.choose(flight.sized, now_s, exclude, prefilled)
            if isinstance(decision, Route):
                flight.sent(decision, now_s)
                return decision
            waited_for = decision.reason
        place = self.waiting.join(flight, exclude, prefilled)
        if place is None:
            return self._shed(flight, ShedReason.QUEUE_FULL, waited_for)
        return await self._wait(place)

    async def _wait(self, place: Place) -> Route | Shed:
        called: asyncio.Future[Route] = asyncio.get_running_loop().create_future()
        self._called[id(place)] = called
        # Joining may have put it first in its line; also arms the probe timer.
        self._admit_waiting()
        try:
            async with asyncio.timeout(self.clock.wall_span_s(self._settings.queue_timeout_s)):
                return await called
        except TimeoutError:
            if called.done() and not called.cancelled():
                return called.result()
            return self._shed(place.flight, ShedReason.QUEUE_TIMEOUT, place.reason)
        finally:
            self.waiting.leave(place)
            del self._called[id(place)]

    def _shed(self, flight: Flight, reason: ShedReason, waited_for: WaitReason) -> Shed:
        return Shed(
            request_class=flight.request_class,
            reason=reason,
            waited_for=waited_for,
            retry_after_s=self._retry_after_s(flight, waited_for),
        )

    def _retry_after_s(self, flight: Flight, waited_for: WaitReason) -> float:
        """Wall seconds: soon if it is only crowded, a start-up time if there is no worker."""
        if waited_for is WaitReason.NO_ROOM:
            return _RETRY_SOON_S
        start_up_s = min(p.spec.start_up_s for p in flight.sized.model.pools)
        return max(_RETRY_SOON_S, math.ceil(self.clock.wall_span_s(start_up_s)))

    # --- news --------------------------------------------------------------------------

    def apply_members(self, members: PoolMembers) -> bool:
        """A pool's membership, as its planner says; False if it is old news."""
        changed = self.pools.apply_members(members)
        self._admit_waiting()
        return changed

    def apply_plan(self, plan: RoutingPlan) -> bool:
        """The GlobalPlanner's plan; False if it is old news."""
        changed = self.pools.apply_plan(plan)
        self._admit_waiting()
        return changed

    def _admit_waiting(self) -> None:
        if not self.waiting:
            return
        now_s = self.clock.now_s()

        def decide(place: Place) -> Route | Wait:
            return self._chooser.choose(place.flight.sized, now_s, place.exclude, place.prefilled)

        for place, route in self.waiting.admit(decide, now_s):
            called = self._called[id(place)]
            if not called.done():
                place.flight.sent(route, now_s)
                called.set_result(route)
        self._arm_probe(now_s)

    def _arm_probe(self, now_s: float) -> None:
        """Look again when the next ejected worker may be tried: nothing else may happen."""
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None
        if not self.waiting:
            return
        at_s = min((pool.next_probe_s(now_s) for pool in self.pools), default=math.inf)
        if at_s < math.inf:
            delay_s = self.clock.wall_span_s(at_s - now_s) + 1e-3
            self._probe = asyncio.get_running_loop().call_later(delay_s, self._admit_waiting)

    # --- views -------------------------------------------------------------------------

    def models(self) -> Sequence[str]:
        """Names and aliases that clients may use."""
        return self.pools.names

    def ready(self) -> str | None:
        """None when some model can be served end to end, else what is missing."""
        now_s = self.clock.now_s()
        missing = [model.ready(now_s) for model in self.pools.models]
        if None in missing:
            return None
        return "; ".join(reason for reason in missing if reason) or "no model has a pool"

    # --- traffic -----------------------------------------------------------------------

    def sample(self, window_s: float) -> TrafficSample:
        """Close the window that has lasted `window_s` and return what it saw."""
        return self.traffic.close_window(self._router_id, window_s, self._held_tokens())

    def _held_tokens(self) -> dict[PoolId, int]:
        """Prompt tokens waiting here, by the pools that should have taken them."""
        lines: dict[tuple[ModelPools, ClassName, Stage], int] = {}
        for place in self.waiting:
            sized = place.flight.sized
            line = (sized.model, sized.request_class.name, place.stage)
            lines[line] = lines.get(line, 0) + sized.isl_tokens
        held: dict[PoolId, float] = {}
        for (model, class_name, stage), tokens in lines.items():
            weights = self.pools.shares(class_name, model, stage).weights
            if not weights:
                pools = model.of(stage)
                weights = {pool.id: 1.0 / len(pools) for pool in pools}
            for pool_id, weight in weights.items():
                held[pool_id] = held.get(pool_id, 0.0) + weight * tokens
        return {pool_id: round(tokens) for pool_id, tokens in held.items()}

    async def publish_traffic(self, sink: TrafficSink) -> None:
        """Publish a sample each interval until cancelled, also when nothing happens."""
        interval_s = self._settings.sample_interval_s
        began_s = self.clock.now_s()
        due_s = began_s + interval_s
        while True:
            await self.clock.sleep(due_s - self.clock.now_s())
            now_s = self.clock.now_s()
            sink.publish(self.sample(now_s - began_s))
            began_s = now_s
            due_s = max(due_s + interval_s, now_s)
