"""What a simple scaler is shown of a pool: what a metrics server, an engine and a router tell."""

from dataclasses import dataclass
from typing import NamedTuple

from weir.domain.fleet import PoolSpec

__all__ = ["ForwardPass", "PoolSeen", "ReplicaSeen", "Traffic"]


class ForwardPass(NamedTuple):
    """One iteration: what it works on and how long it takes."""

    prefill_tokens: int
    sequences: int
    context_tokens: int
    duration_s: float


class Traffic(NamedTuple):
    """Calls of one window, in sums, so that windows can be put together.

    `isl_tokens` is of the calls that arrived, the rest of those `completed`; `spread` of these
    have an ITL (more than one token). Calls count where a leg of theirs was, whatever came of it.
    """

    arrivals: int = 0
    isl_tokens: int = 0
    completed: int = 0
    osl_tokens: int = 0
    ttft_s: float = 0.0
    spread: int = 0
    itl_s: float = 0.0

    def plus(self, other: "Traffic") -> "Traffic":
        return Traffic(
            arrivals=self.arrivals + other.arrivals,
            isl_tokens=self.isl_tokens + other.isl_tokens,
            completed=self.completed + other.completed,
            osl_tokens=self.osl_tokens + other.osl_tokens,
            ttft_s=self.ttft_s + other.ttft_s,
            spread=self.spread + other.spread,
            itl_s=self.itl_s + other.itl_s,
        )

    @property
    def mean_isl_tokens(self) -> float | None:
        return self.isl_tokens / self.arrivals if self.arrivals else None

    @property
    def mean_osl_tokens(self) -> float | None:
        return self.osl_tokens / self.completed if self.completed else None

    @property
    def mean_ttft_s(self) -> float | None:
        return self.ttft_s / self.completed if self.completed else None

    @property
    def mean_itl_s(self) -> float | None:
        return self.itl_s / self.spread if self.spread else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSeen:
    """A ready replica. `waiting` and `running` calls are in its engine; `cap` is the most load.

    `pending_tokens` of prompts are not yet prefilled. `utilization` (0..1) is what a scaler by
    utilisation goes by. Of prefill it is the share of time that it computed since the last look.
    Others compute nearly always; theirs is what a full replica of the document's profile needs
    for the work done since, as a share of time, or calls as a share of `cap` if that is more.
    """

    waiting: int
    running: int
    pending_tokens: int
    kv_used_tokens: int
    kv_total_tokens: int
    cap: float
    utilization: float
    forward_pass: ForwardPass | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSeen:
    """`wanted` is what was last asked for; `queued` calls wait at the gateway for this pool.

    `traffic` is that since the last look; None where nobody measures it.
    """

    spec: PoolSpec
    wanted: int
    ready: tuple[ReplicaSeen, ...]
    starting: int
    terminating: int
    queued: int
    traffic: Traffic | None = None

    @property
    def in_flight(self) -> int:
        """Calls that wait for this pool or are on its ready replicas."""
        return self.queued + sum(replica.waiting + replica.running for replica in self.ready)
