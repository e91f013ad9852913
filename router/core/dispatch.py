"""The whole router without clock and I/O: decisions, accounting, and who waits for room.

Whenever load falls, or members, plan or breakers change, requests that wait are placed at once,
before any newer one is looked at.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import inf

from router.core.admit import Admission
from router.core.canary import Canaries
from router.core.choose import Chooser
from router.core.elsewhere import Elsewhere, Told
from router.core.explain import ExplainedFlight, Refused
from router.core.flight import Books, Flight
from router.core.grid import Cells, GridAdmission
from router.core.hints import ASK_FOR_LESS, HintRules
from router.core.lengths.outputs import OutputLengths
from router.core.lengths.prompts import PromptLengths
from router.core.news import News
from router.core.pool import Pool
from router.core.pools import Pools
from router.core.queue.waiting import Place, Waiting, is_late
from router.core.request import (
    Leg,
    RequestProfile,
    Route,
    Shed,
    ShedReason,
    Terms,
    Wait,
    WaitReason,
)
from router.core.traffic import ClassLog, Held, Traffic
from weir.domain.errors import RequestError
from weir.domain.fleet import Fleet, RequestClass
from weir.domain.grid import Grid
from weir.domain.ids import ClassName, PoolId, RouterId, WorkerId
from weir.domain.legs import TWO_LEGS, LegRules, WithoutPrefill
from weir.domain.planning import PoolMembers, RoutingPlan
from weir.domain.telemetry import TrafficSample
from weir.domain.waits import no_endpoints_s

__all__ = ["Dispatch", "DispatchSettings"]

_NOBODY: frozenset[WorkerId] = frozenset()
_NO_POOLS: frozenset[PoolId] = frozenset()
_RETRY_SOON_S = 1.0
_AT_ONCE_S = 1e-6
_PLAN = "plan"
_LOOK_S = 1.0
_LOOKED_AT = 256


def _helps_nobody(_: Place) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchSettings:
    """`bytes_per_token` and `osl_prior_tokens` hold until learned.

    `grid`: pools for the classes of its model that no plan has shares for; all of one model.
    `no_endpoints_timeout_s`: how long requests wait whose pools have no worker; None: for two
    start-ups of the slowest longer than for room.
    """

    bytes_per_token: float = 4.0
    osl_prior_tokens: float = 256.0
    slow_start_s: float = 0.0
    queue_requests: int = 8192
    queue_bytes: int = 2**30
    queue_timeout_s: float = 60.0
    no_endpoints_timeout_s: float | None = None
    hints: HintRules = ASK_FOR_LESS
    grid: Grid | None = None
    legs: LegRules = TWO_LEGS


class Dispatch:
    """A request's way: `open`, `place`, then the flight's own methods up to `finish`.

    `wake` is called with the time at which `admit` is due although nothing may happen until
    then (an ejected worker may be tried again), instead of what it was called with before;
    infinity: not at all. Times do not decrease.
    """

    def __init__(
        self,
        fleet: Fleet,
        router_id: RouterId,
        settings: DispatchSettings,
        wake: Callable[[float], None],
    ) -> None:
        self.pools = Pools(
            fleet.models, fleet.pools, settings.legs, slow_start_s=settings.slow_start_s
        )
        self.traffic = Traffic((c.name for c in fleet.classes), {p.id: p.log for p in self.pools})
        self._settings = settings
        self.waiting = Waiting(
            most_requests=settings.queue_requests,
            most_bytes=settings.queue_bytes,
            classes=fleet.classes,
        )
        self.prompts = PromptLengths(settings.bytes_per_token)
        self.outputs = OutputLengths(settings.osl_prior_tokens)
        self._elsewhere = Elsewhere(self.pools, self.waiting)
        grid = settings.grid
        sizing = Admission if grid is None else partial(GridAdmission, Cells(grid, self.pools))
        self._admission = sizing(
            self.pools, fleet.classes, self.prompts, self.outputs, settings.hints
        )
        self._canaries = Canaries(fleet.models)
        self._news = News()
        self._chooser = Chooser(self.pools, cells=grid is not None)
        self._running: dict[Flight, None] = {}
        self._look_s = self._opened_s = -inf
        self._to_look_at: list[Flight] = []
        self._books = Books(
            pools=self.pools,
            chooser=self._chooser,
            admission=self._admission,
            traffic=self.traffic,
            running=self._running,
            eased=self._eased,
        )
        self._above = self._higher_priority()
        self.plans_refused = dict.fromkeys(("not_understood", "unusable", "old"), 0)
        self.regrids = 0
        self._router_id = router_id
        self._wake = wake
        self._due_s = inf

    # --- requests ----------------------------------------------------------------------

    def estimate_isl(
        self, model: str, tenant: str, prompt_bytes: int, exact_tokens: int | None = None
    ) -> int:
        """Prompt tokens: `exact_tokens` if known, else from bytes by the learned ratio."""
        if exact_tokens is not None:
            return max(1, exact_tokens)
        return self.prompts.estimate(self.pools.resolve(model), tenant, prompt_bytes)

    def near_border(self, profile: RequestProfile) -> bool:
        return self._admission.near_border(profile)

    def counted(self, profile: RequestProfile, text_tokens: int) -> None:
        """The text of its prompt has been counted: only what the template adds is estimated."""
        template = self.prompts.template_tokens(self.pools.resolve(profile.model))
        profile.isl_tokens = max(1, text_tokens + round(template))
        profile.isl_counted = True

    def reuses(self, model: str) -> bool:
        """Whether requests for the model of this name or alias should tell their `ties`."""
        return self.pools.reuses(model)

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

    @property
    def canaries(self) -> frozenset[str]:
        """Names of models that have a canary."""
        return self._canaries.names

    def canary(self, name: str, now_s: float) -> str:
        """The model that it is the turn of, for the next request for `name`, one of `canaries`.

        A model without a ready worker is passed over.
        """
        return self._canaries.turn(name, lambda model: self.pools.ready(model, now_s))

    def open(self, profile: RequestProfile, now_s: float) -> Flight:
        """A request has arrived: count it in its class. Raises `RequestError` as `decide`."""
        if self._to_look_at or now_s >= self._look_s:
            self._look(now_s, min(_LOOK_S, now_s - self._opened_s))
        self._opened_s = now_s
        return Flight(self._books, profile, self._admission.size(profile), now_s)

    def open_explained(self, profile: RequestProfile, now_s: float) -> ExplainedFlight:
        """The same, with a memory of what it was decided on."""
        return ExplainedFlight(self._books, profile, self._admission.size(profile), now_s)

    def _look(self, now_s: float, since_s: float) -> None:
        """Learn from outputs that run: from those that run longest, if there are many.

        A part of them with each request, for the time since the last, so that none waits for all.
        """
        if now_s >= self._look_s:
            self._look_s = now_s + _LOOK_S
            oldest = islice(self._running, _LOOKED_AT)
            self._to_look_at = [flight for flight in oldest if flight.look_at_s <= now_s]
            self._to_look_at.reverse()
        for _ in range(min(len(self._to_look_at), 1 + int(_LOOKED_AT * since_s / _LOOK_S))):
            self._to_look_at.pop().look(now_s)

    def explain_refusal(self, profile: RequestProfile, now_s: float) -> Refused | None:
        """What a request was taken for that `open` refuses; None if not even its model is known."""
        try:
            sized = self._admission.size(profile, any_length=True)
        except RequestError:
            return None
        priority = self._admission.priority(sized, profile)
        return Refused.of(self.pools, profile, sized, priority, now_s)

    def place(
        self,
        flight: Flight,
        now_s: float,
        exclude: frozenset[WorkerId] = _NOBODY,
        prefilled: Leg | None = None,
    ) -> Route | Place | Shed:
        """Send the flight if a worker can take it now, else give it a place in the queue.

        A route has been entered as sent. Whoever holds a place sets its `resume`, asks
        `wait_s` how long to wait, and ends it with `give_up` or `leave`, unless `resume` is called
        before. Who is shed, now or in `resume`, is for the caller to `finish`.
        """
        wait: Wait | None = None
        model = flight.sized.model
        if model.may_refuse and prefilled is None and model.refuses(now_s):
            self.traffic.without_prefill[WithoutPrefill.REFUSE] += 1
            return self._shed(flight, ShedReason.NO_PREFILL, WaitReason.NO_WORKER)
        if not self.waiting.is_behind(flight):
            barred = self.waiting.wanted_before(flight) if self.waiting else _NO_POOLS
            terms = self._terms(flight, barred, prefilled, late=False)
            decision = self._chooser.choose(flight.sized, now_s, exclude, prefilled, terms)
            if isinstance(decision, Route):
                flight.sent(decision, now_s)
                return decision
            wait = decision
        if prefilled is None and not model.runs_on_decode and model.lacks_prefill(now_s):
            self.traffic.without_prefill[WithoutPrefill.QUEUE] += 1
        lack = self.waiting.lacks(flight)
        displaced: list[Place] = []
        if lack is not None:
            displaced = self.waiting.after(flight, lack, now_s)
            if not displaced:
                waited_for = WaitReason.NO_ROOM if wait is None else wait.reason
                return self._shed(flight, lack, waited_for)
            for other in displaced:
                self.waiting.leave(other)
        place = self.waiting.join(flight, exclude, prefilled, now_s)
        if wait is not None and self._may_wait(place, wait, now_s):
            place.line.wait(place, wait, now_s)
        else:
            self._admit(now_s, _helps_nobody)  # It may have become the first in its line.
        if displaced:
            self._shed_all(displaced, ShedReason.DISPLACED)
        settled = place.route or place.shed
        if settled is None:
            self._tell_when_due(now_s)
        return settled or place

    def _may_wait(self, place: Place, wait: Wait, now_s: float) -> bool:
        """Whether its place is where it belongs."""
        return place.latest_s >= now_s and not (place.line.sheds and is_late(place, wait))

    def wait_s(self, place: Place, now_s: float) -> float:
        """How long to wait until this is asked again; 0: it is time for `give_up`."""
        queue_s, no_endpoints_s = self._settings.queue_timeout_s, self._no_endpoints_s(place.flight)
        left_s = self.waiting.left_s(place, now_s, queue_s, no_endpoints_s)
        return min(left_s, queue_s) if left_s > _AT_ONCE_S else 0.0

    def _no_endpoints_s(self, flight: Flight) -> float:
        if self._settings.no_endpoints_timeout_s is not None:
            return self._settings.no_endpoints_timeout_s
        start_ups_s = (p.spec.start_up_s for p in flight.sized.model.pools)
        return no_endpoints_s(self._settings.queue_timeout_s, start_ups_s)

    def give_up(self, place: Place) -> Shed:
        """It has waited too long; `finish(Outcome.SHED, ...)` is left to the caller."""
        self.leave(place)
        absent = place.line.absent
        reason = ShedReason.NO_ENDPOINTS if absent else ShedReason.QUEUE_TIMEOUT
        return self._shed(place.flight, reason, place.line.reason)

    def leave(self, place: Place) -> None:
        """Whoever held the place does not wait any more. Doing it twice changes nothing."""
        self.waiting.leave(place)

    def _shed_all(self, places: Iterable[Place], reason: ShedReason) -> None:
        """They have left the queue, and those who hold the places are told."""
        for place in places:
            place.shed = shed = self._shed(place.flight, reason, place.line.reason)
            if place.resume is not None:
                place.resume(shed)

    def _shed(self, flight: Flight, reason: ShedReason, waited_for: WaitReason) -> Shed:
        self.traffic.classes[flight.request_class.name].sheds[reason] += 1
        return Shed(
            request_class=flight.request_class,
            reason=reason,
            waited_for=waited_for,
            retry_after_s=max(_RETRY_SOON_S, self._room_s(flight, waited_for)),
        )

    def _room_s(self, flight: Flight, waited_for: WaitReason) -> float:
        """Until there is room: a start-up if there is no worker, else until all is worked off.

        By then all who wait now have gone, or have waited too long.
        """
        pools = flight.sized.model.pools
        if waited_for is WaitReason.NO_WORKER:
            return min(p.spec.start_up_s for p in pools)
        workers = sum(p.serving for p in pools)
        return min(self.waiting.work_s(flight) / max(1, workers), self._settings.queue_timeout_s)

    # --- news --------------------------------------------------------------------------

    def apply_members(self, members: PoolMembers, now_s: float) -> bool:
        """A pool's membership, as its planner says; False if it is old news."""
        told = self._news.takes(members.pool_id, members.version, now_s)
        changed = told and self.pools.apply_members(members)
        self._eased(now_s, None)
        return changed

    def apply_plan(self, plan: RoutingPlan, now_s: float) -> bool:
        """The GlobalPlanner's plan; False if it is old news, or known, or cannot be used.

        One that cannot be used is no news: the one before holds as if nothing had come.
        """
        if not self.pools.can_use(plan):
            self.plans_refused["unusable"] += 1
            return False
        told = self._news.takes(_PLAN, (plan.term, plan.version), now_s)
        if not told:
            self.plans_refused["old"] += 1
        changed = told and self.pools.apply_plan(plan)
        if changed and self._admission.follow(plan.targets):
            self._above = self._higher_priority()
            self.waiting.renew(lambda f: self._admission.resize(f.sized, f.profile))
        self._eased(now_s, None)
        return changed

    def plan_misread(self) -> None:
        """A plan has come that nobody understands."""
        self.plans_refused["not_understood"] += 1

    def regrid(self, grid: Grid) -> None:
        """Where requests go from now on as long as no plan says; who waits stays in its cell.

        Of a dispatcher that began with a grid; of pools that it has. Raises `ValueError` else.
        """
        if not isinstance(self._admission, GridAdmission):
            raise ValueError("this router has no grid")
        self._admission.regrid(Cells(grid, self.pools))
        self.regrids += 1

    def load(self) -> Told:
        """What this process has at engines and waiting, for others to be told."""
        return self._elsewhere.own()

    def told(self, process: str, told: Told | None, now_s: float) -> bool:
        """What another process has, all of it; None: it has ended, or nothing is known of it.

        Returns whether there may be more room, so that `admit` is due.
        """
        if told is None:
            return self._elsewhere.forgotten(process, now_s)
        return self._elsewhere.told(process, told, now_s)

    def admit(self, now_s: float) -> None:
        """Send those who wait and can go now, then resume them; `wake` or `told` asked for it.

        If it comes too early it is asked for again.
        """
        self._due_s = inf
        self._eased(now_s, None)

    def _eased(self, now_s: float, pool: Pool | None) -> None:
        """There may be more room, or a worker more to use, in this pool; None: in any."""
        if not self.waiting:
            self._due_s = inf
            return
        if pool is None:
            self._admit(now_s)
            self._tell_when_due(now_s)
            return

        def helps(place: Place) -> bool:
            if place.exclude:
                return True
            prefilled = place.prefilled is not None
            return self._chooser.may_help(
                pool, place.flight.sized, now_s, place.lacking, prefilled=prefilled
            )

        self._admit(now_s, helps)

    def _admit(self, now_s: float, helps: Callable[[Place], bool] | None = None) -> None:
        def decide(place: Place, barred: frozenset[PoolId]) -> Route | Wait:
            return self._decide(place, barred, now_s)

        placed = []
        for place, route in self.waiting.admit(decide, now_s, helps):
            place.flight.sent(route, now_s)
            place.route = route
            placed.append((place, route))
        hopeless = self.waiting.hopeless()
        for place, route in placed:
            if place.resume is not None:
                place.resume(route)
        if hopeless:
            self._shed_all(hopeless, ShedReason.TOO_LATE)

    def _decide(self, place: Place, barred: frozenset[PoolId], now_s: float) -> Route | Wait:
        flight, prefilled = place.flight, place.prefilled
        terms = self._terms(flight, barred, prefilled, late=place.late)
        return self._chooser.choose(flight.sized, now_s, place.exclude, prefilled, terms)

    def _terms(
        self, flight: Flight, barred: frozenset[PoolId], prefilled: Leg | None, *, late: bool
    ) -> Terms:
        """Late ones yield to all, a class to those of a higher priority, if there are any."""
        above = self._above[flight.sized.request_class.name]
        yields = late or (bool(above) and any(log.open for log in above))
        due_s = inf if late or prefilled is not None else flight.due_s
        hopeless = (late or flight.hopeless) and prefilled is None
        return Terms(due_s, barred, yields, late, hopeless)

    def _higher_priority(self) -> dict[ClassName, tuple[ClassLog, ...]]:
        """By class: the logs of those that go first."""
        logs, classes = self.traffic.classes, self._admission.classes
        return {
            c.name: tuple(logs[other.name] for other in classes if other.priority > c.priority)
            for c in classes
        }

    def _tell_when_due(self, now_s: float) -> None:
        """Nothing else may happen until an ejected worker may be tried again, or one is late."""
        due_s = inf
        if self.waiting:
            probes = [pool.next_probe_s(now_s) for pool in self.pools]
            due_s = min(self.waiting.next_late_s(), *probes)
        if due_s != self._due_s:
            self._due_s = due_s
            self._wake(due_s)

    # --- views -------------------------------------------------------------------------

    @property
    def classes(self) -> Sequence[RequestClass]:
        """In the document's order, with what they are to meet now."""
        return self._admission.classes

    def models(self) -> Sequence[str]:
        """Names and aliases that clients may use."""
        return self.pools.names

    def ready(self, now_s: float) -> str | None:
        """None when some model can be served end to end, else what is missing."""
        missing = [model.ready(now_s) for model in self.pools.models]
        if None in missing:
            return None
        return "; ".join(reason for reason in missing if reason) or "no model has a pool"

    def sample(self, window_s: float, now_s: float) -> TrafficSample:
        """Close the window that has lasted `window_s` and return what it saw."""
        return self.traffic.close_window(self._router_id, window_s, self._held(), now_s)

    def _held(self) -> dict[PoolId, Held]:
        """Prompt tokens waiting here, by the pools that should have taken them."""
        tokens: dict[PoolId, float] = {}
        hopeless: dict[PoolId, float] = {}
        for model, class_name, stage, held in self.waiting.held():
            weights = self.pools.shares(class_name, model, stage).weights
            if not weights:
                pools = model.of(stage)
                weights = {pool.id: 1.0 / len(pools) for pool in pools}
            for pool_id, weight in weights.items():
                tokens[pool_id] = tokens.get(pool_id, 0.0) + weight * held.tokens
                hopeless[pool_id] = hopeless.get(pool_id, 0.0) + weight * held.hopeless_tokens
        return {
            pool_id: Held(tokens=round(total), hopeless_tokens=round(hopeless[pool_id]))
            for pool_id, total in tokens.items()
        }
