"""A Dynamo planner's configuration as a Fleet document."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from weir.domain.errors import FleetError
from weir.domain.fleet import Role, Statistic
from weir.domain.ids import PoolId
from weir.domain.targets import Target
from weir.fleet import LoadedFleet, loads
from weir.fleet.dynamo_file import read_dynamo
from weir.fleet.dynamo_fleet import Surroundings, Translation, translated
from weir.fleet.dynamo_planner import DynamoPlanner
from weir.fleet.settings import PrometheusTelemetry

DATA = Path(__file__).resolve().parents[2] / "data" / "dynamo"
HERE = Surroundings(folder=Path("/here"), model="m")


def _read(path: Path, around: Surroundings = HERE) -> tuple[Translation, LoadedFleet]:
    translation = translated(read_dynamo(path), around)
    return translation, loads(yaml.safe_dump(translation.document))


@pytest.fixture
def dynamo(tmp_path: Path) -> Any:
    """A file with these keys, read."""

    def read(around: Surroundings = HERE, **keys: Any) -> tuple[Translation, LoadedFleet]:
        file = tmp_path / "planner.json"
        file.write_text(json.dumps(keys))
        return _read(file, around)

    return read


def _noted(translation: Translation) -> set[str]:
    """The keys that notes are about."""
    return {note.split()[0].rstrip(":") for note in translation.notes}


def test_a_disaggregated_deployment_that_meets_latencies() -> None:
    translation, loaded = _read(DATA / "disagg_sla.yaml")
    fleet, planner = loaded.fleet, loaded.planner
    assert (fleet.name, fleet.budget.gpus) == ("prod-chat", 32)
    prefill, decode = fleet.pools
    assert (prefill.role, prefill.gpus_per_replica, prefill.min_replicas) == (Role.PREFILL, 2, 1)
    assert (decode.role, decode.gpus_per_replica, decode.min_replicas) == (Role.DECODE, 4, 2)
    (slo,) = [each.slo for each in fleet.classes]
    assert (slo.ttft_s, slo.itl_s, slo.statistic) == (0.3, 0.025, Statistic.MEAN)
    assert (planner.target, planner.interval_s, planner.scale_down_dwell_s) == (Target.SLA, 5, 60)
    assert (planner.leave_replicas, planner.leave_window_s) == (4, 60)
    forecast = planner.forecast
    assert (forecast.predictor, forecast.log1p, forecast.prophet_points) == ("prophet", True, 100)
    assert (forecast.window_s, forecast.min_points) == (60, 5)
    telemetry = planner.telemetry
    assert isinstance(telemetry, PrometheusTelemetry)
    assert (telemetry.metrics, telemetry.namespace) == ("frontend", "prod-chat")
    assert translation.pools == ("prefill", "decode")
    assert (translation.alone, translation.metrics_port) == (True, 9085)
    assert _noted(translation) == {
        "environment",
        "optimization_target",
        "load_scaling_down_sensitivity",
        "max_throughput_scaling_replicas",
        "control_api_port",
        "scheduling",
    }


def test_a_pool_under_a_global_planner_by_thresholds() -> None:
    translation, loaded = _read(DATA / "prefill_global.json", Surroundings(folder=Path("/here")))
    assert (loaded.fleet.name, loaded.fleet.models[0].name) == (
        "prod-long-prompts",
        "Qwen/Qwen3-32B",
    )
    # 10 GPUs that stay in use are three replicas of four.
    pool = loaded.fleet.pool(PoolId("prefill"))
    assert (pool.gpus_per_replica, pool.min_replicas, pool.max_implied) == (4, 3, True)
    planner = loaded.planner
    assert planner.target is Target.LOAD
    assert (planner.load.up_queued_tokens, planner.load.down_queued_tokens) == (20000, 2000)
    assert (planner.interval_s, planner.grant_valid_s, planner.advisory) == (10, 30, True)
    telemetry = planner.telemetry
    assert isinstance(telemetry, PrometheusTelemetry)
    assert (telemetry.url, telemetry.metrics, telemetry.engines) == (
        "http://prometheus.monitoring:9090",
        "router",
        "scrape",
    )
    assert not translation.alone
    assert _noted(translation) == {"load_predictr", "global_planner_namespace"}
    assert "did you mean 'load_predictor'" in " ".join(translation.notes)


@pytest.mark.parametrize(
    ("mode", "roles"),
    [
        ("disagg", ["prefill", "decode"]),
        ("prefill", ["prefill"]),
        ("decode", ["decode"]),
        ("agg", ["agg"]),
    ],
)
def test_a_mode_is_its_pools_which_may_have_other_names(
    dynamo: Any, mode: str, roles: list[str]
) -> None:
    translation, loaded = dynamo(mode=mode)
    planned = [pool for pool in loaded.fleet.pools if "elsewhere" not in pool.id]
    assert [pool.role for pool in planned] == roles == list(translation.pools)
    names = [f"chat-{n}" for n in range(len(roles))]
    _, loaded = dynamo(Surroundings(folder=Path(), model="m", pools=names), mode=mode)
    assert [pool.id for pool in loaded.fleet.pools if "elsewhere" not in pool.id] == names


@pytest.mark.parametrize("target", ["throughput", "latency", "sla"])
def test_targets_have_their_names(dynamo: Any, target: str) -> None:
    _, loaded = dynamo(optimization_target=target)
    assert {pool.target for pool in loaded.fleet.pools} == {target}


def test_shares_of_kv_are_percent_in_dynamo(dynamo: Any) -> None:
    keys = {"decode_scale_up_kv_rate": 90, "decode_scale_down_kv_rate": 45.0}
    _, loaded = dynamo(mode="agg", optimization_target="load", **keys)
    assert (loaded.planner.load.up_share, loaded.planner.load.down_share) == (0.9, 0.45)


def test_an_empty_file_is_dynamos_defaults(dynamo: Any) -> None:
    translation, loaded = dynamo()
    assert [pool.role for pool in loaded.fleet.pools] == [Role.PREFILL, Role.DECODE]
    assert loaded.fleet.budget.gpus == 8
    assert (loaded.fleet.classes[0].slo.ttft_s, loaded.planner.interval_s) == (0.5, 5.0)
    assert loaded.planner.target is Target.THROUGHPUT
    assert "prefill_engine_num_gpu" in _noted(translation)


def test_a_profile_and_power_and_engines_on_nats(dynamo: Any) -> None:
    around = Surroundings(folder=Path("/here"), model="m", nats=True)
    found = translated(read_dynamo(DATA / "disagg_sla.yaml"), around)
    assert found.document["spec"]["planner"]["telemetry"]["engines"] == "dynamo"
    keys = {
        "profile_results_dir": "results",
        "enable_power_awareness": True,
        "total_gpu_power_limit": 5000,
    }
    with pytest.raises(FleetError, match="/here/results cannot be read"):
        dynamo(**keys)
    del keys["profile_results_dir"]
    with pytest.raises(FleetError, match="give `power_w_per_gpu`"):
        dynamo(**keys)


def test_names_of_earlier_releases_are_taken(dynamo: Any) -> None:
    once = {"ttft": 300.0, "itl": 20, "no_operation": True, "load_adjustment_interval": 7}
    _, loaded = dynamo(optimization_target="sla", **once)
    slo = loaded.fleet.classes[0].slo
    assert (slo.ttft_s, slo.itl_s) == (0.3, 0.02)
    assert (loaded.planner.advisory, loaded.planner.interval_s) == (True, 7)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"mode": "dis"}, "mode: must be 'disagg', 'prefill', 'decode' or 'agg', not 'dis'"),
        ({"max_gpu_budget": "8"}, "max_gpu_budget: must be a whole number, not '8'"),
        ({"ttft": -1}, "ttft: must be greater than 0, not -1"),
        ({"ttft": 1, "ttft_ms": 1}, "ttft: is another name of ttft_ms"),
        ({"aic_perf_model": {}}, "aic_perf_model: .*use ais_perf_model"),
        ({"fpm_sample_bucket_size": 15}, "fpm_sample_bucket_size must be a perfect square, not 15"),
        ({"environment": "global-planner"}, "needs global_planner_namespace"),
        ({"optimization_target": "load"}, "needs prefill_scale_up_queue_tokens, .*kv_rate"),
        (
            {"optimization_target": "sla", "enable_throughput_scaling": False},
            "enable_throughput_scaling or enable_load_scaling must be true",
        ),
        (
            {
                "optimization_target": "sla",
                "enable_load_scaling": True,
                "load_adjustment_interval_seconds": 180,
            },
            "load_adjustment_interval_seconds must be below .*180 and 180",
        ),
        ({"min_gpu_budget": 9}, "min_gpu_budget is 9, more than max_gpu_budget, 8"),
        ({"enable_power_awareness": True}, "needs total_gpu_power_limit"),
        ({"max_gpu_budget": -1}, "max_gpu_budget: -1 is no limit.*--budget"),
        ({"min_endpoint": 9}, "floors need 18 GPUs"),
        ({"namespace": "a b"}, "namespace: must match"),
        ({"prefill_min_endpoint": 0}, "prefill_min_endpoint: must be at least 1, not 0"),
    ],
)
def test_bad_values_are_refused_with_their_path(
    dynamo: Any, keys: dict[str, Any], problem: str
) -> None:
    with pytest.raises(FleetError, match=problem):
        dynamo(**keys)


@pytest.mark.parametrize(
    ("around", "keys", "problem"),
    [
        (Surroundings(folder=Path()), {}, "--model NAME"),
        (
            Surroundings(folder=Path(), model="m", pools=("a",)),
            {},
            r"disagg has 2 pool\(s\), prefill and decode",
        ),
    ],
)
def test_what_nobody_tells_is_asked_for(
    dynamo: Any, around: Surroundings, keys: dict[str, Any], problem: str
) -> None:
    with pytest.raises(FleetError, match=problem):
        dynamo(around, **keys)


def test_rates_are_forecast_by_weirs_trend_unless_the_file_says_how(dynamo: Any) -> None:
    assert dynamo()[1].planner.forecast.predictor == "trend"
    # Dynamo's default is what the other keys are about.
    forecast = dynamo(load_predictor_warmup_trace="t.jsonl")[1].planner.forecast
    assert (forecast.predictor, forecast.warmup_trace) == ("arima", "/here/t.jsonl")


def test_a_budget_from_elsewhere_counts_before_the_files(dynamo: Any) -> None:
    around = Surroundings(folder=Path(), model="m", budget_gpus=20)
    for most in (-1, 8):
        assert dynamo(around, max_gpu_budget=most)[1].fleet.budget.gpus == 20


def test_sections_are_looked_into_for_unknown_keys(dynamo: Any) -> None:
    translation, _ = dynamo(scheduling={"gateway": {}, "gatway": {}})
    assert {"scheduling", "scheduling.gatway"} <= _noted(translation)


@pytest.mark.parametrize("text", ["", "[1]", "a: b: c", "\x00"])
def test_what_is_no_configuration_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "planner.yaml"
    file.write_text(text)
    with pytest.raises(FleetError, match=r"planner\.yaml"):
        read_dynamo(file)


ON: dict[str, Any] = {
    "environment": "virtual",
    "namespace": "x",
    "model_name": "other",
    "mode": "agg",
    "optimization_target": "latency",
    "enable_throughput_scaling": False,
    "throughput_adjustment_interval_seconds": 90,
    "load_adjustment_interval_seconds": 4,
    "max_throughput_scaling_replicas": 2,
    "max_gpu_budget": 9,
    "min_gpu_budget": 3,
    "min_endpoint": 2,
    "prefill_min_endpoint": 2,
    "decode_min_endpoint": 2,
    "ttft_ms": 400,
    "itl_ms": 40,
    "prefill_engine_num_gpu": 2,
    "decode_engine_num_gpu": 2,
    "aic_interpolation": {"a": 1},
    "ais_perf_model": {"roles": {}},
    "pre_deployment_sweeping_mode": "rapid",
    "load_predictor": "kalman",
    "load_predictor_log1p": True,
    "load_predictor_warmup_trace": "t",
    "kalman_q_level": 2,
    "kalman_q_trend": 2,
    "kalman_r": 2,
    "kalman_min_points": 2,
    "prophet_window_size": 2,
    "max_num_fpm_samples": 2,
    "fpm_sample_bucket_size": 4,
    "load_scaling_down_sensitivity": 2,
    "load_metric_samples": 2,
    "load_min_observations": 2,
    "speculative_nextn": 2,
    "advisory": True,
    "throughput_metrics_source": "router",
    "metric_pulling_prometheus_endpoint": "http://p:1",
    "metric_pulling_prometheus_token_file": "t",
    "metric_pulling_prometheus_ca_bundle": "c",
    "metric_reporting_prometheus_port": 2,
    "report_interval_hours": 2,
    "report_output_dir": "r",
    "report_filename": "f",
    "report_write_gzip_log": True,
    "log_dir": "l",
    "live_dashboard_port": 2,
    "control_api_port": 2,
    "scheduling": {"gateway": {}},
    "plugin_registration": {"admin": {}},
}
"""Every key with another value than Dynamo's, but for those that need others beside them."""
ELSEWHERE = {
    "backend",  # the metrics of all of them are known
    "enable_load_scaling",  # is always on
    "profile_results_dir",
    "global_planner_namespace",
    "enable_power_awareness",
    "total_gpu_power_limit",
    "prefill_scale_up_queue_tokens",
    "prefill_scale_down_queue_tokens",
    "decode_scale_up_kv_rate",
    "decode_scale_down_kv_rate",
}


def test_all_keys_are_looked_at_here() -> None:
    assert ON.keys() | ELSEWHERE == DynamoPlanner.model_fields.keys()


@pytest.mark.parametrize("name", ON)
def test_a_key_changes_the_document_or_is_noted(dynamo: Any, name: str) -> None:
    sla = {"optimization_target": "sla", "enable_load_scaling": True}
    base, _ = dynamo(**sla)
    found, _ = dynamo(**{**sla, name: ON[name]})
    changed = (found.document, found.metrics_port) != (base.document, base.metrics_port)
    assert changed or name in _noted(found) - _noted(base) or name == "environment"
