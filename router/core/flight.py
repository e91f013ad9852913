"""One request's accounting: whatever happens to it, every charge is released exactly once."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from router.core.admit import Admission, Sized
from router.core.choose import Chooser
from router.core.lengths.lifetable import beyond
from router.core.pool import Pool
from router.core.pools import Pools
from router.core.request import Leg, Outcome, RequestProfile, RetryReason, Route
from router.core.reuse.ties import Ties
from router.core.traffic import Traffic
from router.core.workers.charge import Charge
from weir.compiled import mypyc_attr
from weir.domain.fleet import RequestClass

__all__ = ["Books", "Flight"]

_PREDICTED_BY = 0.97
"""Share of the TTFT target: predictions are somewhat too early."""

_LOOK_AFTER_S = 1.0
_SURE = 1.1
"""Gaps between tokens are known to within so much."""

_COMPLETED = Outcome.COMPLETED


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Where flights are entered. `running` are those whose output is on its way, the oldest first.

    `eased` is called when there may be more room in a pool or one more worker to use, with None
    where it may be any.
    """

    pools: Pools
    chooser: Chooser
    admission: Admission
    traffic: Traffic
    running: dict["Flight", None]
    eased: Callable[[float, Pool | None], None]


@mypyc_attr(allow_interpreted_subclasses=True)
class Flight:
    """A request between its arrival and its one end. `Dispatch.open` makes it.

    Calls in order: `sent` (made by `Dispatch.place`), `prefill_done` (two legs only),
    `first_token`, `finish`. `retry` gives up the current route; another `sent` follows.
    """

    __slots__ = (
        "_books",
        "_decode",
        "_decodes_since_s",
        "_first_token_s",
        "_head",
        "_log",
        "_passed",
        "_prefilled",
        "_reserved",
        "arrived_s",
        "finished",
        "hopeless",
        "look_at_s",
        "new_tokens",
        "profile",
        "route",
        "sized",
    )

    def __init__(self, books: Books, profile: RequestProfile, sized: Sized, now_s: float) -> None:
        self.profile = profile
        self.sized = sized
        self.arrived_s = now_s
        self.route: Route | None = None
        self.finished = False
        self._books = books
        self._head: Charge | None = None
        self._decode: Charge | None = None
        self._decodes_since_s: float | None = None
        self._reserved: Charge | None = None
        self._prefilled: Leg | None = None
        self._first_token_s: float | None = None
        self._passed = 0
        self.look_at_s = inf
        """When there will be something to learn of it by `look`."""
        self._log = books.traffic.classes[sized.request_class.name]
        self.new_tokens = sized.isl_tokens
        """Of its prompt; without what a decode worker had that might do the rest, when it came."""
        if sized.ties is not None:
            self.new_tokens = sized.model.new_tokens(sized.ties, sized.isl_tokens, now_s)
        self.hopeless = _hopeless(sized, self.new_tokens)
        """Whether it would miss a target even if it were alone, as engines were when it came."""
        self._log.arrived(sized.isl_tokens, hopeless=self.hopeless)
        self._log.queued += 1

    def resize(self, sized: Sized) -> None:
        """What it is to meet has changed while it waits."""
        self.sized, self.hopeless = sized, _hopeless(sized, self.new_tokens)

    @property
    def due_s(self) -> float:
        """By when its first token has to be predicted, for it to be in time."""
        return self.arrived_s + _PREDICTED_BY * self.sized.ttft_s

    @property
    def request_class(self) -> RequestClass:
        return self.sized.request_class

    @property
    def priority(self) -> int:
        """Among requests that wait, whose is higher goes first."""
        return self._books.admission.priority(self.sized, self.profile)

    @property
    def patience_s(self) -> float:
        """How much later than others of its class it is content to get its first token."""
        if self.profile.ttft_s is None:
            return 0.0
        of_class_s = self.request_class.slo.ttft_s
        return self.sized.ttft_s - of_class_s if of_class_s < inf else 0.0

    def denied(self) -> tuple[str, ...]:
        """Fields of its profile that ask for more than it may have."""
        return self._books.admission.denied(self.sized, self.profile)

    def sent(self, route: Route, now_s: float) -> None:
        """Charge the route's workers. Call it in the same step as the decision.

        If the route's prefill leg is the very one that is done, only decode is charged.
        """
        if self.finished:
            return
        if self.route is not None:
            self._land(now_s)
        self.route = route
        self._log.queued -= 1
        self._books.traffic.routes[route.reason] += 1
        prefilled = route.prefill is not None and route.prefill is self._prefilled
        self._books.chooser.sent(self.sized, route, prefilled=prefilled)
        alone = route.prefill is None or prefilled
        sized, decode, pools = self.sized, route.decode, self._books.pools
        reserved = self._reserved = pools[decode.pool_id].charge(
            decode.worker, sized.kv_tokens, sized.kv_spread, None if alone else now_s
        )
        if route.direct:
            reserved.direct = True
        if alone:
            self._send_decode(now_s)
            if self.sized.ties is not None and route.prefill is None:
                self._remember(route.decode, self.sized.ties, now_s)
            return
        assert route.prefill is not None
        self._prefilled = None
        leg = route.prefill
        head = self._head = pools[leg.pool_id].charge(leg.worker)
        head.depart(
            self.sized.isl_tokens, now_s, hopeless=self.hopeless, cached_tokens=leg.cached_tokens
        )
        if self.sized.ties is not None:
            self._remember(leg, self.sized.ties, now_s)

    def prefill_done(self, now_s: float) -> None:
        """The prefill leg has answered; its worker's queue is shorter."""
        head = self._head
        if head is None or self.route is None:
            return
        self._prefilled = self.route.prefill
        head.prefilled(now_s)
        self._head = None
        self._send_decode(now_s)
        self._books.eased(now_s, head.pool)

    def first_token(self, now_s: float) -> None:
        """The first token is on its way to the client. Only the first call counts.

        A response that is not streamed shows no first token: this then says no more than
        that its worker has answered.
        """
        if self.finished or self._first_token_s is not None or self.route is None:
            return
        self.prefill_done(now_s)
        self._first_token_s = now_s
        decode = self._decode
        eased = False
        if self.profile.streaming:
            self._log.first_token(max(0.0, now_s - self.arrived_s))
            self._decodes(now_s)
            self._books.running[self] = None
            eased = decode is not None and decode.first_token(now_s)
        elif decode is not None:
            eased = decode.succeeded()
        if eased and decode is not None:
            self._books.eased(now_s, decode.pool)

    def retry(self, leg: Leg, reason: RetryReason, now_s: float) -> None:
        """The worker of `leg` failed before any byte reached the client: release the route."""
        self._books.traffic.retries[reason] += 1
        self._blame(leg, now_s)
        if reason is RetryReason.CONNECT:
            self._books.pools[leg.pool_id].forget(leg.worker.id)
        if self.route is not None:
            self._land(now_s)
        self._books.eased(now_s, None)

    def finish(
        self,
        outcome: Outcome,
        now_s: float,
        prompt_tokens: int | None = None,
        output_tokens: int | None = None,
        failed_leg: Leg | None = None,
    ) -> None:
        """End the request and release what it holds. Further calls change nothing.

        `prompt_tokens` and `output_tokens` as the engine reported or the frontend counted
        them, None if unknown. `failed_leg` blames a worker (its breaker opens).
        """
        if self.finished:
            return
        if outcome is not _COMPLETED:
            self.look(now_s)
        if failed_leg is not None:
            self._blame(failed_leg, now_s)
        elif outcome is Outcome.FAILED:
            self._count_failed_leg()
        decoding_s = 0.0 if self._decodes_since_s is None else now_s - self._decodes_since_s
        osl = self.sized.osl_tokens if output_tokens is None else output_tokens
        itl_s = self._itl_s(outcome, now_s, output_tokens)
        eased = None
        if outcome is _COMPLETED and self._decode is not None:
            self._decode.completed(osl, itl_s, now_s)
            eased = self._decode.pool
            ties, route = self.sized.ties, self.route
            if ties is not None and ties.session and route is not None:
                eased.stays(ties.session, route.decode, self.sized.isl_tokens + osl)
            if ties is not None and eased.kept is not None and route is not None:
                self._land(now_s)  # Its KV is kept in what does not run.
                eased.decoded(route.decode, ties, self.sized.isl_tokens)
        if self.route is not None:
            self._land(now_s)
        self._log.queued -= 1
        self._log.ended(
            outcome,
            duration_s=max(0.0, now_s - self.arrived_s),
            decoding_s=max(0.0, decoding_s),
            osl_tokens=osl,
            itl_s=itl_s,
        )
        self.finished = True
        self._learn(outcome, prompt_tokens, output_tokens)
        # Where it was the last of its class, who yields to that may have room in any pool.
        self._books.eased(now_s, eased if self._log.open else None)

    def look(self, now_s: float) -> None:
        """Learn from how much has been put out by now, without waiting for the end."""
        decode = self._decode
        if self._first_token_s is None or decode is None or not self.profile.streaming:
            return
        so_far, most = decode.put_out_tokens(now_s), self.profile.max_tokens
        whole = most is not None and so_far >= most
        if most is not None and whole:
            so_far = float(most)
        self._passed = self._books.admission.outputs.has_passed(
            self.sized.shape, self.profile.tenant, so_far, self._passed
        )
        if whole:
            self.look_at_s = inf
        elif so_far > 0.0 and self._decodes_since_s is not None:
            lasts = beyond(self._passed) / so_far
            self.look_at_s = self._decodes_since_s + lasts * (now_s - self._decodes_since_s)

    def reused(self, prompt_tokens: int | None, cached_tokens: int) -> None:
        """The engine that computed the prompt says how much of it was there already.

        Before `prefill_done` if it was a prefill leg, else before `finish`.
        """
        route = self.route
        if route is None or self.finished:
            return
        leg, charge = route.prefill or route.decode, self._head or self._decode
        pool = self._books.pools[leg.pool_id]
        if pool.reuse is None or charge is None or charge.pool is not pool:
            return
        isl_tokens = self.sized.isl_tokens
        if prompt_tokens:  # What was expected is in tokens of the estimate.
            cached_tokens = round(cached_tokens * isl_tokens / prompt_tokens)
        if pool.reuse.told(isl_tokens, leg.cached_tokens, cached_tokens):
            charge.reused(cached_tokens)

    def _remember(self, leg: Leg, ties: Ties, now_s: float) -> None:
        self._books.pools[leg.pool_id].remember(leg, ties, self.sized.isl_tokens, now_s)

    def _send_decode(self, now_s: float) -> None:
        """The leg that answers the client goes out on the charge reserved for it."""
        decode = self._reserved
        if decode is None:
            return
        self._decode, self._reserved = decode, None
        streaming = self.profile.streaming
        decode.depart(
            self.sized.isl_tokens,
            now_s,
            streamed=streaming,
            hopeless=self.hopeless and decode.pool.mixes,
            cached_tokens=0 if self.route is None else self.route.decode.cached_tokens,
        )
        if not streaming:
            self._decodes(now_s)

    def _decodes(self, now_s: float) -> None:
        """It decodes from its first token on; from when it was sent where none is seen."""
        self._decodes_since_s = now_s
        self.look_at_s = now_s + _LOOK_AFTER_S
        self._log.decodes(now_s)

    def _land(self, now_s: float) -> None:
        """Take the request off its workers: it is queued here again, or about to end."""
        for charge in (self._head, self._decode, self._reserved):
            if charge is not None:
                charge.release(now_s)
        self._head = self._decode = self._reserved = None
        if self._decodes_since_s is not None:
            self._log.decoded(now_s)
            self._decodes_since_s = None
        self._books.running.pop(self, None)
        self.route = None
        self._log.queued += 1

    def _blame(self, leg: Leg, now_s: float) -> None:
        self._books.traffic.pools[leg.pool_id].leg_failed()
        self._books.pools[leg.pool_id].fail(leg.worker.id, now_s)

    def _count_failed_leg(self) -> None:
        route = self.route
        if route is None:
            return
        leg = route.prefill if self._head is not None else route.decode
        if leg is not None:
            self._books.traffic.pools[leg.pool_id].leg_failed()

    def _itl_s(self, outcome: Outcome, now_s: float, output_tokens: int | None) -> float | None:
        """Mean gap between the output tokens; None where it cannot be seen."""
        first_s = self._first_token_s
        if outcome is not _COMPLETED or first_s is None or not self.profile.streaming:
            return None
        if output_tokens is None or output_tokens < 2:
            return None
        return max(0.0, now_s - first_s) / (output_tokens - 1)

    def _learn(self, outcome: Outcome, prompt: int | None, output: int | None) -> None:
        admission, profile, name = self._books.admission, self.profile, self.sized.model.name
        if prompt is not None and not profile.isl_exact:
            admission.prompts.observe(
                name,
                profile.tenant,
                prompt_bytes=profile.prompt_bytes,
                prompt_tokens=prompt,
                estimated_tokens=None if profile.isl_counted else profile.isl_tokens,
            )
        if output is not None and outcome is _COMPLETED:
            sized = self.sized
            admission.outputs.ended(sized.shape, profile.tenant, output, self._passed, sized.output)


def _hopeless(sized: Sized, new_tokens: int) -> bool:
    model, ttft_s, itl_s = sized.model, sized.ttft_s, sized.itl_s
    if ttft_s < inf and not model.first_within(new_tokens, ttft_s):
        return True
    return itl_s < inf and not model.itl_within(sized.kv_tokens, _SURE * itl_s)
