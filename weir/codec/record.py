"""The GlobalPlanner's durable record."""

from weir.api.v1 import planner_pb2
from weir.codec.fields import finite, text
from weir.codec.planning import decode_targets, encode_targets
from weir.domain.ids import ClassName, PoolId
from weir.domain.overrides import Overrides
from weir.domain.record import LedgerRecord, OpenGrant, PoolLine

__all__ = ["decode_overrides", "decode_record", "encode_overrides", "encode_record"]


def encode_overrides(overrides: Overrides) -> planner_pb2.Overrides:
    return planner_pb2.Overrides(
        budget_gpus=overrides.budget_gpus,
        gpus_by_class=overrides.gpus_by_class,
        targets={str(name): encode_targets(t) for name, t in overrides.targets.items()},
        frozen={str(id): why for id, why in overrides.frozen.items()},
        drained={str(id): why for id, why in overrides.drained.items()},
    )


def decode_overrides(message: planner_pb2.Overrides) -> Overrides:
    gpus = message.budget_gpus if message.HasField("budget_gpus") else None
    return Overrides(
        budget_gpus=int(finite("budget_gpus", gpus)) if gpus is not None else None,
        gpus_by_class={
            name: int(finite(f"gpus_by_class[{name}]", gpus))
            for name, gpus in message.gpus_by_class.items()
        },
        targets={ClassName(name): decode_targets(t) for name, t in message.targets.items()},
        frozen={PoolId(id): why for id, why in message.frozen.items()},
        drained={PoolId(id): why for id, why in message.drained.items()},
    )


def encode_record(record: LedgerRecord) -> planner_pb2.LedgerRecord:
    return planner_pb2.LedgerRecord(
        term=record.term,
        owner=record.owner,
        serial=record.serial,
        pools=[_encode_line(line) for line in record.pools],
        overrides=encode_overrides(record.overrides),
    )


def decode_record(message: planner_pb2.LedgerRecord) -> LedgerRecord:
    return LedgerRecord(
        term=int(finite("term", message.term)),
        owner=message.owner,
        serial=int(finite("serial", message.serial)),
        pools=tuple(_decode_line(line) for line in message.pools),
        overrides=decode_overrides(message.overrides),
    )


def _encode_line(line: PoolLine) -> planner_pb2.LedgerRecord.Pool:
    return planner_pb2.LedgerRecord.Pool(
        pool_id=line.pool_id,
        gpus_per_replica=line.gpus_per_replica,
        gpu_class=line.gpu_class,
        node_group=line.node_group,
        charged_replicas=line.charged_replicas,
        unknown_replicas=line.unknown_replicas,
        sequence=line.sequence,
        power_w_per_gpu=line.power_w_per_gpu,
        open=[
            planner_pb2.LedgerRecord.OpenGrant(
                term=grant.term, epoch=grant.epoch, replicas=grant.replicas
            )
            for grant in line.open
        ],
    )


def _decode_line(message: planner_pb2.LedgerRecord.Pool) -> PoolLine:
    return PoolLine(
        pool_id=PoolId(text("pools.pool_id", message.pool_id)),
        gpus_per_replica=int(finite("pools.gpus_per_replica", message.gpus_per_replica)),
        gpu_class=message.gpu_class,
        node_group=message.node_group,
        charged_replicas=int(finite("pools.charged_replicas", message.charged_replicas)),
        unknown_replicas=int(finite("pools.unknown_replicas", message.unknown_replicas)),
        sequence=int(finite("pools.sequence", message.sequence)),
        power_w_per_gpu=(
            int(finite("pools.power_w_per_gpu", message.power_w_per_gpu))
            if message.HasField("power_w_per_gpu")
            else None
        ),
        open=tuple(
            OpenGrant(
                term=int(finite("open.term", grant.term)),
                epoch=int(finite("open.epoch", grant.epoch)),
                replicas=int(finite("open.replicas", grant.replicas)),
            )
            for grant in message.open
        ),
    )
