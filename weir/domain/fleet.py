"""The fleet as the cores see it: models, classes, pools, budget. Parsed, checked, frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Protocol

from weir.domain.dynamo import DynamoDeployment, DynamoRules
from weir.domain.ids import ClassName, ModelName, PoolId
from weir.domain.profile import EngineProfile
from weir.domain.schedule import BudgetWindow
from weir.domain.targets import Target, Thresholds

__all__ = [
    "Budget",
    "Fleet",
    "KvEvents",
    "Model",
    "NodeGroup",
    "PoolSpec",
    "RequestClass",
    "Role",
    "Rule",
    "Slo",
    "Span",
    "Stage",
    "Stated",
    "Statistic",
    "TokenRange",
]


class Role(StrEnum):
    """What a pool does for a request; an `agg` pool does both stages."""

    PREFILL = "prefill"
    DECODE = "decode"
    AGG = "agg"

    @property
    def stages(self) -> "tuple[Stage, ...]":
        return {
            Role.PREFILL: (Stage.PREFILL,),
            Role.DECODE: (Stage.DECODE,),
            Role.AGG: (Stage.PREFILL, Stage.DECODE),
        }[self]


class Stage(StrEnum):
    PREFILL = "prefill"
    DECODE = "decode"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRange:
    """Tokens from `low` (included) to `high` (excluded; None = no limit)."""

    low: int = 0
    high: int | None = None

    def __post_init__(self) -> None:
        if self.low < 0 or (self.high is not None and self.high <= self.low):
            raise ValueError(f"empty token range {self.low}..{self.high}")

    def __contains__(self, tokens: object) -> bool:
        return isinstance(tokens, int | float) and self.holds(tokens)

    def holds(self, tokens: float) -> bool:
        return self.low <= tokens and (self.high is None or tokens < self.high)


class Statistic(StrEnum):
    """Of all requests' latencies, which one targets are for."""

    PERCENTILE = "percentile"
    MEAN = "mean"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """Latency targets. `percentile` (0..1) of requests should meet them, or the mean of all.

    Whether a single request is in time is told by the targets in both cases.
    """

    ttft_s: float
    itl_s: float
    percentile: float = 0.95
    statistic: Statistic = Statistic.PERCENTILE


