"""The load of routers, to each other over NATS, a few times a second."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from itertools import repeat
from math import isfinite
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from router.core.elsewhere import Told
from router.core.peers import SILENT_S, Peers
from router.core.workers.worker import Load
from weir.api.v1 import load_pb2
from weir.domain.ids import PoolId, RouterId, WorkerId
from weir.runtime import names

if TYPE_CHECKING:
    from weir.runtime.bus import Bus

__all__ = ["SharedLoad", "decode", "encode"]

_log = logging.getLogger("weir.router.load")
_EVERY_S = 0.25
_REST = 50
"""It rests so many times longer than it takes: at most two hundredths of a core."""
_LONGEST_S = SILENT_S / 3.0
_REPEAT_S = SILENT_S / 3.0
_MOST_BYTES = 768 * 1024
"""NATS takes no message above 1 MiB."""


class SharedLoad:
    """Tells what this process has, and hears what those of other routers have.

    `alone`: there are no other processes of this router. If there are, they know of each other
    by other means, so nothing that a process of this router tells here is heard. `load`, `told`
    and `admit` as in `RouterService`.
    """

    def __init__(
        self,
        bus: "Bus",
        fleet: str,
        router_id: RouterId,
        process: str,
        *,
        alone: bool,
        load: Callable[[], Told],
        told: Callable[[str, Told | None], bool],
        admit: Callable[[], None],
    ) -> None:
        self._bus = bus
        self._fleet = fleet
        self._router_id = router_id
        self._process = process
        self._alone = alone
        self._load = load
        self._admit = admit
        self._peers = Peers(told)
        self._came: dict[str, load_pb2.RouterLoad] = {}
        """The newest of each process that has not been looked at."""
        self._sequence = 0
        self._said: Told | None = None
        self._said_at_s = 0.0
        self._too_long = False
        self.misunderstood = 0
        """Messages that were dropped."""

    @property
    def heard(self) -> int:
        """Processes of other routers whose load counts."""
        return len(self._peers)

    async def run(self) -> None:
        """For ever; in the end all is taken back."""
        await self._bus.subscribe(names.load_subject(self._fleet), self.take)
        try:
            while True:
                began_s = time.monotonic()
                self.say(self._load(), began_s)
                self.hear(began_s)
                spent_s = time.monotonic() - began_s
                await asyncio.sleep(min(_LONGEST_S, max(_EVERY_S, _REST * spent_s)))
        finally:
            self.say(Told(), time.monotonic())

    def say(self, told: Told, now_s: float) -> None:
        """Tell what has changed, and now and then what has not; nothing while there is nothing."""
        known = self._said
        same = told.loads == (known.loads if known else {})
        if same and (not told.loads or now_s < self._said_at_s + _REPEAT_S):
            return
        self._sequence += 1
        message = encode(told, self._router_id, self._process, self._sequence).SerializeToString()
        if len(message) > _MOST_BYTES:
            if not self._too_long:
                _log.warning("too many workers to tell other routers of: %d bytes", len(message))
            self._too_long = True
            return
        self._said, self._said_at_s = told, now_s
        self._bus.publish(names.load_subject(self._fleet, self._router_id), message)

    def take(self, data: bytes) -> None:
        """A message has come; it counts from the next `hear` on."""
        try:
            message = load_pb2.RouterLoad.FromString(data)
        except DecodeError as error:
            self._refuse(error)
            return
        same = message.router_id == self._router_id
        if same and (not self._alone or message.process == self._process):
            return
        process = f"{message.router_id}/{message.process}"
        known = self._came.get(process)
        newer = known is None or message.sequence > known.sequence
        if newer and self._peers.is_news(process, message.sequence):
            self._came[process] = message

    def hear(self, now_s: float) -> None:
        """Count what has come, and forget who is silent."""
        came, self._came = self._came, {}
        eased = False
        for process, message in came.items():
            try:
                told = decode(message)
            except ValueError as error:
                self._refuse(error)
                continue
            eased |= self._peers.hear(process, message.sequence, told, now_s)
        eased |= self._peers.forget(now_s)
        if eased:
            self._admit()

    def _refuse(self, error: Exception) -> None:
        self.misunderstood += 1
        _log.debug("load of another router not understood error=%s", error)


def encode(told: Told, router_id: RouterId, process: str, sequence: int) -> load_pb2.RouterLoad:
    pools = []
    for pool_id, loads in told.loads.items():
        columns = dict(zip(Load._fields, zip(*loads.values(), strict=True), strict=False))
        pools.append(load_pb2.PoolLoad(pool_id=pool_id, worker_ids=list(loads), **columns))
    return load_pb2.RouterLoad(router_id=router_id, process=process, sequence=sequence, pools=pools)


def decode(message: load_pb2.RouterLoad) -> Told:
    """Raises `ValueError` if it cannot be true."""
    return Told(loads={PoolId(pool.pool_id): _loads(pool) for pool in message.pools})


def _loads(pool: load_pb2.PoolLoad) -> dict[WorkerId, Load]:
    workers = pool.worker_ids
    columns = [_column(getattr(pool, name), len(workers), name) for name in Load._fields]
    return {
        WorkerId(worker): Load(*values)
        for worker, values in zip(workers, zip(*columns, strict=False), strict=False)
    }


def _column(values: Iterable[float], count: int, name: str) -> Iterable[float]:
    """Of a sender that does not know the field there is none: all of it is nothing."""
    found = list(values)
    if not found:
        return repeat(0)
    if len(found) != count:
        raise ValueError(f"{name}: {len(found)} values for {count} workers")
    if min(found) < 0 or not isfinite(max(found)) or not all(map(isfinite, found)):
        raise ValueError(f"{name}: a value below zero, or none")
    return found
