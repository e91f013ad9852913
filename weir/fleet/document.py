"""The Fleet document as it is written: one pydantic model per section.

Field constraints live here; whatever needs two fields at once is in `references` (names)
and `checks` (numbers). Kubernetes-style keys are camelCase, ours carry their unit.
"""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Discriminator, Field, Tag, model_validator

from weir.domain.fleet import Role, Statistic
from weir.domain.targets import Target
from weir.fleet.settings import (
    Bytes,
    Count,
    Length,
    LoadThresholds,
    PlannerSettings,
    Positive,
    Replicas,
    RouterSettings,
    Seconds,
    SimulationSettings,
    StrictModel,
    WorkloadSpec,
)

__all__ = [
    "API_VERSION",
    "BudgetSpec",
    "ClassSpec",
    "DAYS",
    "Document",
    "DynamoDeploymentSpec",
    "DynamoSpec",
    "FleetSpec",
    "KvEventsSpec",
    "LocalScaling",
    "MillisecondsSpec",
    "ModelSpec",
    "NoScaling",
    "NodeGroupSpec",
    "OnlySpec",
    "PolynomialTimingSpec",
    "PoolDocument",
    "PrioritySpec",
    "ProfileSpec",
    "RangeSpec",
    "TableTimingSpec",
    "WindowSpec",
]

API_VERSION = "weir.dev/v1alpha1"

DnsName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
"""Lower-case letters, digits and dashes: used in NATS subjects and host names."""

PlainName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", max_length=63)
]
ModelId = Annotated[str, Field(pattern=r"^[!-~]+$", max_length=256)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)
Milliseconds = Annotated[float, Field(strict=True, gt=0.0, le=1e9)]
Priority = Annotated[int, Field(strict=True, ge=-1000, le=1000)]
Tenant = Annotated[str, Field(pattern=r"^[!-~]+$", max_length=128)]
Finite = Annotated[float, Field(strict=True)]
NonNegative = Annotated[float, Field(strict=True, ge=0.0, le=1e12)]
Watts = Annotated[int, Field(strict=True, ge=0, le=10**9)]
Point = tuple[NonNegative, Annotated[float, Field(strict=True, gt=0.0, le=1e7)]]


class Metadata(StrictModel):
    name: DnsName
    """Name of the fleet; prefixes its NATS subjects and buckets."""

    namespace: DnsName | None = None
    """Kubernetes namespace; without meaning elsewhere."""

    labels: dict[str, str] = Field(default_factory=dict)
    """Free labels, as in Kubernetes."""

    annotations: dict[str, str] = Field(default_factory=dict)
    """Free annotations, as in Kubernetes."""


class ModelSpec(StrictModel):
    name: ModelId
    """Model as clients name it in `model`."""

    aliases: tuple[ModelId, ...] = ()
    """Further names for the same model."""

    canary: dict[ModelId, Annotated[float, Field(strict=True, ge=0.0, le=1.0)]] = Field(
        default_factory=dict
    )
    """Other models, and the share of the requests for this one that each of them gets."""


class RangeSpec(StrictModel):
    min: Annotated[int, Field(strict=True, ge=0, le=10_000_000)] = 0
    """Smallest length in tokens, included."""

    max: Length | None = None
    """First length above the range; null for no limit."""


class MillisecondsSpec(StrictModel):
    min: Milliseconds | None = None
    """Shortest target in milliseconds, included; null for no limit."""

    max: Milliseconds | None = None
    """Longest target in milliseconds, included; null for no limit."""


class PrioritySpec(StrictModel):
    min: Priority | None = None
    """Lowest priority, included; null for no limit."""

    max: Priority | None = None
    """Highest priority, included; null for no limit."""


class OnlySpec(StrictModel):
    tenants: Annotated[tuple[Tenant, ...], Field(min_length=1, max_length=4096)] | None = None
    """Tenants whose requests may be of the class; null for all."""

    ttft_ms: MillisecondsSpec | None = None
    """TTFT targets that a request of the class may ask for; one that asks for none is of another.
    """

    itl_ms: MillisecondsSpec | None = None
    """ITL targets that a request of the class may ask for; one that asks for none is of another."""

    priority: PrioritySpec | None = None
    """Priorities that a request of the class may ask for: higher ones first, 0 is usual; one that
    asks for none is of another."""

    @model_validator(mode="after")
    def _names_some(self) -> Self:
        if self == OnlySpec.model_construct():
            raise ValueError("names nobody; leave `only` out where the class is for all")
        return self


