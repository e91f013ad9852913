"""Traffic in, the record and the routing plan in the key-value store, over NATS."""

import time
from collections.abc import Callable

from google.protobuf.message import DecodeError

from globalplanner.metrics import Metrics, Write
from weir import codec
from weir.api.v1 import planner_pb2, telemetry_pb2
from weir.domain.errors import StaleRevisionError, UnavailableError
from weir.domain.planning import RoutingPlan
from weir.domain.record import LedgerRecord
from weir.domain.telemetry import TrafficSample
from weir.runtime import names
from weir.runtime.bus import Bus

__all__ = ["NatsPlans", "NatsRecords", "subscribe"]

_TIMEOUT_S = 1.0


async def subscribe(
    bus: Bus, fleet: str, take: Callable[[TrafficSample], None], metrics: Metrics
) -> None:
    """Hand every router's samples to `take`, for ever; unreadable ones are counted."""

    def receive(payload: bytes) -> None:
        try:
            sample = codec.decode_traffic(telemetry_pb2.TrafficSample.FromString(payload))
        except (DecodeError, ValueError):
            metrics.unreadable_sample()
            return
        take(sample)

    await bus.subscribe(names.traffic_subject(fleet), receive)


class NatsRecords:
    """The fleet's durable record: one key, written by compare-and-set; a `RecordStore`."""

    def __init__(
        self, bus: Bus, fleet: str, metrics: Metrics, *, key: str = names.RECORD_KEY
    ) -> None:
        self._bus = bus
        self._bucket = names.ledger_bucket(fleet)
        self._key = key
        self._metrics = metrics

    @property
    def connected(self) -> bool:
        return self._bus.connected

    async def read(self) -> tuple[LedgerRecord | None, int]:
        found = await self._bus.kv_get(self._bucket, self._key, timeout_s=_TIMEOUT_S)
        if found is None:
            return None, 0
        value, revision = found
        try:
            record = codec.decode_record(planner_pb2.LedgerRecord.FromString(value))
        except (DecodeError, ValueError) as error:
            key = f"{self._bucket}/{self._key}"
            raise UnavailableError(
                f"{key} cannot be read ({error}); delete that key to begin anew, with every pool "
                "counted at its maximum until it reports"
            ) from None
        return record, revision

    async def write(self, record: LedgerRecord, revision: int) -> int:
        value = codec.encode_record(record).SerializeToString(deterministic=True)
        outcome, began_s = Write.FAILED, time.monotonic()
        try:
            written = await self._bus.kv_update(
                self._bucket, self._key, value, revision, timeout_s=_TIMEOUT_S
            )
            outcome = Write.WRITTEN
        except StaleRevisionError:
            outcome = Write.LOST
            raise
        finally:
            self._metrics.wrote(outcome, time.monotonic() - began_s)
        return written

    def new_term(self) -> int:
        """The time of day in milliseconds: above every term of a store that has lost its data."""
        return time.time_ns() // 1_000_000


class NatsPlans:
    """Where routers look up the routing plan."""

    def __init__(self, bus: Bus, fleet: str) -> None:
        self._bus = bus
        self._bucket = names.plan_bucket(fleet)

    async def put(self, plan: RoutingPlan) -> None:
        value = codec.encode_plan(plan).SerializeToString(deterministic=True)
        await self._bus.kv_put(self._bucket, names.PLAN_KEY, value, timeout_s=_TIMEOUT_S)
