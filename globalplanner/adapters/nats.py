"""Telemetry in, terms and the routing plan out, over NATS."""

import logging
from collections.abc import Callable

from google.protobuf.message import DecodeError

from weir import codec
from weir.api.v1 import telemetry_pb2
from weir.domain.errors import UnavailableError
from weir.domain.planning import RoutingPlan
from weir.domain.telemetry import TrafficSample
from weir.runtime import names
from weir.runtime.bus import Bus, StaleRevisionError

__all__ = ["PlanBucket", "TermBucket", "subscribe"]

_log = logging.getLogger("weir.globalplanner")


async def subscribe(bus: Bus, fleet: str, take: Callable[[TrafficSample], None]) -> None:
    """Hand every router's samples to `take`, for ever."""

    def receive(payload: bytes) -> None:
        try:
            sample = codec.decode_traffic(telemetry_pb2.TrafficSample.FromString(payload))
        except (DecodeError, ValueError) as error:
            _log.warning("a traffic sample was not understood: %s", error)
            return
        take(sample)

    await bus.subscribe(names.traffic_subject(fleet), receive)


class TermBucket:
    """The term in the ledger bucket, counted up by compare-and-set."""

    def __init__(self, bus: Bus, fleet: str) -> None:
        self._bus = bus
        self._bucket = names.ledger_bucket(fleet)

    @property
    def connected(self) -> bool:
        return self._bus.connected

    async def next_term(self, above: int) -> int:
        entry = await self._bus.kv_get(self._bucket, names.TERM_KEY)
        stored, revision = (_term(entry[0]), entry[1]) if entry is not None else (0, 0)
        term = max(stored, above) + 1
        try:
            await self._bus.kv_update(self._bucket, names.TERM_KEY, str(term).encode(), revision)
        except StaleRevisionError:
            raise UnavailableError("another GlobalPlanner has taken the term") from None
        return term


class PlanBucket:
    """The one key of the plan bucket."""

    def __init__(self, bus: Bus, fleet: str) -> None:
        self._bus = bus
        self._bucket = names.plan_bucket(fleet)

    async def put(self, plan: RoutingPlan) -> None:
        await self._bus.kv_put(
            self._bucket, names.PLAN_KEY, codec.encode_plan(plan).SerializeToString()
        )


def _term(value: bytes) -> int:
    try:
        return int(value)
    except ValueError:
        raise UnavailableError(
            f"the stored term {value[:40]!r} is not a number; mend key {names.TERM_KEY}"
        ) from None