class ClassSpec(StrictModel):
    name: PlainName
    """Name of the request class."""

    isl: RangeSpec = RangeSpec()
    """Prompt lengths of the class."""

    osl: RangeSpec = RangeSpec()
    """Output lengths of the class."""

    ttft_ms: Milliseconds
    """Target for the time from arrival to the first token, queueing included."""

    itl_ms: Milliseconds
    """Target for the mean gap between output tokens."""

    statistic: Statistic = Statistic.PERCENTILE
    """What the targets are for: `percentile` of the requests, or the mean of all."""

    percentile: Annotated[float, Field(strict=True, ge=50.0, le=99.9)] = 95.0
    """Percent of requests that should meet their targets."""

    weight: Positive = 1.0
    """Worth of one request within SLO, relative to the other classes."""

    priority: Priority = 0
    """Higher classes are served first when not all can be."""

    only: OnlySpec | None = None
    """Which requests the class is for by their tenant and what they ask for; null for all."""

    on_request: Annotated[bool, Field(strict=True)] = False
    """Only requests that ask for the class by its name are of it."""

    on_late: Literal["serve", "shed"] | None = None
    """What becomes of requests that cannot be in time any more; below priority 0 they are shed."""

    queue_requests: Count | None = None
    """Most of its requests that wait at the router; by default half of all that may."""

    queue_bytes: Bytes | None = None
    """Most bytes of its prompts that wait at the router; by default half of all that may."""


