"""Decisions as they are kept and shown: protobuf on the wire, JSON in files and on terminals."""

import math
from typing import Any

import orjson

from weir.api.v1 import planner_pb2
from weir.codec.fields import finite, text
from weir.domain.decision import Alternative, DecisionRecord, Outcome, PoolChange
from weir.domain.ids import ClassName, PoolId

__all__ = ["decision_from_json", "decision_json", "decode_decision", "encode_decision"]


def encode_decision(record: DecisionRecord) -> planner_pb2.DecisionRecord:
    return planner_pb2.DecisionRecord(
        id=record.id,
        term=record.term,
        at_unix_s=record.at_unix_s,
        at_s=record.at_s,
        inputs_digest=record.inputs_digest,
        pools=[
            planner_pb2.DecisionRecord.Pool(
                pool_id=pool.pool_id,
                before_replicas=pool.before,
                after_replicas=pool.after,
                reason=pool.reason,
            )
            for pool in record.pools
        ],
        class_reasons={str(name): reason for name, reason in record.class_reasons.items()},
        alternatives=[
            planner_pb2.DecisionRecord.Alternative(
                what=other.what, value=other.value, why_not=other.why_not
            )
            for other in record.alternatives
        ],
        value=record.value,
        full_value=record.full_value,
        price_by_limit=record.price_by_limit,
        budget_gpus=record.budget_gpus,
        charged_gpus=record.charged_gpus,
        outcome=record.outcome,
        plan_version=record.plan_version,
        holding=record.holding,
    )


def decode_decision(message: planner_pb2.DecisionRecord) -> DecisionRecord:
    def optional(name: str) -> float | None:
        return finite(name, getattr(message, name)) if message.HasField(name) else None

    plan_version = optional("plan_version")
    return DecisionRecord(
        id=text("id", message.id),
        term=int(finite("term", message.term)),
        at_unix_s=finite("at_unix_s", message.at_unix_s),
        at_s=finite("at_s", message.at_s),
        inputs_digest=message.inputs_digest,
        outcome=Outcome(message.outcome),
        pools=tuple(_pool(pool) for pool in message.pools),
        class_reasons={ClassName(name): why for name, why in message.class_reasons.items()},
        alternatives=tuple(
            Alternative(
                what=text("alternatives.what", other.what),
                value=finite("alternatives.value", other.value, low=-math.inf),
                why_not=other.why_not,
            )
            for other in message.alternatives
        ),
        value=optional("value"),
        full_value=optional("full_value"),
        price_by_limit={
            limit: finite(f"price_by_limit[{limit}]", price)
            for limit, price in message.price_by_limit.items()
        },
        budget_gpus=int(finite("budget_gpus", message.budget_gpus)),
        charged_gpus=int(finite("charged_gpus", message.charged_gpus)),
        plan_version=None if plan_version is None else int(plan_version),
        holding=message.holding,
    )


def _pool(message: planner_pb2.DecisionRecord.Pool) -> PoolChange:
    return PoolChange(
        pool_id=PoolId(text("pools.pool_id", message.pool_id)),
        before=int(finite("pools.before_replicas", message.before_replicas)),
        after=int(finite("pools.after_replicas", message.after_replicas)),
        reason=message.reason,
    )


def decision_json(record: DecisionRecord) -> bytes:
    """One JSON object on one line, without its end. Fields are those of `DecisionRecord`."""
    return orjson.dumps(record)


def decision_from_json(line: bytes | str) -> DecisionRecord:
    """What `decision_json` has written; fields that are not known here are passed over.

    Raises `ValueError` if it is something else.
    """
    found = orjson.loads(line)
    try:
        return decode_decision(_message(found))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"no decision: {error!r}") from None


def _message(found: dict[str, Any]) -> planner_pb2.DecisionRecord:
    """By way of the message, so that both forms are held to the same checks."""
    pools = [
        planner_pb2.DecisionRecord.Pool(
            pool_id=pool["pool_id"],
            before_replicas=pool["before"],
            after_replicas=pool["after"],
            reason=pool["reason"],
        )
        for pool in found["pools"]
    ]
    alternatives = [
        planner_pb2.DecisionRecord.Alternative(
            what=other["what"], value=other["value"], why_not=other["why_not"]
        )
        for other in found["alternatives"]
    ]
    alike = {
        name: value
        for name, value in found.items()
        if name in planner_pb2.DecisionRecord.DESCRIPTOR.fields_by_name
    }
    return planner_pb2.DecisionRecord(**alike | {"pools": pools, "alternatives": alternatives})
