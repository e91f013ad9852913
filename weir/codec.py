"""Protobuf <-> domain. The only module that knows both.

Decoders raise `ValueError` naming the field when a message cannot be a domain object
(negative counts, NaN, empty ids), so that services can answer INVALID_ARGUMENT.
"""

import math
from collections.abc import Mapping

from weir.api.v1 import planner_pb2, pool_pb2, telemetry_pb2
from weir.domain.fleet import Stage
from weir.domain.histogram import LogHistogram
from weir.domain.ids import ClassName, PoolId, RouterId, WorkerId
from weir.domain.planning import (
    ClassLoad,
    Grant,
    PoolMembers,
    PoolReport,
    PoolState,
    RoutingPlan,
    WorkerEndpoint,
)
from weir.domain.telemetry import ClassTraffic, ForwardPassSample, PoolTraffic, TrafficSample

__all__ = [
    "decode_forward_pass",
    "decode_grant",
    "decode_members",
    "decode_plan",
    "decode_report",
    "decode_state",
    "decode_traffic",
    "encode_forward_pass",
    "encode_grant",
    "encode_members",
    "encode_plan",
    "encode_report",
    "encode_state",
    "encode_traffic",
]


def _finite(name: str, value: float, *, low: float = 0.0) -> float:
    if not math.isfinite(value) or value < low:
        raise ValueError(f"{name} must be a finite number >= {low:g}, not {value}")
    return value


def _text(name: str, value: str) -> str:
    if not value:
        raise ValueError(f"{name} must not be empty")
    return value


def encode_state(state: PoolState) -> planner_pb2.PoolState:
    return planner_pb2.PoolState(
        ready=state.ready, starting=state.starting, terminating=state.terminating
    )


def decode_state(message: planner_pb2.PoolState) -> PoolState:
    return PoolState(
        ready=message.ready, starting=message.starting, terminating=message.terminating
    )


def encode_report(report: PoolReport) -> planner_pb2.ReportRequest:
    return planner_pb2.ReportRequest(
        pool_id=report.pool_id,
        sequence=report.sequence,
        acted_term=report.acted_term,
        acted_epoch=report.acted_epoch,
        acted_replicas=report.acted_replicas,
        state=encode_state(report.state),
        capacity_rps={str(name): rate for name, rate in report.capacity_rps.items()},
        capacity_rel_std=report.capacity_rel_std,
        load=[
            planner_pb2.ClassLoad(
                class_name=load.name,
                rate_rps=load.rate_rps,
                rate_high_rps=load.rate_high_rps,
                isl_tokens=load.isl_tokens,
                osl_tokens=load.osl_tokens,
            )
            for load in report.load
        ],
        backlog_replica_s=report.backlog_replica_s,
        telemetry_age_s=report.telemetry_age_s,
        ttft_s=report.ttft_s,
        itl_s=report.itl_s,
        start_up_s=report.start_up_s,
    )


def decode_report(message: planner_pb2.ReportRequest) -> PoolReport:
    def optional(name: str) -> float | None:
        return _finite(name, getattr(message, name)) if message.HasField(name) else None

    for name in ("sequence", "acted_term", "acted_epoch", "acted_replicas"):
        _finite(name, getattr(message, name))
    return PoolReport(
        pool_id=PoolId(_text("pool_id", message.pool_id)),
        sequence=message.sequence,
        acted_term=message.acted_term,
        acted_epoch=message.acted_epoch,
        acted_replicas=message.acted_replicas,
        state=decode_state(message.state),
        capacity_rps={
            ClassName(name): _finite(f"capacity_rps[{name}]", rate)
            for name, rate in message.capacity_rps.items()
        },
        capacity_rel_std=_finite("capacity_rel_std", message.capacity_rel_std),
        load=tuple(_decode_load(load) for load in message.load),
        backlog_replica_s=optional("backlog_replica_s"),
        telemetry_age_s=optional("telemetry_age_s"),
        ttft_s=optional("ttft_s"),
        itl_s=optional("itl_s"),
        start_up_s=_finite("start_up_s", message.start_up_s),
    )


def _decode_load(message: planner_pb2.ClassLoad) -> ClassLoad:
    return ClassLoad(
        name=ClassName(_text("load.class_name", message.class_name)),
        rate_rps=_finite("load.rate_rps", message.rate_rps),
        rate_high_rps=_finite("load.rate_high_rps", message.rate_high_rps),
        isl_tokens=_finite("load.isl_tokens", message.isl_tokens),
        osl_tokens=_finite("load.osl_tokens", message.osl_tokens),
    )


def encode_grant(grant: Grant) -> planner_pb2.Grant:
    return planner_pb2.Grant(
        pool_id=grant.pool_id,
        term=grant.term,
        epoch=grant.epoch,
        replicas=grant.replicas,
        valid_s=grant.valid_s,
        reason=grant.reason,
    )


def decode_grant(message: planner_pb2.Grant) -> Grant:
    for name in ("term", "epoch", "replicas", "valid_s"):
        _finite(name, getattr(message, name))
    return Grant(
        pool_id=PoolId(_text("pool_id", message.pool_id)),
        term=message.term,
        epoch=message.epoch,
        replicas=message.replicas,
        valid_s=message.valid_s,
        reason=message.reason,
    )


def encode_plan(plan: RoutingPlan) -> planner_pb2.RoutingPlan:
    message = planner_pb2.RoutingPlan(term=plan.term, version=plan.version)
    for name in sorted({*plan.shares, *plan.spill}):
        for stage in Stage:
            stage_message = getattr(message.classes[name], stage.value)
            stage_message.share_by_pool.update(plan.shares.get(name, {}).get(stage, {}))
            stage_message.spill.extend(plan.spill.get(name, {}).get(stage, ()))
    return message


