"""One worker as this router sees it: its load and its breaker, and who put the load there.

Invariant: a worker's load is the sum of the charges that live on it.
"""

from dataclasses import dataclass
from typing import Protocol

from weir.domain.planning import WorkerEndpoint

__all__ = ["Charge", "Watching", "Worker"]

_FIRST_EJECTION_S = 0.5
_LONGEST_EJECTION_S = 8.0


class Worker:
    """One engine process. Counts cover what this router has sent and not seen end."""

    __slots__ = (
        "ejected_until_s",
        "endpoint",
        "failures",
        "in_flight",
        "kv_tokens",
        "probing",
        "queued_tokens",
        "served",
    )

    def __init__(self, endpoint: WorkerEndpoint) -> None:
        self.endpoint = endpoint
        self.queued_tokens = 0
        self.in_flight = 0
        self.kv_tokens = 0
        self.served = 0
        self.failures = 0
        self.ejected_until_s = 0.0
        self.probing = False

    @property
    def state(self) -> str:
        """For people: `ready`, `ejected` (its breaker is not closed) or `draining`."""
        if self.endpoint.draining:
            return "draining"
        return "ejected" if self.failures else "ready"

    def usable(self, now_s: float) -> bool:
        """Not draining, and its breaker is closed or due for one probe."""
        if self.endpoint.draining:
            return False
        return not self.failures or (not self.probing and now_s >= self.ejected_until_s)

    def fail(self, now_s: float) -> None:
        """Open the breaker for twice as long as last time. Failing while open adds nothing."""
        if self.failures and now_s < self.ejected_until_s:
            return
        self.failures += 1
        span_s = min(_LONGEST_EJECTION_S, _FIRST_EJECTION_S * 2.0 ** min(self.failures - 1, 10))
        self.ejected_until_s = now_s + span_s

    def succeed(self) -> None:
        """Close the breaker."""
        self.failures = 0
        self.probing = False


class Watching(Protocol):
    """Who remembers which workers are usable and which is the best of them."""

    def touch(self) -> None:
        """A breaker has changed."""

    def recharged(self) -> None:
        """A worker's load has changed."""


@dataclass(slots=True, kw_only=True)
class Charge:
    """What one request holds on one worker. Every method may be called any number of times."""

    pool: Watching
    worker: Worker
    kv_tokens: int
    probe: bool
    queued_tokens: int = 0
    live: bool = True

    def enqueue(self, tokens: int) -> None:
        """The leg is sent: its prompt joins the worker's queue."""
        if self.live:
            self.queued_tokens += tokens
            self.worker.queued_tokens += tokens
            self.pool.recharged()

    def dequeue(self) -> None:
        """Its first token is there: the prompt is no longer queued."""
        self.worker.queued_tokens -= self.queued_tokens
        self.queued_tokens = 0
        self.pool.recharged()

    def succeeded(self) -> None:
        if self.worker.failures:
            self.worker.succeed()
            self.pool.touch()

    def release(self) -> None:
        """Take everything off the worker."""
        if not self.live:
            return
        self.live = False
        self.dequeue()
        self.worker.kv_tokens -= self.kv_tokens
        self.worker.in_flight -= 1
        if self.probe:
            self.worker.probing = False
            self.pool.touch()
