"""Traffic in, term and routing plan in the key-value store, over NATS."""

import logging
import secrets
import time
from collections.abc import Callable

from google.protobuf.message import DecodeError

from globalplanner.metrics import Metrics
from weir import codec
from weir.api.v1 import telemetry_pb2
from weir.domain.errors import StaleRevisionError, UnavailableError
from weir.domain.planning import RoutingPlan
from weir.domain.telemetry import TrafficSample
from weir.runtime import names
from weir.runtime.bus import Bus

__all__ = ["NatsPlans", "NatsTerms", "subscribe"]

_log = logging.getLogger("weir.globalplanner")
_TIMEOUT_S = 1.0
_DIGITS = 18


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


class NatsTerms:
    """The newest leader's term: a decimal number that only grows, by compare-and-set.

    After it stands who has taken it, so that this process knows its own. Where no term is stored
    the time of day in milliseconds comes first, so that a store which has lost its data does not
    give numbers away again.
    """

    def __init__(self, bus: Bus, fleet: str) -> None:
        self._bus = bus
        self._bucket = names.ledger_bucket(fleet)
        self._owner = secrets.token_hex(4).encode()
        self._taken = 0

    @property
    def connected(self) -> bool:
        return self._bus.connected

    async def newest(self) -> int:
        newest, owner, _ = await self._read()
        return self._taken if owner == self._owner else newest

    async def take(self, *, above: int = 0) -> int:
        newest, _, revision = await self._read()
        if newest == 0:
            newest = time.time_ns() // 1_000_000
        term = max(newest, above) + 1
        try:
            value = b"%d %s" % (term, self._owner)
            await self._bus.kv_update(
                self._bucket, names.TERM_KEY, value, revision, timeout_s=_TIMEOUT_S
            )
        except StaleRevisionError:
            raise UnavailableError("another GlobalPlanner has written the term first") from None
        self._taken = term
        return term

    async def _read(self) -> tuple[int, bytes, int]:
        """Term, who has taken it, and revision; zero and nobody if there is none."""
        found = await self._bus.kv_get(self._bucket, names.TERM_KEY, timeout_s=_TIMEOUT_S)
        if found is None:
            return 0, b"", 0
        value, revision = found
        number, _, owner = value.partition(b" ")
        if not (number.isdigit() and len(number) <= _DIGITS):
            key = f"{self._bucket}/{names.TERM_KEY}"
            raise UnavailableError(f"{key} holds {value[:40]!r}, not a number; delete that key")
        return int(number), owner, revision


class NatsPlans:
    """Where routers look up the routing plan."""

    def __init__(self, bus: Bus, fleet: str) -> None:
        self._bus = bus
        self._bucket = names.plan_bucket(fleet)

    async def put(self, plan: RoutingPlan) -> None:
        value = codec.encode_plan(plan).SerializeToString(deterministic=True)
        await self._bus.kv_put(self._bucket, names.PLAN_KEY, value, timeout_s=_TIMEOUT_S)
