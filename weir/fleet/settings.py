"""Settings that travel with the fleet: router, planner, default workload, simulated world.

The models are the document's own sections, handed to the roles as they are.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from weir.domain.legs import LegRules, WithoutPrefill
from weir.domain.targets import Target

__all__ = [
    "Address",
    "Bytes",
    "Count",
    "DisaggregationSettings",
    "ForecastSpec",
    "GrpcTelemetry",
    "HintSettings",
    "Length",
    "LoadThresholds",
    "NatsTelemetry",
    "PlannerSettings",
    "Positive",
    "PrometheusTelemetry",
    "Replicas",
    "RouterSettings",
    "Seconds",
    "SimulationSettings",
    "StrictModel",
    "WorkloadSpec",
]

Address = Annotated[str, Field(pattern=r"^[^\s:]+:\d{1,5}$")]
"""host:port"""
Count = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
Bytes = Annotated[int, Field(strict=True, ge=1, le=2**50)]
Replicas = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
Length = Annotated[int, Field(strict=True, ge=1, le=10_000_000)]
"""Tokens of one request."""
Positive = Annotated[float, Field(strict=True, gt=0.0, le=1e12)]
Seconds = Annotated[float, Field(strict=True, gt=0.0, le=1e7)]
NotNegative = Annotated[float, Field(strict=True, ge=0.0, le=1e7)]
Fraction = Annotated[float, Field(strict=True, ge=0.0, lt=1.0)]


class StrictModel(BaseModel):
    """Frozen; refuses unknown keys, infinities and NaN."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_left_out(cls, data: Any) -> Any:
        """A key without a value (`router:`) is the same as no key."""
        if not isinstance(data, dict):
            return data
        known = {field.alias or name for name, field in cls.model_fields.items()}
        return {key: value for key, value in data.items() if value is not None or key not in known}


class HintSettings(StrictModel):
    """How far requests may ask for more than their class is due. For less they always may."""

    tighten_to: Annotated[float, Field(strict=True, gt=0.0, le=1.0)] = 1.0
    """Least share of its class's TTFT and ITL that a request may ask for; 1: only longer ones."""

    raise_priority: Annotated[int, Field(strict=True, ge=0, le=1000)] = 0
    """How far above its class's priority a request may ask to be."""


class DisaggregationSettings(StrictModel):
    """Which requests do without a prefill leg although their pools come in pairs."""

    direct_below_tokens: Annotated[int, Field(strict=True, ge=0, le=10_000_000)] = 0
    """Shorter prompts may be computed by a decode worker that keeps both targets; 0: none."""

    without_prefill: Annotated[WithoutPrefill, Field(strict=False)] = WithoutPrefill.QUEUE
    """While no prefill worker is ready: `queue`, `run_on_decode`, or `refuse` (shed at once)."""

    @property
    def rules(self) -> LegRules:
        return LegRules(
            direct_below_tokens=self.direct_below_tokens, without_prefill=self.without_prefill
        )


class RouterSettings(StrictModel):
    """How the router treats requests and upstream engines."""

    max_body_bytes: Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)] = 16 * 2**20
    """Largest request body; longer ones are refused with 413."""

    sample_interval_s: Seconds = 1.0
    """Model seconds between two traffic samples."""

    queue_timeout_s: Seconds = 60.0
    """A request that waited this long for room is shed with 503 and Retry-After."""

    no_endpoints_timeout_s: Seconds | None = None
    """The same while its pools have no worker; by default twice the longest start-up more."""

    queue_requests: Count = 8192
    """Most requests that wait at the router at once."""

    queue_bytes: Bytes = 2**30
    """Most bytes of prompts that wait at the router at once."""

    slow_start_s: NotNegative = 0.0
    """Model seconds until a worker that has joined, or is back, has its full part; 0: at once."""

    connect_timeout_s: Seconds = 2.0
    """Time to open a connection to a worker before another one is tried."""

    first_byte_timeout_s: Seconds = 120.0
    """Time from sending a request to a worker until its first byte."""

    idle_timeout_s: Seconds = 60.0
    """Silence of a worker in the middle of a response, or of a kept-alive client."""

    bytes_per_token: Positive = 4.0
    """Prompt bytes per token assumed before anything is learned."""

    osl_prior_tokens: Positive = 256.0
    """Output length assumed before anything is learned."""

    tokenizers: dict[str, Annotated[str, Field(min_length=1, max_length=4096)]] = Field(
        default_factory=dict
    )
    """By model: its `tokenizer.json`, relative to this document, or `tiktoken:` and an encoding."""

    count_prompts: Literal["borders", "always", "asked"] = "borders"
    """Which prompts their model's tokenizer counts: those near a class border, all, or on request.
    """

    hints: HintSettings = HintSettings()
    """How far requests may ask for more than their class is due."""

    disaggregation: DisaggregationSettings = DisaggregationSettings()
    """What does not go as a pair of legs."""

    explain: Annotated[bool, Field(strict=True)] = False
    """Tell clients that ask with `x-weir-explain: 1` how their request was routed."""


