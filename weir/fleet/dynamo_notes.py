"""What of a Dynamo planner's configuration does not count as it is written, and what is done."""

from collections.abc import Iterator, Mapping

from weir.domain.fleet import Role
from weir.domain.targets import Target
from weir.fleet.dynamo_file import DynamoFile
from weir.fleet.dynamo_planner import ROLES, Mode

__all__ = ["notes_on"]

_LEARNED = "learned from the engines' forward passes"
_TREND = "the noise of rates is measured"
_LIVE = "see /metrics, and weir explain and weir status of a GlobalPlanner"
_INSTEAD: Mapping[str, str] = {
    "aic_interpolation": f"{_LEARNED}, or profile_results_dir",
    "ais_perf_model": f"{_LEARNED}, or profile_results_dir",
    "pre_deployment_sweeping_mode": "nothing is measured beforehand",
    "kalman_q_level": _TREND,
    "kalman_q_trend": _TREND,
    "kalman_r": _TREND,
    "max_num_fpm_samples": f"{_LEARNED}, older ones counting less",
    "fpm_sample_bucket_size": f"{_LEARNED}, older ones counting less",
    "load_min_observations": f"{_LEARNED}, from the profile on",
    "load_metric_samples": f"{_LEARNED}, older ones counting less",
    "load_scaling_down_sensitivity": "replicas go when the others carry the load with margin",
    "speculative_nextn": "accepted tokens are measured",
    "report_interval_hours": _LIVE,
    "report_output_dir": _LIVE,
    "report_filename": _LIVE,
    "report_write_gzip_log": _LIVE,
    "log_dir": "logs go to stderr",
    "live_dashboard_port": _LIVE,
    "control_api_port": "the file counts until it is changed and the planner started again",
    "scheduling": "one round every load_adjustment_interval_seconds, without plugins",
    "plugin_registration": "there are no plugins",
}
"""Keys that are taken and have no effect."""
_ENVIRONMENTS = {
    "kubernetes": "replicas are listed, started and stopped through --actuator",
    "virtual": "replicas are listed, started and stopped through --actuator, not by etcd",
}


def notes_on(file: DynamoFile, *, timed: bool) -> Iterator[str]:
    """One line for each key of the file that does not count as it does in Dynamo.

    `timed`: whether engines tell the time of their iterations.
    """
    planner = file.planner
    for name in file.unknown:
        yield f"{name}: no key of a Dynamo planner; not read"
    if planner.environment in _ENVIRONMENTS:
        yield f"environment {planner.environment}: {_ENVIRONMENTS[planner.environment]}"
    else:
        yield "global_planner_namespace: the GlobalPlanner is found at --global-planner"
    for name, instead in _INSTEAD.items():
        if name in file.given and _is_on(getattr(planner, name)):
            yield f"{name}: {instead}"
    if planner.optimization_target is Target.SLA and not (timed or planner.profile_results_dir):
        yield (
            "optimization_target sla: nothing tells how fast engines are, a generic profile counts:"
            " give profile_results_dir, or --nats to hear their forward passes"
        )
    yield from _partly(file)


def _partly(file: DynamoFile) -> Iterator[str]:
    """Keys that have another effect than in Dynamo."""
    planner, given = file.planner, file.given
    sla = planner.optimization_target is Target.SLA
    for name in ("enable_throughput_scaling", "enable_load_scaling"):
        if name in given and sla and not getattr(planner, name):
            yield f"{name}: what is forecast and what waits are one rule, with both in it"
    if not sla:
        for name in ("ttft_ms", "itl_ms"):
            if name in given:
                yield f"{name}: target {planner.optimization_target} is not sized by it"
    if "max_throughput_scaling_replicas" in given:
        what = "limits how many leave; growth is not limited"
        yield f"max_throughput_scaling_replicas: {what if sla else 'there is no such limit'}"
    if planner.min_gpu_budget > 0 and planner.mode is Mode.DISAGG:
        yield "min_gpu_budget: set the pools' min_replicas instead"
    for role in ROLES[planner.mode]:
        name = f"{'prefill' if role is Role.PREFILL else 'decode'}_engine_num_gpu"
        if getattr(planner, name) is None:
            yield f"{name}: not given, and no operator is asked; 1 counts"
    filling = planner.optimization_target in (Target.THROUGHPUT, Target.LATENCY)
    if filling and Role.PREFILL in ROLES[planner.mode]:
        yield (
            "optimization_target: queues of prefill are shares of the pool's context_limit_tokens,"
            " which the file does not tell: --set it"
        )


def _is_on(value: object) -> bool:
    """What is switched off is not missed."""
    return value not in (None, False, 0, "none") and value != {}
