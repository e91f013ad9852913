"""What the router knows of one request, and what it decides about it.

What is made for every request is not frozen, since that would cost more than all else about it,
nor has it to be made by keywords, which takes twice as long. Nobody changes it all the same.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import inf

from router.core.reuse.ties import Ties
from weir.domain.fleet import RequestClass, Stage
from weir.domain.ids import PoolId
from weir.domain.planning import WorkerEndpoint

__all__ = [
    "Decision",
    "Leg",
    "Outcome",
    "RequestProfile",
    "RetryReason",
    "Route",
    "RouteReason",
    "Shed",
    "ShedReason",
    "Terms",
    "Wait",
    "WaitReason",
]


@dataclass(slots=True)
class RequestProfile:
    """A request as its envelope tells it.

    `model` is what the client wrote (a name or an alias). `isl_tokens` is an estimate from
    `prompt_bytes` unless `isl_exact`. `ttft_s` and `itl_s` replace the class's targets
    as far as they may; None means that the request states none. `priority` is as in vLLM's API:
    larger numbers are served later, 0 is usual; with a `tier`, where larger ones go first, that
    counts for its turn instead. `osl_hint_tokens` is how long the client expects the output to be,
    `asked_class` the class that it asks for by name. `isl_counted`: its text has been counted
    here, only what the template adds is estimated. `ties`: None if nobody can know
    anything of its prompt.
    """

    model: str
    isl_tokens: int
    prompt_bytes: int = 0
    max_tokens: int | None = None
    streaming: bool = False
    tenant: str = ""
    ttft_s: float | None = None
    itl_s: float | None = None
    priority: int | None = None
    isl_exact: bool = False
    isl_counted: bool = False
    osl_hint_tokens: int | None = None
    asked_class: str = ""
    tier: int | None = None
    ties: Ties | None = None


@dataclass(slots=True)
class Leg:
    """One hop of a request: the worker that does one stage of it (or both, if aggregated).

    `cached_tokens` of the prompt are expected to be there already.
    """

    pool_id: PoolId
    worker: WorkerEndpoint
    cached_tokens: int = 0


class RouteReason(StrEnum):
    """Why these pools; of two legs the one further down this list counts."""

    SHARE = "share"
    """It was the pool's turn by its share."""

    CELL = "cell"
    """It is the one that the static grid gives."""

    DIRECT = "direct"
    """A decode worker computes the prompt, which is short, rather than this pool's pair."""

    NO_PREFILL = "no_prefill"
    """A decode worker computes the prompt since no prefill worker is ready."""

    SPILL = "spill"
    """The pool whose turn it was has no worker or no room, or would break a target."""

    OVERLOAD = "overload"
    """No pool is predicted to keep the targets."""

    LAST_RESORT = "last_resort"
    """Only a pool that the plan leaves out has a ready worker."""


@dataclass(slots=True)
class Terms:
    """How far a request that is placed now must leave room to others.

    It goes only where its first token is predicted by `due_s`, unless all is idle: waiting would
    gain nothing. Its prompt goes to no pool in `barred`. Who `yields` goes only behind less than a
    batch; in time, only where less than a batch is queued for each of the pool's workers; `late`,
    leaving some of the sequences that an engine can run; `hopeless`, if idle workers are left.
    """

    due_s: float = inf
    barred: frozenset[PoolId] = frozenset()
    yields: bool = False
    late: bool = False
    hopeless: bool = False


class WaitReason(StrEnum):
    NO_WORKER = "no_worker"
    """No worker is ready for some stage."""

    NO_ROOM = "no_room"
    """Every ready worker has as much work as it can use."""

    NO_TIME = "no_time"
    """Where there is room the first token would be late."""


class ShedReason(StrEnum):
    QUEUE_FULL = "queue_full"
    CLASS_FULL = "class_full"
    """As many of its class wait as may."""

    DISPLACED = "displaced"
    """The queue is full, and somebody has come who goes before it."""

    TOO_LATE = "too_late"
    """It cannot be in time any more, and its class does not wait for that."""

    QUEUE_TIMEOUT = "queue_timeout"
    NO_ENDPOINTS = "no_endpoints"
    """It has waited in vain for the first worker of its pools."""

    NO_PREFILL = "no_prefill"
    """No worker is ready that could begin with its prompt, and it is not to wait for one."""


@dataclass(slots=True)
class Route:
    """Send it there. `prefill` is None when the decode leg's worker does both stages.

    `direct`: although it is of a decode pool. `instead_of`: the prefill pool whose turn it was.
    """

    request_class: RequestClass
    isl_tokens: int
    osl_tokens: int
    prefill: Leg | None
    decode: Leg
    reason: RouteReason
    direct: bool = False
    instead_of: PoolId | None = None


@dataclass(slots=True, kw_only=True)
class Wait:
    """No worker can take it now; it queues until something changes. `stage` is what lacks.

    In the `wanted` pools its first token would be in time if less were queued there.
    """

    request_class: RequestClass
    isl_tokens: int
    osl_tokens: int
    reason: WaitReason
    stage: Stage
    wanted: frozenset[PoolId] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shed:
    """Refused, to be tried again after `retry_after_s`: 429 or 503 to the client."""

    request_class: RequestClass
    reason: ShedReason
    waited_for: WaitReason
    retry_after_s: float

    @property
    def by_rule(self) -> bool:
        """Whether it is what its class may have that lacks, and not only workers."""
        if self.waited_for is WaitReason.NO_WORKER:
            return False
        return self.reason is ShedReason.CLASS_FULL or self.request_class.sheds_late


Decision = Route | Wait | Shed


class Outcome(StrEnum):
    """How a request ends; each ends in exactly one of these."""

    COMPLETED = "completed"
    FAILED = "failed"
    SHED = "shed"
    CANCELLED = "cancelled"


class RetryReason(StrEnum):
    """Why a leg was given up before its first byte reached the client."""

    CONNECT = "connect"
    CLOSED = "closed"
    STATUS = "status"
    TIMEOUT = "timeout"
