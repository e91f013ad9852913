"""Reports, grants and the routing plan."""

from collections.abc import Mapping

from weir.api.v1 import planner_pb2
from weir.codec.fields import finite, text
from weir.domain.fleet import Role, Stage
from weir.domain.ids import ClassName, PoolId
from weir.domain.overrides import ClassTargets
from weir.domain.planning import ClassLoad, Grant, PoolReport, PoolState, RoutingPlan

__all__ = [
    "decode_grant",
    "decode_plan",
    "decode_report",
    "decode_state",
    "decode_targets",
    "encode_grant",
    "encode_plan",
    "encode_report",
    "encode_state",
    "encode_targets",
]


def encode_state(state: PoolState) -> planner_pb2.PoolState:
    return planner_pb2.PoolState(
        ready=state.ready, starting=state.starting, terminating=state.terminating
    )


def decode_state(message: planner_pb2.PoolState) -> PoolState:
    for name in ("ready", "starting", "terminating"):
        finite(f"state.{name}", getattr(message, name))
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
        withdrawn=report.withdrawn,
        role=report.role,
        gpus_per_replica=report.gpus_per_replica,
        wish=report.wish,
    )


def decode_report(message: planner_pb2.ReportRequest) -> PoolReport:
    def optional(name: str) -> float | None:
        return finite(name, getattr(message, name)) if message.HasField(name) else None

    for name in ("sequence", "acted_term", "acted_epoch", "acted_replicas"):
        finite(name, getattr(message, name))
    return PoolReport(
        pool_id=PoolId(text("pool_id", message.pool_id)),
        sequence=message.sequence,
        acted_term=message.acted_term,
        acted_epoch=message.acted_epoch,
        acted_replicas=message.acted_replicas,
        state=decode_state(message.state),
        capacity_rps={
            ClassName(text("capacity_rps", name)): finite(f"capacity_rps[{name}]", rate)
            for name, rate in message.capacity_rps.items()
        },
        capacity_rel_std=finite("capacity_rel_std", message.capacity_rel_std),
        load=tuple(_decode_load(load) for load in message.load),
        backlog_replica_s=optional("backlog_replica_s"),
        telemetry_age_s=optional("telemetry_age_s"),
        ttft_s=optional("ttft_s"),
        itl_s=optional("itl_s"),
        start_up_s=finite("start_up_s", message.start_up_s),
        withdrawn=message.withdrawn,
        role=_decode_role(message.role),
        gpus_per_replica=(
            int(finite("gpus_per_replica", message.gpus_per_replica, low=1))
            if message.HasField("gpus_per_replica")
            else None
        ),
        wish=int(finite("wish", message.wish)) if message.HasField("wish") else None,
    )


def _decode_role(name: str) -> Role | None:
    if name and name not in set(Role):
        raise ValueError(f"role must be one of {', '.join(Role)}, not {name!r}")
    return Role(name) if name else None


def _decode_load(message: planner_pb2.ClassLoad) -> ClassLoad:
    name = text("load.class_name", message.class_name)
    return ClassLoad(
        name=ClassName(name),
        rate_rps=finite(f"load[{name}].rate_rps", message.rate_rps),
        rate_high_rps=finite(f"load[{name}].rate_high_rps", message.rate_high_rps),
        isl_tokens=finite(f"load[{name}].isl_tokens", message.isl_tokens),
        osl_tokens=finite(f"load[{name}].osl_tokens", message.osl_tokens),
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
        finite(name, getattr(message, name))
    return Grant(
        pool_id=PoolId(text("pool_id", message.pool_id)),
        term=message.term,
        epoch=message.epoch,
        replicas=message.replicas,
        valid_s=message.valid_s,
        reason=message.reason,
    )


def encode_plan(plan: RoutingPlan) -> planner_pb2.RoutingPlan:
    message = planner_pb2.RoutingPlan(
        term=plan.term,
        version=plan.version,
        targets={str(name): encode_targets(t) for name, t in plan.targets.items()},
    )
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
                PoolId(pool): finite(f"share[{name}][{pool}]", share)
                for pool, share in stage_plan.share_by_pool.items()
            }
            for stage, stage_plan in by_stage.items()
        }
        spill[ClassName(name)] = {
            stage: tuple(PoolId(pool) for pool in stage_plan.spill)
            for stage, stage_plan in by_stage.items()
        }
    return RoutingPlan(
        term=message.term,
        version=message.version,
        shares=shares,
        spill=spill,
        targets={ClassName(name): decode_targets(t) for name, t in message.targets.items()},
    )


def encode_targets(targets: ClassTargets) -> planner_pb2.ClassTargets:
    return planner_pb2.ClassTargets(
        ttft_s=targets.ttft_s,
        itl_s=targets.itl_s,
        weight=targets.weight,
        priority=targets.priority,
    )


def decode_targets(message: planner_pb2.ClassTargets) -> ClassTargets:
    def optional(name: str) -> float | None:
        if not message.HasField(name):
            return None
        value = finite(name, getattr(message, name))
        if value <= 0.0:
            raise ValueError(f"{name} must be above 0, not {value}")
        return value

    return ClassTargets(
        ttft_s=optional("ttft_s"),
        itl_s=optional("itl_s"),
        weight=optional("weight"),
        priority=message.priority if message.HasField("priority") else None,
    )