class TelemetrySettings(StrictModel):
    """What all sources of telemetry have."""

    engines: Literal["nats", "scrape", "dynamo"] = "nats"
    """Forward passes: samples on NATS, what engines show at /metrics, or Dynamo's own on NATS."""

    namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9][-A-Za-z0-9_.]*$")] | None = None
    """Dynamo namespace of the pool; by default that of its `dynamo.deployment`."""


class NatsTelemetry(TelemetrySettings):
    source: Literal["nats"] = "nats"
    """Routers publish their samples on NATS."""


class PrometheusTelemetry(TelemetrySettings):
    source: Literal["prometheus"]
    """A Prometheus that scrapes Dynamo's routers or frontends is asked."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s/]+", max_length=4096)]
    """Where it is, without the path `/api/v1`."""

    metrics: Literal["router", "frontend"] = "router"
    """Whose: those of the pool's own router, or the frontend's of the pool's model."""

    scrape_s: Seconds = 15.0
    """Wall seconds between two scrapes."""

    token_file: str | None = None
    """Holds a bearer token for it, read anew for every question."""

    ca: str | None = None
    """PEM file with the authority that its certificate is signed by."""


class GrpcTelemetry(TelemetrySettings):
    source: Literal["grpc"]
    """Routers are asked for their samples, once a wall second."""

    routers: Annotated[tuple[Address, ...], Field(min_length=1)]
    """Where they serve gRPC: all of them, for each knows only what went through it."""


def _source(value: Any) -> str:
    source = value.get("source", "nats") if isinstance(value, dict) else None
    return source if isinstance(source, str) else str(getattr(value, "source", source))


Telemetry = Annotated[
    Annotated[NatsTelemetry, Tag("nats")]
    | Annotated[PrometheusTelemetry, Tag("prometheus")]
    | Annotated[GrpcTelemetry, Tag("grpc")],
    Discriminator(_source),
]


class LoadThresholds(StrictModel):
    """When pools of target `load` have more replicas, or fewer."""

    up_queued_tokens: Positive | None = None
    """More prefill replicas once an engine has so many prompt tokens queued."""

    down_queued_tokens: Annotated[float, Field(strict=True, ge=0.0, le=1e12)] | None = None
    """Fewer prefill replicas while none has more than this queued."""

    up_share: Annotated[float, Field(strict=True, gt=0.0, le=10.0)] | None = None
    """More decode or aggregated replicas once an engine is to hold this share of what it can."""

    down_share: Annotated[float, Field(strict=True, ge=0.0, le=10.0)] | None = None
    """Fewer decode or aggregated replicas while none is to hold more than this share."""


class ForecastSpec(StrictModel):
    """How the rates of classes are forecast to when a replica started now would serve."""

    predictor: Literal["trend", "auto", "constant", "mean", "kalman", "ets", "arima", "prophet"] = (
        "trend"
    )
    """The trend of the last minute, or a predictor with that as its floor; `auto` picks one."""

    log1p: Annotated[bool, Field(strict=True)] = False
    """Forecast the logarithm, so that errors count by their share."""

    window_s: Seconds = 30.0
    """Predictors see means over such windows."""

    min_points: Count = 5
    """Windows before anything but the last value is forecast."""

    prophet_points: Count = 50
    """Windows that prophet looks back."""

    refit_s: Seconds = 180.0
    """Between two fits of arima or prophet, which are made in a process of their own."""

    warmup_trace: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """Trace to learn from at the start, CSV or .jsonl, relative to this document."""