class WindowSpec(StrictModel):
    days: Annotated[tuple[Day, ...], Field(min_length=1, max_length=7)] = DAYS
    """Days on which it begins; by default all."""

    from_: Annotated[str, Field(alias="from", pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
    """When it begins, as HH:MM."""

    to: Annotated[str, Field(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")]
    """When it ends, as HH:MM; on the day after unless that is later than `from`."""

    timezone: Annotated[str, Field(min_length=1, max_length=64)] = "UTC"
    """Whose clocks are meant: an IANA name such as Europe/Berlin."""

    gpus: Count | None = None
    """GPUs that all pools together may hold in it; by default what they may otherwise."""

    gpu_classes: dict[PlainName, Replicas] = Field(alias="gpuClasses", default_factory=dict)
    """Limits for single GPU classes in it; those that are not named stay."""

    power_w: Watts | None = None
    """Watts that all pools' GPUs together may draw in it; by default what they may otherwise."""


class BudgetSpec(StrictModel):
    gpus: Count
    """GPUs that all pools together may hold."""

    gpu_classes: dict[PlainName, Replicas] = Field(alias="gpuClasses", default_factory=dict)
    """Further limits for single GPU classes."""

    power_w: Watts | None = None
    """Watts that all pools' GPUs together may draw, by their `power_w_per_gpu`; by default any."""

    windows: Annotated[tuple[WindowSpec, ...], Field(max_length=100)] = ()
    """Times of the week with another budget; of several at a time the first counts."""


class NodeGroupSpec(StrictModel):
    name: PlainName
    """Name of the node group."""

    gpu_class: Annotated[PlainName, Field(alias="gpuClass")]
    """Kind of GPU of its nodes."""

    gpus: Count
    """GPUs of all its nodes."""

    foreign_gpus: Replicas = 0
    """Of these, GPUs that others hold and that are not to be had."""

    power_w: Watts | None = None
    """Watts that the GPUs of its pools together may draw; by default any."""


class PolynomialTimingSpec(StrictModel):
    kind: Literal["polynomial"] = "polynomial"
    """Iteration times as polynomials, coefficients in ascending power."""

    prefill_s: Annotated[tuple[Finite, ...], Field(min_length=1, max_length=8)] = (
        16.50142e-3,
        1.518344e-5,
        4.209989e-10,
    )
    """Seconds over the prompt tokens of an iteration."""

    decode_s: Annotated[tuple[Finite, ...], Field(min_length=1, max_length=8)] = (
        5.74e-3,
        54.01e-3,
        -25.74e-3,
    )
    """Seconds over the share of KV space in use (0 to 1)."""

    decode_per_sequence_s: NonNegative = 0.0
    """Seconds that each decoding sequence adds."""

    decode_min_s: Seconds = 1e-3
    """Shortest iteration that decodes."""


class TableTimingSpec(StrictModel):
    kind: Literal["table"]
    """Iteration times from measured points, linear between and beyond them."""

    prefill: Annotated[tuple[Point, ...], Field(min_length=2, max_length=10_000)]
    """[prompt tokens, seconds], ascending in tokens."""

    decode: Annotated[tuple[Point, ...], Field(min_length=2, max_length=10_000)]
    """[decoding sequences, seconds], ascending in sequences."""


def _timing_kind(value: Any) -> str:
    kind = value.get("kind", "polynomial") if isinstance(value, dict) else None
    return kind if isinstance(kind, str) else getattr(value, "kind", "polynomial")


TimingSpec = Annotated[
    Annotated[PolynomialTimingSpec, Tag("polynomial")] | Annotated[TableTimingSpec, Tag("table")],
    Discriminator(_timing_kind),
]


class KvTierSpec(StrictModel):
    tokens: Annotated[int, Field(strict=True, ge=1, le=10**12)]
    """Prompt tokens whose KV it holds for one replica."""

    tokens_per_s: Positive
    """Speed at which KV comes back from there."""


class ProfileSpec(StrictModel):
    file: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """Measured times to take `timing` from, of Dynamo's profiler; relative to this document."""

    timing: TimingSpec = PolynomialTimingSpec()
    """How long an iteration takes."""

    kv_tokens: Annotated[int, Field(strict=True, ge=1, le=10**9)] = 262_144
    """Tokens that the replica's KV space holds."""

    block_tokens: Count = 16
    """Tokens of a KV block."""

    max_sequences: Count = 256
    """Sequences that run at once."""

    max_batched_tokens: Count = 8192
    """Prompt and output tokens of one iteration."""

    chunked_prefill: Annotated[bool, Field(strict=True)] = True
    """Whether a prompt may be spread over iterations."""

    prefix_caching: Annotated[bool, Field(strict=True)] = True
    """Whether prompt prefixes are kept and reused."""

    kv_transfer_tokens_per_s: Positive = 1_000_000.0
    """Speed at which a decode replica pulls a prompt's KV."""

    kv_tiers: Annotated[tuple[KvTierSpec, ...], Field(max_length=8)] = ()
    """Where prompts' KV is kept besides the KV space, such as host memory or disks."""

    speed: Positive = 1.0
    """Multiplies every rate; 2.0 halves every duration."""


class LocalScaling(StrictModel):
    kind: Literal["local"] = "local"
    """Replicas are processes on this machine, started and stopped by `weir up`."""


class NoScaling(StrictModel):
    kind: Literal["none"]
    """The pool stays at `min_replicas`."""


class DynamoDeploymentSpec(StrictModel):
    deployment: DnsName
    """The DynamoGraphDeployment whose prefill or decode component the pool is, by its role."""

    k8s_namespace: Annotated[DnsName | None, Field(alias="k8sNamespace")] = None
    """Kubernetes namespace of the deployment; by default that of the fleet, else `default`."""

    caller_namespace: Annotated[PlainName | None, Field(alias="callerNamespace")] = None
    """Dynamo namespace of its planner; by default `K8S_NAMESPACE-DEPLOYMENT`, as in Dynamo."""


class DynamoSpec(StrictModel):
    min_total_gpus: Count | None = None
    """GPUs that Dynamo planners leave in use, all pools together; by default they need not."""

    intent_ttl_s: Seconds = 360.0
    """Wall seconds after which a scale request that was not renewed asks for nothing more."""


class KvEventsSpec(StrictModel):
    port: Annotated[int, Field(strict=True, ge=1, le=65_535)]
    """Where each worker's host publishes its engine's KV events, over ZMQ in vLLM's format."""

    replay_port: Annotated[int, Field(strict=True, ge=1, le=65_535)] | None = None
    """Where missed events can be asked for; without it a gap costs all that was known."""

    per_worker: bool = False
    """The ports are added to each worker's own port: for several workers on a host."""


class PoolDocument(StrictModel):
    name: DnsName
    """Name of the pool."""

    role: Annotated[Role, Field(strict=False)]
    """prefill, decode, or agg for both."""

    model: ModelId
    """Name of one of `models`."""

    dialect: Literal["vllm"] = "vllm"
    """Engine protocol for the two legs and for metrics."""

    gpus_per_replica: Count = 1
    """GPUs that one replica holds from start to end."""

    power_w_per_gpu: Annotated[int, Field(strict=True, ge=1, le=100_000)] | None = None
    """Watts that one of its GPUs draws under load, such as its power cap; for `power_w` limits."""

    node_group: Annotated[PlainName | None, Field(alias="nodeGroup")] = None
    """Where replicas run; may be left out when there is only one node group."""

    min_replicas: Replicas = 1
    """Replicas that always run; with 0 requests may have to wait until one has started."""

    scale_to_zero_after_s: Seconds = 300.0
    """With `min_replicas` 0: the last replica goes when none was needed for so long."""

    max_replicas: Replicas | None = None
    """Most replicas; by default what budget and node group can hold."""

    floor_replicas: Replicas | None = None
    """Replicas whose GPUs no other pool gets, even while idle; by default `min_replicas`."""

    guarantee_replicas: Replicas | None = None
    """Demand up to here is served before any pool grows beyond its own; default the floor."""

    borrow_replicas: Replicas | None = None
    """Replicas that it may have beyond its guarantee; by default up to `max_replicas`."""

    lend_replicas: Replicas | None = None
    """Replicas of its guarantee that others may use while it is idle; default all but the floor."""

    weight: Positive = 1.0
    """Worth of this pool's goodput relative to other pools' when GPUs are short."""

    start_up_s: Annotated[float, Field(strict=True, ge=0.0, le=1e6)] = 30.0
    """Time from starting a replica until it serves."""

    profile: PlainName | None = None
    """Name of one of `profiles`; a generic profile when left out."""

    context_limit_tokens: Length | None = None
    """Longest prompt plus output; by default what the KV space holds."""

    scaling: Annotated[LocalScaling | NoScaling, Field(discriminator="kind")] = LocalScaling()
    """How the number of replicas is changed."""

    target: Annotated[Target, Field(strict=False)] | None = None
    """What the pool is sized by; by default what `spec.planner.target` says."""

    load: LoadThresholds | None = None
    """Its thresholds if its target is `load`; by default those of `spec.planner.load`."""

    dynamo: DynamoDeploymentSpec | None = None
    """Of a pool that a Dynamo planner sizes by scale requests: which deployment it belongs to."""

    kv_events: KvEventsSpec | None = None
    """Where routers read what its engines' prefix caches hold; by default they do not."""


class FleetSpec(StrictModel):
    models: Annotated[tuple[ModelSpec, ...], Field(min_length=1)]
    """Models that clients can ask for."""

    classes: Annotated[tuple[ClassSpec, ...], Field(max_length=100)] = ()
    """Request classes; the first whose ranges hold wins. One generous class by default."""

    budget: BudgetSpec
    """GPUs that the fleet may use."""

    node_groups: Annotated[tuple[NodeGroupSpec, ...], Field(alias="nodeGroups")] = ()
    """Groups of nodes; by default one that holds the whole budget."""

    profiles: dict[PlainName, ProfileSpec] = Field(default_factory=dict)
    """Engine profiles by name."""

    pools: Annotated[tuple[PoolDocument, ...], Field(min_length=1)]
    """Pools of replicas."""

    router: RouterSettings = RouterSettings()
    """Settings of the routers."""

    planner: PlannerSettings = PlannerSettings()
    """Settings of the planners."""

    dynamo: DynamoSpec = DynamoSpec()
    """What holds for the scale requests of Dynamo planners."""

    workload: WorkloadSpec = WorkloadSpec()
    """Default workload for `weir up` and `weir simulate`."""

    simulation: SimulationSettings = SimulationSettings()
    """The world of `weir simulate`."""


class Document(StrictModel):
    api_version: Annotated[Literal["weir.dev/v1alpha1"], Field(alias="apiVersion")]
    """Version of this schema."""

    kind: Literal["Fleet"]
    """Always Fleet."""

    metadata: Metadata
    """Name of the fleet."""

    spec: FleetSpec
    """The fleet."""
