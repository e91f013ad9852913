"""A Dynamo planner's configuration -> the Fleet document that it amounts to.

What such a file does not tell is left to the defaults of the document, or to whoever reads it.
What has no counterpart is not passed over in silence: `notes` name every such key that the file
has, and what is done instead.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from weir.domain.errors import FleetError
from weir.domain.fleet import Role
from weir.domain.targets import Target
from weir.fleet.document import API_VERSION
from weir.fleet.dynamo_file import DynamoFile
from weir.fleet.dynamo_notes import notes_on
from weir.fleet.dynamo_planner import ROLES, DynamoPlanner, Mode

__all__ = ["Surroundings", "Translation", "translated"]

PROMETHEUS = "http://prometheus-kube-prometheus-prometheus.monitoring.svc.cluster.local:9090"
"""Where Dynamo's planner looks for one."""
_NO_LIMIT_GPUS = 1_000_000
_GRANTS_OUTLAST = 3.0
"""A grant is valid for at least so many rounds."""
_GRANT_VALID_S = 15.0
_LONGEST_NAME = 63
_FORECAST = frozenset(
    {
        "load_predictor",
        "load_predictor_log1p",
        "load_predictor_warmup_trace",
        "kalman_min_points",
        "prophet_window_size",
    }
)
"""Keys of which one says that rates are to be forecast as Dynamo does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the file does not tell. `pools`: their names, by default those of their roles.

    `folder`: what relative paths are relative to. `nats`: whether there is a NATS to hear engines
    on. `budget_gpus`, `model`, `namespace`: where the file has none.
    """

    folder: Path
    pools: Sequence[str] = ()
    model: str | None = None
    namespace: str | None = None
    nats: bool = False
    budget_gpus: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """`document`: plain data of a Fleet document. `pools`: those of the planner.

    `alone`: whether it has a budget of its own. `metrics_port`: 0 for any.
    """

    document: Mapping[str, Any]
    pools: tuple[str, ...]
    alone: bool
    metrics_port: int
    notes: tuple[str, ...]


def translated(file: DynamoFile, around: Surroundings, *, source: str = "planner") -> Translation:
    """Raises `FleetError`, naming `source`, if something is missing that nobody tells."""
    planner = file.planner
    problems = list(_missing(planner, around))
    if problems:
        raise FleetError(source, problems)
    roles = ROLES[planner.mode]
    pools = tuple(around.pools) or tuple(role.value for role in roles)
    model = planner.model_name or around.model or "model"
    namespace = planner.namespace or around.namespace or "dynamo"
    spec: dict[str, Any] = {
        "models": [{"name": model}],
        "classes": [
            {
                "name": "default",
                "ttft_ms": planner.ttft_ms,
                "itl_ms": planner.itl_ms,
                "statistic": "mean",
            }
        ],
        "budget": _budget(planner, around),
        "pools": [
            *(_pool(planner, name, role, model) for name, role in zip(pools, roles, strict=True)),
            *_elsewhere(planner.mode, model),
        ],
        "planner": _planner(file, around, namespace),
    }
    if planner.profile_results_dir is not None:
        spec["profiles"] = {"measured": {"file": str(around.folder / planner.profile_results_dir)}}
    return Translation(
        document={
            "apiVersion": API_VERSION,
            "kind": "Fleet",
            "metadata": {"name": _dns_name(namespace)},
            "spec": spec,
        },
        pools=pools,
        alone=planner.environment != "global-planner",
        metrics_port=planner.metric_reporting_prometheus_port,
        notes=tuple(notes_on(file, timed=around.nats)),
    )


def _missing(planner: DynamoPlanner, around: Surroundings) -> Iterator[str]:
    wanted = len(ROLES[planner.mode])
    if around.pools and len(set(around.pools)) != wanted:
        names = " and ".join(role.value for role in ROLES[planner.mode])
        yield f"mode: {planner.mode} has {wanted} pool(s), {names}: give --pool so many times"
    alone = planner.environment != "global-planner"
    if alone and planner.max_gpu_budget < 0 and around.budget_gpus is None:
        yield "max_gpu_budget: -1 is no limit, and it runs alone: give --budget GPUS"
    frontend = planner.throughput_metrics_source == "frontend"
    if frontend and planner.model_name is None and around.model is None:
        yield "throughput_metrics_source: frontend counts by model: give --model NAME"


