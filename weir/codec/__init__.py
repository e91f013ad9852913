"""Protobuf <-> domain. The only package that knows both.

Decoders raise `ValueError` naming the field when a message cannot be a domain object
(negative counts, NaN, empty ids), so that services can answer INVALID_ARGUMENT.
"""

from weir.codec.decision import (
    decision_from_json,
    decision_json,
    decode_decision,
    encode_decision,
)
from weir.codec.members import decode_members, encode_members
from weir.codec.planning import (
    decode_grant,
    decode_plan,
    decode_report,
    decode_state,
    decode_targets,
    encode_grant,
    encode_plan,
    encode_report,
    encode_state,
    encode_targets,
)
from weir.codec.record import (
    decode_overrides,
    decode_record,
    encode_overrides,
    encode_record,
)
from weir.codec.telemetry import (
    decode_forward_pass,
    decode_traffic,
    encode_forward_pass,
    encode_traffic,
)

__all__ = [
    "decision_from_json",
    "decision_json",
    "decode_decision",
    "decode_forward_pass",
    "decode_grant",
    "decode_members",
    "decode_overrides",
    "decode_plan",
    "decode_record",
    "decode_report",
    "decode_state",
    "decode_targets",
    "decode_traffic",
    "encode_decision",
    "encode_forward_pass",
    "encode_grant",
    "encode_members",
    "encode_overrides",
    "encode_plan",
    "encode_record",
    "encode_report",
    "encode_state",
    "encode_targets",
    "encode_traffic",
]