class PlannerSettings(StrictModel):
    """How pool planners and the GlobalPlanner decide."""

    target: Annotated[Target, Field(strict=False)] | None = None
    """What pools are sized by; by default sla where it is known what a replica does."""

    load: LoadThresholds = LoadThresholds()
    """Thresholds of pools whose target is `load`."""

    interval_s: Seconds = 2.0
    """Model seconds between two decisions."""

    utilization: Annotated[float, Field(strict=True, gt=0.0, le=1.0)] = 0.8
    """Share of a replica's capacity that it is planned to carry."""

    scale_down_dwell_s: Annotated[float, Field(strict=True, ge=0.0, le=1e7)] = 60.0
    """A lower need must have lasted this long before replicas are removed."""

    repay_s: Seconds = 600.0
    """GPUs change hands if that makes up within this time for what is not served meanwhile."""

    leave_replicas: Replicas | None = None
    """Most replicas of a pool that leave by choice within `leave_window_s`; by default any."""

    leave_share: Annotated[float, Field(strict=True, gt=0.0, le=1.0)] | None = None
    """The same as a share of the pool's replicas, rounded up; the lower of both counts."""

    leave_window_s: Seconds = 60.0
    """The window of `leave_replicas` and `leave_share`."""

    gpu_cost_per_hour: dict[str, NotNegative] = Field(default_factory=dict)
    """By GPU class: requests of weight 1 that an hour of a GPU must serve to be held; else 0."""

    drain_s: Annotated[float, Field(strict=True, ge=0.0, le=1e7)] = 60.0
    """Time a draining replica gets to finish its requests."""

    backlog_horizon_s: Seconds = 20.0
    """Queued work should be gone within this time; more capacity is asked for until it is."""

    grant_valid_s: Seconds = 15.0
    """Wall seconds in which a grant allows new starts."""

    telemetry_stale_s: Seconds = 15.0
    """Traffic samples older than this count as unknown; nothing is scaled down on them."""

    forecast: ForecastSpec = ForecastSpec()
    """How the rates of classes are forecast."""

    telemetry: Telemetry = NatsTelemetry()
    """Where pool planners see their traffic and their engines."""

    approve: Literal["required", "never"] = "never"
    """Whether decisions of the GlobalPlanner wait for `weir approve`, but for what limits force."""

    advisory: Annotated[bool, Field(strict=True)] = False
    """The GlobalPlanner decides and explains, and changes nothing that pools have."""


class WorkloadSpec(StrictModel):
    """Default workload of `weir up` and `weir simulate`; no role reads it."""

    trace: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """CSV of timestamp_s, isl, osl (plain or .gz), relative to this document."""

    rate_scale: Annotated[float, Field(strict=True, gt=0.0, le=1000.0)] = 1.0
    """Offered rate as a multiple of the trace's."""


class SimulationSettings(StrictModel):
    """The world of `weir simulate`, where it differs from the document; no role reads it."""

    speed_bias: Fraction = 0.2
    """Each pool's true speed is its profile's times 1 + a draw from +- this share."""

    speed_biases: dict[str, Annotated[float, Field(strict=True, gt=-1.0, le=10.0)]] = Field(
        default_factory=dict
    )
    """By pool, instead of a draw: -0.4 is an engine 40 % slower than its profile says."""

    speed_noise: Annotated[float, Field(strict=True, ge=0.0, le=0.2)] = 0.02
    """Standard deviation of the speed among the replicas of a pool, as a share."""

    start_up_spread: Fraction = 0.2
    """Start-up takes `start_up_s` times 1 + a draw from +- this share."""

    patience_s: Seconds | None = None
    """Mean time a client waits for the first token before it gives up; for ever by default."""

    retries: Annotated[int, Field(strict=True, ge=0, le=100)] = 0
    """How often a client tries again after it was shed."""

    network_delay_s: NotNegative = 0.002
    """Mean time of a message between two roles, one way."""

    forward_pass_interval_s: Seconds = 5.0
    """Between two forward-pass samples of a worker."""
