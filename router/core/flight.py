"""One request's accounting: whatever happens to it, every charge is released exactly once."""

from router.core.request import Leg, Outcome, RequestProfile, RetryReason, Route
from weir.domain.fleet import RequestClass

__all__ = ["Flight"]


class Flight:
    """A request between its arrival and its one end. `RouterService.open` makes it.

    Calls in order: `sent` (by `RouterService.place`, or after `RouterService.decide`),
    `prefill_done` (two legs only), `first_token`, `finish`. `retry` gives up the current
    route; `sent` follows with the next one.
    """

    profile: RequestProfile
    request_class: RequestClass
    osl_tokens: int
    arrived_s: float
    route: Route | None
    finished: bool

    def sent(self, route: Route, now_s: float) -> None:
        """Charge the route's workers. Call it in the same step as the decision.

        After `prefill_done`, a route whose prefill leg is the one that was done charges its
        decode leg only.
        """
        raise NotImplementedError

    def prefill_done(self, now_s: float) -> None:
        """The prefill leg has answered; its worker's queue is shorter."""
        raise NotImplementedError

    def first_token(self, now_s: float) -> None:
        """The first token left for the client. Only the first call counts."""
        raise NotImplementedError

    def retry(self, leg: Leg, reason: RetryReason, now_s: float) -> None:
        """The worker of `leg` failed before any byte reached the client: release the route."""
        raise NotImplementedError

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
        raise NotImplementedError