def decode_plan(message: planner_pb2.RoutingPlan) -> RoutingPlan:
    shares: dict[ClassName, Mapping[Stage, Mapping[PoolId, float]]] = {}
    spill: dict[ClassName, Mapping[Stage, tuple[PoolId, ...]]] = {}
    for name, plan in message.classes.items():
        by_stage = {stage: getattr(plan, stage.value) for stage in Stage}
        shares[ClassName(name)] = {
            stage: {
                PoolId(pool): _finite(f"share[{name}][{pool}]", share)
                for pool, share in stage_plan.share_by_pool.items()
            }
            for stage, stage_plan in by_stage.items()
        }
        spill[ClassName(name)] = {
            stage: tuple(PoolId(pool) for pool in stage_plan.spill)
            for stage, stage_plan in by_stage.items()
        }
    return RoutingPlan(term=message.term, version=message.version, shares=shares, spill=spill)


def encode_members(members: PoolMembers) -> pool_pb2.PoolMembers:
    return pool_pb2.PoolMembers(
        pool_id=members.pool_id,
        version=members.version,
        workers=[
            pool_pb2.Worker(id=w.id, host=w.host, port=w.port, draining=w.draining)
            for w in members.workers
        ],
    )


def decode_members(message: pool_pb2.PoolMembers) -> PoolMembers:
    return PoolMembers(
        pool_id=PoolId(_text("pool_id", message.pool_id)),
        version=message.version,
        workers=tuple(
            WorkerEndpoint(
                id=WorkerId(_text("worker.id", w.id)),
                host=_text("worker.host", w.host),
                port=int(_finite("worker.port", w.port, low=1)),
                draining=w.draining,
            )
            for w in message.workers
        ),
    )


def _encode_histogram(histogram: LogHistogram) -> telemetry_pb2.LogHistogram:
    return telemetry_pb2.LogHistogram(counts=histogram.counts)


def _decode_histogram(message: telemetry_pb2.LogHistogram) -> LogHistogram:
    for bucket, count in message.counts.items():
        _finite("histogram bucket", bucket)
        _finite("histogram count", count)
    return LogHistogram.of(message.counts)


_CLASS_COUNTS = (
    "arrivals",
    "isl_tokens",
    "completed",
    "osl_tokens",
    "failed",
    "shed",
    "cancelled",
    "queued",
)
_POOL_COUNTS = (
    "arrivals",
    "isl_tokens",
    "completed",
    "osl_tokens",
    "failed",
    "in_flight",
    "queued_tokens",
)
_PASS_COUNTS = (
    "sequence",
    "iterations",
    "prefill_tokens",
    "decode_tokens",
    "running",
    "waiting",
    "waiting_tokens",
    "kv_used_tokens",
    "kv_total_tokens",
    "preemptions",
    "completed",
)


def _counts(message: object, names: tuple[str, ...]) -> dict[str, int]:
    return {name: int(_finite(name, getattr(message, name))) for name in names}


def encode_traffic(sample: TrafficSample) -> telemetry_pb2.TrafficSample:
    return telemetry_pb2.TrafficSample(
        router_id=sample.router_id,
        sequence=sample.sequence,
        window_s=sample.window_s,
        classes=[
            telemetry_pb2.ClassTraffic(
                class_name=traffic.name,
                ttft_s=_encode_histogram(traffic.ttft_s),
                itl_s=_encode_histogram(traffic.itl_s),
                **_counts(traffic, _CLASS_COUNTS),
            )
            for traffic in sample.classes
        ],
        pools=[
            telemetry_pb2.PoolTraffic(
                pool_id=traffic.pool_id,
                first_token_s=_encode_histogram(traffic.first_token_s),
                itl_s=_encode_histogram(traffic.itl_s),
                **_counts(traffic, _POOL_COUNTS),
            )
            for traffic in sample.pools
        ],
    )


def decode_traffic(message: telemetry_pb2.TrafficSample) -> TrafficSample:
    return TrafficSample(
        router_id=RouterId(_text("router_id", message.router_id)),
        sequence=message.sequence,
        window_s=_finite("window_s", message.window_s),
        classes=tuple(
            ClassTraffic(
                name=ClassName(_text("class_name", traffic.class_name)),
                ttft_s=_decode_histogram(traffic.ttft_s),
                itl_s=_decode_histogram(traffic.itl_s),
                **_counts(traffic, _CLASS_COUNTS),
            )
            for traffic in message.classes
        ),
        pools=tuple(
            PoolTraffic(
                pool_id=PoolId(_text("pool_id", traffic.pool_id)),
                first_token_s=_decode_histogram(traffic.first_token_s),
                itl_s=_decode_histogram(traffic.itl_s),
                **_counts(traffic, _POOL_COUNTS),
            )
            for traffic in message.pools
        ),
    )


def encode_forward_pass(sample: ForwardPassSample) -> telemetry_pb2.ForwardPassSample:
    return telemetry_pb2.ForwardPassSample(
        pool_id=sample.pool_id,
        worker_id=sample.worker_id,
        window_s=sample.window_s,
        busy_s=sample.busy_s,
        **_counts(sample, _PASS_COUNTS),
    )


def decode_forward_pass(message: telemetry_pb2.ForwardPassSample) -> ForwardPassSample:
    return ForwardPassSample(
        pool_id=PoolId(_text("pool_id", message.pool_id)),
        worker_id=WorkerId(_text("worker_id", message.worker_id)),
        window_s=_finite("window_s", message.window_s),
        busy_s=_finite("busy_s", message.busy_s),
        **_counts(message, _PASS_COUNTS),
    )
