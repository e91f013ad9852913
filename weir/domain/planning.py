"""What pools and the GlobalPlanner say to each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from weir.domain.fleet import Role, Stage
from weir.domain.ids import ClassName, PoolId, WorkerId
from weir.domain.overrides import ClassTargets

__all__ = [
    "ClassLoad",
    "Grant",
    "PoolMembers",
    "PoolReport",
    "PoolState",
    "RoutingPlan",
    "WorkerEndpoint",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassLoad:
    """Offered load of one class: the forecast rate, an upper quantile of it, mean lengths.

    `decoding_rps`: the rate that decode replicas are needed for. It follows `rate_rps` as slowly as
    outputs take; None, as in what pools report: it is the same.
    """

    name: ClassName
    rate_rps: float
    rate_high_rps: float
    isl_tokens: float
    osl_tokens: float
    decoding_rps: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    """Replicas as seen by the actuator. All three kinds hold their GPUs."""

    ready: int
    starting: int
    terminating: int

    def __post_init__(self) -> None:
        if min(self.ready, self.starting, self.terminating) < 0:
            raise ValueError(f"replica counts cannot be negative: {self}")

    @property
    def held(self) -> int:
        return self.ready + self.starting + self.terminating


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolReport:
    """A pool's state and what it can do; what it wants only if its planner sizes it.

    `acted_term`/`acted_epoch`/`acted_replicas` name the newest grant it may act on (0 if
    none). `capacity_rps`: requests/s of each class one replica serves within SLO;
    a class that is missing cannot be served within SLO. `load`: forecast of what reaches the
    pool, empty when unknown. `backlog_replica_s`: queued work in seconds of one replica, None
    when unknown. `telemetry_age_s`: age of the newest traffic sample, None if never seen.
    `withdrawn`: it gives back what it was granted beyond `acted_replicas`, and starts nothing more
    until it is granted anew after it has stopped saying so. `role`, `gpus_per_replica`: as in the
    document of who reports, None if not said. `wish`: replicas that its planner asks for by a
    target of its own; None: it asks for what it has, or leaves its size to the GlobalPlanner.
    """

    pool_id: PoolId
    sequence: int
    acted_term: int
    acted_epoch: int
    acted_replicas: int
    state: PoolState
    capacity_rps: Mapping[ClassName, float]
    capacity_rel_std: float
    load: tuple[ClassLoad, ...] = ()
    backlog_replica_s: float | None = None
    telemetry_age_s: float | None = None
    ttft_s: float | None = None
    itl_s: float | None = None
    start_up_s: float = 0.0
    withdrawn: bool = False
    role: Role | None = None
    gpus_per_replica: int | None = None
    wish: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Permission to run `replicas`: the pool grows or shrinks to it.

    Starts are allowed for `valid_s` (wall seconds on the pool's own monotonic clock, from
    when it sent the report that this answers). Expiry forbids new starts; it never frees
    GPUs. (term, epoch) orders grants; a lower pair than one seen is refused.
    """

    pool_id: PoolId
    term: int
    epoch: int
    replicas: int
    valid_s: float
    reason: str = ""

    @property
    def number(self) -> tuple[int, int]:
        return self.term, self.epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingPlan:
    """Share of each class that each pool should get, per stage; shares of a class sum to 1.

    `spill` orders the pools to try when the share's pool cannot take a request. An `agg`
    pool appears under `Stage.PREFILL` only, and serves both stages. `targets`: what classes are to
    meet now, where it differs from the document.
    """

    term: int
    version: int
    shares: Mapping[ClassName, Mapping[Stage, Mapping[PoolId, float]]] = field(default_factory=dict)
    spill: Mapping[ClassName, Mapping[Stage, tuple[PoolId, ...]]] = field(default_factory=dict)
    targets: Mapping[ClassName, ClassTargets] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEndpoint:
    """Where one replica listens. A draining one finishes what it has and gets nothing new."""

    id: WorkerId
    host: str
    port: int
    draining: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolMembers:
    """The pool's routable replicas; a higher version replaces a lower one."""

    pool_id: PoolId
    version: int
    workers: tuple[WorkerEndpoint, ...] = ()
