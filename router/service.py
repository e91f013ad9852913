"""The dispatcher with a clock: who waits is a coroutine, and traffic is published.

Single-threaded: only `place` and `publish_traffic` suspend.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from router.core.dispatch import Dispatch, DispatchSettings
from router.core.elsewhere import Told
from router.core.explain import ExplainedFlight, Refused
from router.core.flight import Flight
from router.core.hints import ASK_FOR_LESS, HintRules
from router.core.queue.waiting import Place
from router.core.request import Leg, RequestProfile, Route, Shed, Wait
from router.ports import TrafficSink
from weir.domain.fleet import Fleet
from weir.domain.grid import Grid
from weir.domain.ids import ModelName, RouterId, WorkerId
from weir.domain.legs import TWO_LEGS, LegRules
from weir.domain.planning import PoolMembers, RoutingPlan
from weir.domain.telemetry import TrafficSample
from weir.runtime.clock import Clock

__all__ = ["Flight", "RouterService", "ServiceSettings"]

_NOBODY: frozenset[WorkerId] = frozenset()
_SOONEST_RETRY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """Times are model seconds. `bytes_per_token` and `osl_prior_tokens` hold until learned.

    `grid`, `legs` and the queue's: as in `DispatchSettings`.
    """

    queue_timeout_s: float = 60.0
    no_endpoints_timeout_s: float | None = None
    sample_interval_s: float = 1.0
    bytes_per_token: float = 4.0
    osl_prior_tokens: float = 256.0
    slow_start_s: float = 0.0
    queue_requests: int = 8192
    queue_bytes: int = 2**30
    hints: HintRules = ASK_FOR_LESS
    grid: Grid | None = None
    legs: LegRules = TWO_LEGS


class RouterService:
    """What the frontend, gRPC and NATS call; `Dispatch` says what each call means."""

    def __init__(
        self, fleet: Fleet, clock: Clock, router_id: RouterId, settings: ServiceSettings
    ) -> None:
        self.clock = clock
        self._settings = settings
        self._probe: asyncio.TimerHandle | None = None
        self._dispatch = Dispatch(
            fleet,
            router_id,
            DispatchSettings(
                bytes_per_token=settings.bytes_per_token,
                osl_prior_tokens=settings.osl_prior_tokens,
                slow_start_s=settings.slow_start_s,
                queue_requests=settings.queue_requests,
                queue_bytes=settings.queue_bytes,
                queue_timeout_s=settings.queue_timeout_s,
                no_endpoints_timeout_s=settings.no_endpoints_timeout_s,
                hints=settings.hints,
                grid=settings.grid,
                legs=settings.legs,
            ),
            self._wake,
        )
        self.pools = self._dispatch.pools
        self.traffic = self._dispatch.traffic
        self.waiting = self._dispatch.waiting
        self.prompts = self._dispatch.prompts
        self.outputs = self._dispatch.outputs

    # --- requests ----------------------------------------------------------------------

    def estimate_isl(
        self, model: str, tenant: str, prompt_bytes: int, exact_tokens: int | None = None
    ) -> int:
        return self._dispatch.estimate_isl(model, tenant, prompt_bytes, exact_tokens)

    def resolve(self, model: str) -> ModelName:
        """The model of this name or alias."""
        return self.pools.resolve(model)

    def near_border(self, profile: RequestProfile) -> bool:
        return self._dispatch.near_border(profile)

    def counted(self, profile: RequestProfile, text_tokens: int) -> None:
        self._dispatch.counted(profile, text_tokens)

    def reuses(self, model: str) -> bool:
        return self._dispatch.reuses(model)

    @property
    def reads_kv_events(self) -> bool:
        return self.pools.read_kv_events

    def decide(
        self,
        profile: RequestProfile,
        now_s: float,
        exclude: frozenset[WorkerId] = _NOBODY,
        prefilled: Leg | None = None,
    ) -> Route | Wait:
        return self._dispatch.decide(profile, now_s, exclude, prefilled)

    @property
    def canaries(self) -> frozenset[str]:
        return self._dispatch.canaries

    def canary(self, name: str) -> str:
        return self._dispatch.canary(name, self.clock.now_s())

    def open(self, profile: RequestProfile, now_s: float) -> Flight:
        return self._dispatch.open(profile, now_s)

    def open_explained(self, profile: RequestProfile, now_s: float) -> ExplainedFlight:
        return self._dispatch.open_explained(profile, now_s)

    async def place(
        self,
        flight: Flight,
        exclude: frozenset[WorkerId] = _NOBODY,
        prefilled: Leg | None = None,
    ) -> Route | Shed:
        """Decide, queue while there is no room, and mark the flight sent.

        Returns without suspending when a worker can take it now. Of who is shed
        `finish(Outcome.SHED, ...)` is left to the caller, as is `finish(Outcome.CANCELLED, ...)`
        when cancelled.
        """
        placed = self._dispatch.place(flight, self.clock.now_s(), exclude, prefilled)
        if isinstance(placed, Place):
            placed = await self._wait(placed)
        return self._in_wall_time(placed) if isinstance(placed, Shed) else placed

    async def _wait(self, place: Place) -> Route | Shed:
        loop = asyncio.get_running_loop()
        called: asyncio.Future[Route | Shed] = loop.create_future()
        timer: asyncio.TimerHandle | None = None

        def resume(found: Route | Shed) -> None:
            if not called.done():
                called.set_result(found)

        def look() -> None:
            nonlocal timer
            left_s = self._dispatch.wait_s(place, self.clock.now_s())
            if left_s > 0.0:
                timer = loop.call_later(self.clock.wall_span_s(left_s), look)
            elif not place.left:
                resume(self._dispatch.give_up(place))

        place.resume = resume
        look()
        try:
            return await called
        finally:
            if timer is not None:
                timer.cancel()
            self._dispatch.leave(place)

    def _in_wall_time(self, shed: Shed) -> Shed:
        wall_s = math.ceil(self.clock.wall_span_s(shed.retry_after_s))
        return replace(shed, retry_after_s=max(_SOONEST_RETRY_S, wall_s))

    # --- news --------------------------------------------------------------------------

    def apply_members(self, members: PoolMembers) -> bool:
        return self._dispatch.apply_members(members, self.clock.now_s())

    def apply_plan(self, plan: RoutingPlan) -> bool:
        return self._dispatch.apply_plan(plan, self.clock.now_s())

    def plan_misread(self) -> None:
        self._dispatch.plan_misread()

    @property
    def plans_refused(self) -> Mapping[str, int]:
        return self._dispatch.plans_refused

    @property
    def regrids(self) -> int:
        return self._dispatch.regrids

    def regrid(self, grid: Grid) -> None:
        self._dispatch.regrid(grid)

    def load(self) -> Told:
        return self._dispatch.load()

    def told(self, process: str, told: Told | None) -> bool:
        return self._dispatch.told(process, told, self.clock.now_s())

    def admit(self) -> None:
        self._dispatch.admit(self.clock.now_s())

    def _wake(self, at_s: float) -> None:
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None
        if at_s < math.inf:
            delay_s = self.clock.wall_span_s(at_s - self.clock.now_s()) + 1e-3
            self._probe = asyncio.get_running_loop().call_later(delay_s, self._admit, at_s)

    def _admit(self, at_s: float) -> None:
        # The timer may run a little early by the model clock.
        self._dispatch.admit(max(at_s, self.clock.now_s()))

    # --- views -------------------------------------------------------------------------

    def explain_refusal(self, profile: RequestProfile) -> Refused | None:
        return self._dispatch.explain_refusal(profile, self.clock.now_s())

    def models(self) -> Sequence[str]:
        return self._dispatch.models()

    def ready(self) -> str | None:
        return self._dispatch.ready(self.clock.now_s())

    # --- traffic -----------------------------------------------------------------------

    def sample(self, window_s: float, now_s: float) -> TrafficSample:
        return self._dispatch.sample(window_s, now_s)

    async def publish_traffic(self, sink: TrafficSink) -> None:
        """Publish a sample each interval until cancelled, also when nothing happens."""
        interval_s = self._settings.sample_interval_s
        began_s = self.clock.now_s()
        due_s = began_s + interval_s
        while True:
            await self.clock.sleep(due_s - self.clock.now_s())
            now_s = self.clock.now_s()
            sink.publish(self.sample(now_s - began_s, now_s))
            began_s = now_s
            due_s = max(due_s + interval_s, now_s)
