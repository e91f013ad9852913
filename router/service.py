"""The router's decisions and accounting, joined. The frontend and gRPC call it."""

from collections.abc import Sequence

from router.core.flight import Flight
from router.core.request import Leg, RequestProfile, Route, Shed, Wait
from weir.domain.ids import WorkerId

__all__ = ["Flight", "RouterService"]

_NOBODY: frozenset[WorkerId] = frozenset()


class RouterService:
    """Single-threaded: every method but `place` and `changed` returns without awaiting."""

    def estimate_isl(
        self, model: str, tenant: str, prompt_bytes: int, exact_tokens: int | None = None
    ) -> int:
        """Prompt tokens: `exact_tokens` if known, else from bytes by the learned ratio."""
        raise NotImplementedError

    def decide(
        self,
        profile: RequestProfile,
        now_s: float,
        exclude: frozenset[WorkerId] = _NOBODY,
        prefilled: Leg | None = None,
    ) -> Route | Wait | Shed:
        """Where the request should go now. Changes nothing.

        `exclude`: workers that already failed this request. `prefilled`: the prefill leg is
        done and its KV waits there; only a decode worker is chosen.

        Raises `RequestError`: unknown model (404 model_not_found), too long for every pool
        of the model (400 context_length_exceeded).
        """
        raise NotImplementedError

    def open(self, profile: RequestProfile, now_s: float) -> Flight:
        """A request has arrived: count it in its class. Raises `RequestError` as `decide`."""
        raise NotImplementedError

    async def place(
        self,
        flight: Flight,
        exclude: frozenset[WorkerId] = _NOBODY,
        prefilled: Leg | None = None,
    ) -> Route | Shed:
        """Decide, queue (oldest first) while there is no capacity, and mark the flight sent.

        Returns without suspending when a worker can take it now. Sheds when the queue is
        full or the request has queued for `queue_timeout_s`; `finish(Outcome.SHED, ...)`
        is left to the caller, as is `finish(Outcome.CANCELLED, ...)` when cancelled.
        """
        raise NotImplementedError

    async def changed(self, deadline_s: float) -> bool:
        """Wait for members, plan or load to change; False at `deadline_s` (model time)."""
        raise NotImplementedError

    def models(self) -> Sequence[str]:
        """Names and aliases that clients may use."""
        raise NotImplementedError

    def ready(self) -> str | None:
        """None when some model can be served end to end, else what is missing."""
        raise NotImplementedError