def _budget(planner: DynamoPlanner, around: Surroundings) -> dict[str, Any]:
    most = planner.max_gpu_budget if planner.max_gpu_budget >= 0 else _NO_LIMIT_GPUS
    budget = {"gpus": around.budget_gpus or most}
    if planner.enable_power_awareness and planner.total_gpu_power_limit is not None:
        budget["power_w"] = planner.total_gpu_power_limit
    return budget


def _pool(planner: DynamoPlanner, name: str, role: Role, model: str) -> dict[str, Any]:
    prefill = role is Role.PREFILL
    gpus = planner.prefill_engine_num_gpu if prefill else planner.decode_engine_num_gpu
    own = planner.prefill_min_endpoint if prefill else planner.decode_min_endpoint
    least = planner.min_endpoint if own is None else own
    if planner.mode is not Mode.DISAGG and planner.min_gpu_budget > 0:
        least = max(least, ceil(planner.min_gpu_budget / (gpus or 1)))
    pool = {
        "name": name,
        "role": role.value,
        "model": model,
        "gpus_per_replica": gpus or 1,
        "min_replicas": least,
    }
    if planner.profile_results_dir is not None:
        pool["profile"] = "measured"
    return pool


def _elsewhere(mode: Mode, model: str) -> Iterator[dict[str, Any]]:
    """Of a model with one stage planned here: the other one, which a fleet cannot do without."""
    if mode in (Mode.PREFILL, Mode.DECODE):
        other = Role.DECODE if mode is Mode.PREFILL else Role.PREFILL
        name = f"{other}-elsewhere"
        own = {"name": name, "role": other.value, "model": model}
        yield {**own, "min_replicas": 0, "max_replicas": 1, "target": Target.SLA.value}


def _planner(file: DynamoFile, around: Surroundings, namespace: str) -> dict[str, Any]:
    planner = file.planner
    interval_s = planner.load_adjustment_interval_seconds
    settings: dict[str, Any] = {
        "target": planner.optimization_target.value,
        "interval_s": interval_s,
        "grant_valid_s": max(_GRANT_VALID_S, _GRANTS_OUTLAST * interval_s),
    }
    if planner.optimization_target is Target.LOAD:
        settings["load"] = _thresholds(planner)
    if planner.optimization_target is Target.SLA and planner.enable_throughput_scaling:
        settings["scale_down_dwell_s"] = planner.throughput_adjustment_interval_seconds
        settings["leave_replicas"] = planner.max_throughput_scaling_replicas
        settings["leave_window_s"] = planner.throughput_adjustment_interval_seconds
    if _FORECAST & file.given:
        settings["forecast"] = _forecast(planner, around)
    settings["telemetry"] = {
        "source": "prometheus",
        "metrics": planner.throughput_metrics_source,
        "url": planner.metric_pulling_prometheus_endpoint or PROMETHEUS,
        "namespace": namespace,
        "engines": "dynamo" if around.nats else "scrape",
    }
    for key, value in (
        ("token_file", planner.metric_pulling_prometheus_token_file),
        ("ca", planner.metric_pulling_prometheus_ca_bundle),
    ):
        if value is not None:
            settings["telemetry"][key] = str(around.folder / value)
    if planner.advisory:
        settings["advisory"] = True
    return settings


def _forecast(planner: DynamoPlanner, around: Surroundings) -> dict[str, Any]:
    """Dynamo's predictors see one point for each round of its long loop."""
    forecast: dict[str, Any] = {
        "predictor": planner.load_predictor,
        "log1p": planner.load_predictor_log1p,
        "window_s": planner.throughput_adjustment_interval_seconds,
        "min_points": planner.kalman_min_points,
        "prophet_points": planner.prophet_window_size,
    }
    if planner.load_predictor_warmup_trace is not None:
        forecast["warmup_trace"] = str(around.folder / planner.load_predictor_warmup_trace)
    return forecast


def _thresholds(planner: DynamoPlanner) -> dict[str, float]:
    """Percent in Dynamo's file, shares here."""
    found = {
        "up_queued_tokens": planner.prefill_scale_up_queue_tokens,
        "down_queued_tokens": planner.prefill_scale_down_queue_tokens,
        "up_share": _share(planner.decode_scale_up_kv_rate),
        "down_share": _share(planner.decode_scale_down_kv_rate),
    }
    return {key: value for key, value in found.items() if value is not None}


def _share(percent: float | None) -> float | None:
    return None if percent is None else percent / 100.0


def _dns_name(namespace: str) -> str:
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in namespace.lower())
    return plain[:_LONGEST_NAME].strip("-") or "dynamo"
