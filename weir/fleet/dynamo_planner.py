"""A Dynamo planner's configuration as it is written: its keys, their defaults and bounds.

The names are those of Dynamo 1.6 and, as other names for them, those of earlier releases. What is
not read here any more is left out by `dynamo_file`, and told.
"""

from enum import StrEnum
from math import isqrt
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from weir.domain.fleet import Role
from weir.domain.targets import Target

__all__ = ["NESTED_KEYS", "ROLES", "DynamoPlanner", "Mode", "known_names", "same_key"]

NESTED_KEYS: dict[str, frozenset[str]] = {
    "scheduling": frozenset(
        {"tick_max_duration_seconds", "scale_interval_seconds", "external_plugins", "gateway"}
    ),
    "plugin_registration": frozenset(
        {
            *("auth", "transport", "protocol", "heartbeat_timeout", "missed"),
            *("in_process_plugins", "admin"),
        }
    ),
    "ais_perf_model": frozenset({"roles"}),
}
"""Keys of the sections that are not looked into otherwise."""

Whole = Annotated[int, Field(ge=1, le=1_000_000)]
Gpus = Annotated[int, Field(ge=-1, le=1_000_000)]
Above = Annotated[float, Field(gt=0.0, le=1e12)]
Interval = Annotated[float, Field(gt=0.0, le=1e6)]
Percent = Annotated[float, Field(ge=0.0, le=100.0)]
Tokens = Annotated[float, Field(ge=0.0, le=1e12)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Section = dict[str, Any]


class Mode(StrEnum):
    """Which pools a planner plans."""

    DISAGG = "disagg"
    PREFILL = "prefill"
    DECODE = "decode"
    AGG = "agg"


ROLES = {
    Mode.DISAGG: (Role.PREFILL, Role.DECODE),
    Mode.PREFILL: (Role.PREFILL,),
    Mode.DECODE: (Role.DECODE,),
    Mode.AGG: (Role.AGG,),
}


def _once(*names: str, default: Any) -> Any:
    """A key that has had other names."""
    return Field(default=default, validation_alias=AliasChoices(*names))


class DynamoPlanner(BaseModel):
    """Milliseconds where a name says so, else seconds. -1 of a budget is none."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    environment: Literal["kubernetes", "virtual", "global-planner"] = "kubernetes"
    namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9][-A-Za-z0-9_.]*$")] | None = None
    backend: Literal["vllm", "sglang", "trtllm", "mocker"] = "vllm"
    model_name: Annotated[str, Field(pattern=r"^[!-~]+$", max_length=256)] | None = None
    mode: Annotated[Mode, Field(strict=False)] = Mode.DISAGG
    optimization_target: Annotated[Target, Field(strict=False)] = Target.THROUGHPUT
    enable_throughput_scaling: bool = True
    enable_load_scaling: bool = False
    throughput_adjustment_interval_seconds: Interval = _once(
        "throughput_adjustment_interval_seconds", "throughput_adjustment_interval", default=180.0
    )
    load_adjustment_interval_seconds: Interval = _once(
        "load_adjustment_interval_seconds", "load_adjustment_interval", default=5.0
    )
    max_throughput_scaling_replicas: Whole = 8
    max_gpu_budget: Gpus = 8
    min_gpu_budget: Gpus = -1
    min_endpoint: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    prefill_min_endpoint: Whole | None = None
    decode_min_endpoint: Whole | None = None
    ttft_ms: Above = _once("ttft_ms", "ttft", default=500.0)
    itl_ms: Above = _once("itl_ms", "itl", default=50.0)
    prefill_engine_num_gpu: Whole | None = None
    decode_engine_num_gpu: Whole | None = None
    profile_results_dir: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    aic_interpolation: Section | None = None
    ais_perf_model: Section | None = None
    pre_deployment_sweeping_mode: str | None = None
    load_predictor: Literal["constant", "arima", "kalman", "prophet"] = "arima"
    load_predictor_log1p: bool = False
    load_predictor_warmup_trace: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    kalman_q_level: Above = 1.0
    kalman_q_trend: Above = 0.1
    kalman_r: Above = 10.0
    kalman_min_points: Whole = 5
    prophet_window_size: Whole = 50
    max_num_fpm_samples: Whole = 64
    fpm_sample_bucket_size: Whole = 16
    load_scaling_down_sensitivity: Percent = 80.0
    load_metric_samples: Whole | None = None
    load_min_observations: Whole = 5
    prefill_scale_up_queue_tokens: Above | None = None
    prefill_scale_down_queue_tokens: Tokens | None = None
    decode_scale_up_kv_rate: Percent | None = None
    decode_scale_down_kv_rate: Percent | None = None
    speculative_nextn: Annotated[int, Field(ge=0, le=1000)] = 0
    advisory: bool = _once("advisory", "no_operation", default=False)
    throughput_metrics_source: Literal["frontend", "router"] = "frontend"
    global_planner_namespace: str | None = None
    metric_pulling_prometheus_endpoint: (
        Annotated[str, Field(pattern=r"^https?://[^\s/]+", max_length=4096)] | None
    ) = None
    metric_pulling_prometheus_token_file: str | None = None
    metric_pulling_prometheus_ca_bundle: str | None = None
    metric_reporting_prometheus_port: Port = 0
    enable_power_awareness: bool = False
    total_gpu_power_limit: Whole | None = None
    report_interval_hours: Above | None = None
    report_output_dir: str | None = None
    report_filename: str | None = None
    report_write_gzip_log: bool = True
    log_dir: str | None = None
    live_dashboard_port: Port = 0
    control_api_port: Port = 0
    scheduling: Section | None = None
    plugin_registration: Section | None = None

    @model_validator(mode="after")
    def _goes_together(self) -> "DynamoPlanner":
        """What Dynamo refuses, too. Each message names the keys that it is about."""
        if isqrt(self.fpm_sample_bucket_size) ** 2 != self.fpm_sample_bucket_size:
            raise ValueError(
                f"fpm_sample_bucket_size must be a perfect square, not"
                f" {self.fpm_sample_bucket_size}"
            )
        if self.environment == "global-planner" and not self.global_planner_namespace:
            raise ValueError("environment global-planner needs global_planner_namespace")
        self._check_scaling()
        self._check_thresholds()
        if self.enable_power_awareness and self.total_gpu_power_limit is None:
            raise ValueError("enable_power_awareness needs total_gpu_power_limit, in watts")
        if 0 <= self.max_gpu_budget < self.min_gpu_budget:
            raise ValueError(
                f"min_gpu_budget is {self.min_gpu_budget}, more than max_gpu_budget,"
                f" {self.max_gpu_budget}"
            )
        return self

    def _check_scaling(self) -> None:
        if self.optimization_target is not Target.SLA:
            return
        if not (self.enable_throughput_scaling or self.enable_load_scaling):
            raise ValueError("enable_throughput_scaling or enable_load_scaling must be true")
        short = self.load_adjustment_interval_seconds
        long = self.throughput_adjustment_interval_seconds
        if self.enable_throughput_scaling and self.enable_load_scaling and short >= long:
            raise ValueError(
                f"load_adjustment_interval_seconds must be below"
                f" throughput_adjustment_interval_seconds, is {short:g} and {long:g}"
            )

    def _check_thresholds(self) -> None:
        if self.optimization_target is not Target.LOAD:
            return
        names = []
        if self.mode in (Mode.DISAGG, Mode.PREFILL):
            names += ["prefill_scale_up_queue_tokens", "prefill_scale_down_queue_tokens"]
        if self.mode is not Mode.PREFILL:
            names += ["decode_scale_up_kv_rate", "decode_scale_down_kv_rate"]
        missing = [name for name in names if getattr(self, name) is None]
        if missing:
            raise ValueError(f"optimization_target load needs {', '.join(missing)}")


def known_names() -> frozenset[str]:
    """Every key that such a file may have, by all of its names."""
    return frozenset(name for names in same_key() for name in names)


def same_key() -> tuple[tuple[str, ...], ...]:
    """For each key its names, the present one first."""
    return tuple(
        tuple(str(each) for each in field.validation_alias.choices)
        if isinstance(field.validation_alias, AliasChoices)
        else (name,)
        for name, field in DynamoPlanner.model_fields.items()
    )
