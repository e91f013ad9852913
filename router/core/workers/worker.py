"""One worker as this router sees it: its load, its breaker, and how fast it is.

Invariant: a worker's load is the sum of the charges that live on it, and of what other processes
of this router have told.
"""

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from router.core.workers.pace import Ideal, Pace, Prompts
from weir.domain.planning import WorkerEndpoint

if TYPE_CHECKING:
    from router.core.workers.charge import Charge

__all__ = ["Load", "Rank", "Worker"]

Rank = tuple[float, int, int, int]
"""Of two workers the one with the lesser rank gets the next request."""

_FIRST_EJECTION_S = 0.5
_LONGEST_EJECTION_S = 8.0
_PACE_MEMORY = 32.0


class Load(NamedTuple):
    """Of a process on one worker; `prompts_s` (at pace 1) of prefill in all its time."""

    in_flight: int = 0
    kv_tokens: int = 0
    kv_spread: int = 0
    queued_tokens: int = 0
    decoding: int = 0
    decoding_kv_tokens: int = 0
    prompts_s: float = 0.0
    direct_tokens: int = 0


_NOTHING = Load()


class Worker:
    """One engine process. Counts cover what this router has sent and not seen end.

    `others`: what of them, and of `ideal`, is of other processes.
    `in_flight` includes those whose prompt is still prefilled elsewhere; `queue` has the prompts
    that are there without a first token, in order; a decode worker computes `direct_tokens` of it.
    `kv_tokens` is the KV that they hold on average, `kv_spread` the sum of the squares of how much
    more each may hold.
    `ideal` has the load of those that decode, `prompts` those that do not yet. `pace` is what to
    believe of its speed now, `observed` what it showed itself, until `faded_at_s` all faded.
    `joined_s`: since when it can take its part; infinity until its pool has looked.
    Of the window that its pool judges it by: `errors` that opened its breaker, and `served` before.
    An `outlier` was ejected for them, `terms` times; only a probe closes its breaker.
    `rank` is of before if `stale`, and kept by `Crowd` at `place`.
    """

    __slots__ = (
        "direct_tokens",
        "ejected_until_s",
        "endpoint",
        "errors",
        "faded_at_s",
        "failures",
        "ideal",
        "in_flight",
        "joined_s",
        "kv_spread",
        "kv_tokens",
        "observed",
        "others",
        "outlier",
        "pace",
        "place",
        "probing",
        "prompts",
        "queue",
        "queued_tokens",
        "rank",
        "served",
        "served_before",
        "stale",
        "terms",
    )

    def __init__(self, endpoint: WorkerEndpoint, ideal: Ideal, pace: float) -> None:
        self.endpoint = endpoint
        self.queue: dict[Charge, int] = {}
        self.queued_tokens = 0
        self.direct_tokens = 0
        self.in_flight = 0
        self.kv_tokens = 0
        self.kv_spread = 0
        self.served = 0
        self.served_before = 0
        self.errors = 0
        self.outlier = False
        self.terms = 0
        self.others = _NOTHING
        self.rank: Rank = (0.0, 0, 0, 0)
        self.stale = False
        self.place = 0
        self.faded_at_s = -inf
        self.joined_s = inf
        self.ideal = ideal
        self.prompts = Prompts()
        self.observed = Pace(_PACE_MEMORY)
        self.pace = pace
        self.failures = 0
        self.ejected_until_s = -inf
        self.probing = False

    @property
    def oldest_tokens(self) -> int:
        """Of the prompt that is at its engine longest; 0 without any."""
        return next(iter(self.queue.values()), 0)

    def waited_s(self, now_s: float) -> float:
        """For how long the prompt has waited that is there longest; 0 without any."""
        for charge in self.queue:
            return now_s - charge.sent_s
        return 0.0

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

    def fail(self, now_s: float) -> bool:
        """Open the breaker for twice as long as last time. Failing while open adds nothing.

        Returns whether it was not open before.
        """
        if self.failures and now_s < self.ejected_until_s:
            return False
        self.failures += 1
        span_s = min(_LONGEST_EJECTION_S, _FIRST_EJECTION_S * 2.0 ** min(self.failures - 1, 10))
        self.ejected_until_s = now_s + span_s
        return True

    def eject(self, until_s: float) -> None:
        """Open the breaker until then at least."""
        self.failures = max(1, self.failures)
        self.ejected_until_s = max(until_s, self.ejected_until_s)

    def succeed(self) -> None:
        """Close the breaker."""
        self.failures = 0
        self.outlier = False
        self.probing = False
        self.joined_s = inf
