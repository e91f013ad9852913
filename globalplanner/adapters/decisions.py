"""Decisions in a JetStream stream, where they outlive this process."""

from google.protobuf.message import DecodeError

from weir import codec
from weir.api.v1 import planner_pb2
from weir.domain.decision import DecisionRecord
from weir.runtime import names
from weir.runtime.bus import Bus

__all__ = ["DecisionStream"]

_TIMEOUT_S = 2.0
_MOST_BYTES = 1 << 20
"""What a NATS server takes in one message unless it is told otherwise."""


class DecisionStream:
    """The stream of a fleet, which all its GlobalPlanners write to, one after the other."""

    name = "stream"

    def __init__(self, bus: Bus, fleet: str) -> None:
        self._bus = bus
        self._stream = names.decisions_stream(fleet)
        self._subject = names.decisions_subject(fleet, "made")

    async def write(self, record: DecisionRecord) -> None:
        """Raises `UnavailableError`, and `ValueError` if it is too large for a message."""
        payload = codec.encode_decision(record).SerializeToString(deterministic=True)
        if len(payload) > _MOST_BYTES:
            raise ValueError(f"decision {record.id} has {len(payload)} bytes, too many for NATS")
        await self._bus.record(self._stream, self._subject, payload, timeout_s=_TIMEOUT_S)

    async def recall(self, count: int) -> list[DecisionRecord]:
        """The newest `count`, oldest first, once each; what cannot be read is passed over.

        Raises `UnavailableError`.
        """
        found = await self._bus.recall(self._stream, self._subject, count, timeout_s=_TIMEOUT_S)
        records: dict[str, DecisionRecord] = {}
        for payload in found:
            try:
                message = planner_pb2.DecisionRecord.FromString(payload)
                record = codec.decode_decision(message)
            except (DecodeError, ValueError):
                continue
            records[record.id] = record
        return list(records.values())