class Stated(Protocol):
    """What a request says of itself beyond its lengths; None: nothing.

    `priority` is as in vLLM's API: larger numbers are served later, 0 is usual.
    """

    @property
    def tenant(self) -> str: ...
    @property
    def ttft_s(self) -> float | None: ...
    @property
    def itl_s(self) -> float | None: ...
    @property
    def priority(self) -> int | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From `low` to `high`, both included."""

    low: float = -inf
    high: float = inf

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"empty range {self.low:g}..{self.high:g}")

    def holds(self, value: float | None) -> bool:
        """What is not stated is in no range."""
        return value is not None and self.low <= value <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Which requests a class is for by what they state; None: whatever that is.

    `priority`: how far before others a request asks to be served, 0 being usual.
    """

    tenants: frozenset[str] | None = None
    ttft_s: Span | None = None
    itl_s: Span | None = None
    priority: Span | None = None

    @property
    def by_tenant_alone(self) -> bool:
        return self.ttft_s is None and self.itl_s is None and self.priority is None

    def holds(self, stated: Stated | None) -> bool:
        """None: nobody knows what it states."""
        if stated is None:
            return False
        priority = None if stated.priority is None else -stated.priority
        return (
            (self.tenants is None or stated.tenant in self.tenants)
            and (self.ttft_s is None or self.ttft_s.holds(stated.ttft_s))
            and (self.itl_s is None or self.itl_s.holds(stated.itl_s))
            and (self.priority is None or self.priority.holds(priority))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestClass:
    """Requests alike in length that share an SLO. First class whose ranges hold wins.

    `rule`: those it does not hold are not of the class. `on_request`: only those that ask for it
    by its name are. `sheds_late`: who cannot be in time any more does not wait. `queue_requests`,
    `queue_bytes`: most of it that wait at a router; None: a part of all that may.
    """

    name: ClassName
    isl_tokens: TokenRange
    osl_tokens: TokenRange
    slo: Slo
    weight: float = 1.0
    priority: int = 0
    rule: Rule | None = None
    on_request: bool = False
    sheds_late: bool = False
    queue_requests: int | None = None
    queue_bytes: int | None = None

    @property
    def by_length(self) -> bool:
        """Whether nothing but its lengths makes a request one of the class."""
        return self.rule is None and not self.on_request


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """`canary`: other models, and the share of the requests for this one that each gets."""

    name: ModelName
    aliases: tuple[str, ...] = ()
    canary: tuple[tuple[ModelName, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeGroup:
    """`foreign_gpus` of its `gpus` are held by others and are not to be had.

    `power_w`: watts that its pools' GPUs may draw together, None: any. `implied`: the document
    names no groups, and this one stands for the whole budget.
    """

    name: str
    gpu_class: str
    gpus: int
    foreign_gpus: int = 0
    power_w: int | None = None
    implied: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """GPUs that all pools together may hold; `by_gpu_class` limits single classes further.

    `power_w`: watts that they may draw together, None: any. In one of `windows` others count; of
    several at a time the first.
    """

    gpus: int
    by_gpu_class: Mapping[str, int] = field(default_factory=dict)
    power_w: int | None = None
    windows: tuple[BudgetWindow, ...] = ()

    @property
    def widest(self) -> "Budget":
        """The most of everything that is allowed at some time of the week."""
        gpus = [window.gpus for window in self.windows if window.gpus is not None]
        return Budget(
            gpus=max(self.gpus, *gpus, 0),
            by_gpu_class={
                name: max(limit, *(window.by_gpu_class.get(name, 0) for window in self.windows), 0)
                for name, limit in self.by_gpu_class.items()
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KvEvents:
    """Where a pool's engines publish what their prefix caches hold, on each worker's host.

    `per_worker`: the ports are added to the worker's own. `replay_port`: where missed events can
    be asked for.
    """

    port: int
    replay_port: int | None = None
    per_worker: bool = False

    def ports(self, worker_port: int) -> tuple[int, int | None]:
        """Of the events and of the replay, for a worker that listens on `worker_port`."""
        base = worker_port if self.per_worker else 0
        replay = self.replay_port
        return base + self.port, None if replay is None else base + replay


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpec:
    """Replicas of one model, configuration and role.

    min <= floor <= guarantee <= max, all in replicas. The pool never runs fewer than
    `min_replicas`; GPUs up to `floor_replicas` are set aside for it even while idle; demand
    up to `guarantee_replicas` is served before any pool grows beyond its guarantee.

    `borrow_replicas`: how far beyond its guarantee it may grow; `lend_replicas`: how much of the
    guarantee others may use while it is idle, down to the floor. None: as far as there is room.

    `max_implied`: no maximum is given, `max_replicas` is what budget and node group hold.
    `scale_to_zero_after_s`: a pool whose minimum is 0 keeps a replica until none has been needed
    for so long. `power_w_per_gpu`: watts that one of its GPUs draws under load, None if nobody has
    said.

    `thresholds`: what its own planner sizes it by; None: the GlobalPlanner does, by SLOs.
    `kv_events`: None: its engines publish none, or routers do not read them.
    """

    id: PoolId
    role: Role
    model: ModelName
    gpus_per_replica: int
    node_group: str
    gpu_class: str
    min_replicas: int
    max_replicas: int
    floor_replicas: int
    guarantee_replicas: int
    weight: float
    start_up_s: float
    profile: EngineProfile
    context_limit_tokens: int
    dialect: str = "vllm"
    dynamo: DynamoDeployment | None = None
    borrow_replicas: int | None = None
    lend_replicas: int | None = None
    max_implied: bool = False
    power_w_per_gpu: int | None = None
    scale_to_zero_after_s: float = 300.0
    thresholds: Thresholds | None = None
    kv_events: KvEvents | None = None

    @property
    def target(self) -> Target:
        return Target.SLA if self.thresholds is None else self.thresholds.target

    @property
    def most_replicas(self) -> int:
        """Never more than this: its maximum, or what it is guaranteed and may borrow."""
        if self.borrow_replicas is None:
            return self.max_replicas
        return min(self.max_replicas, self.guarantee_replicas + self.borrow_replicas)

    @property
    def aside_replicas(self) -> int:
        """GPUs for so many no other pool gets: the floor, and of the guarantee what is not lent."""
        if self.lend_replicas is None:
            return self.floor_replicas
        return max(self.floor_replicas, self.guarantee_replicas - self.lend_replicas)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    name: str
    models: tuple[Model, ...]
    classes: tuple[RequestClass, ...]
    budget: Budget
    node_groups: tuple[NodeGroup, ...]
    pools: tuple[PoolSpec, ...]
    dynamo: DynamoRules = field(default_factory=DynamoRules)

    def pool(self, pool_id: PoolId) -> PoolSpec:
        """The pool of this id. Raises `KeyError` if there is none."""
        for pool in self.pools:
            if pool.id == pool_id:
                return pool
        raise KeyError(pool_id)
