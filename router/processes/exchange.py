"""What each process of a router tells the others of its load, many times a second."""

import asyncio
import logging
import time
from collections.abc import Callable

import orjson

from router.core.elsewhere import Told
from router.core.workers.worker import Load
from router.processes.table import SLOTS, Table
from weir.domain.ids import ClassName, PoolId, WorkerId

__all__ = ["Exchange"]

_log = logging.getLogger("weir.router.processes")
_EVERY_S = 0.025
_REST = 50
"""It rests so many times longer than it takes: at most two hundredths of a core."""
_LONGEST_S = 0.5
_REPEAT_S = 0.25
_SILENT_S = 2.0
"""Who has said nothing for so long has nothing any more, as far as others are concerned."""
_NOTHING = b""


class Exchange:
    """`load` is what this process has; `told` takes what another has, None if it has nothing.

    `told` says whether there may be more room; `admit` is called once if anybody said so.
    """

    def __init__(
        self,
        table: Table,
        slot: int,
        load: Callable[[], Told],
        told: Callable[[str, Told | None], bool],
        admit: Callable[[], None],
    ) -> None:
        self._table = table
        self._slot = slot
        self._load = load
        self._told = told
        self._admit = admit
        self._said = _NOTHING
        self._said_at_s = 0.0
        self._heard: dict[int, tuple[int, float]] = {}
        """Number of the last message of each slot, and when it came."""
        self._too_long = False

    async def run(self) -> None:
        """For ever; what it has said is taken back in the end."""
        try:
            while True:
                began_s = time.monotonic()
                self.say(began_s)
                self.hear(began_s)
                spent_s = time.monotonic() - began_s
                await asyncio.sleep(min(_LONGEST_S, max(_EVERY_S, _REST * spent_s)))
        finally:
            self._table.write(self._slot, _NOTHING)

    def say(self, now_s: float) -> None:
        """Write what has changed; now and then also what has not, to be known to live."""
        message = encode(self._load())
        if message == self._said and now_s < self._said_at_s + _REPEAT_S:
            return
        if not self._table.write(self._slot, message) and not self._too_long:
            self._too_long = True
            _log.warning("too many workers to tell the other processes of")
        self._said, self._said_at_s = message, now_s

    def hear(self, now_s: float) -> None:
        """Take what others have written, and forget who is silent."""
        eased = [self._hear(slot, now_s) for slot in range(SLOTS) if slot != self._slot]
        if any(eased):
            self._admit()

    def _hear(self, slot: int, now_s: float) -> bool:
        number = self._table.number(slot)
        known, at_s = self._heard.get(slot, (0, now_s))
        if number == known:
            silent = slot in self._heard and now_s > at_s + _SILENT_S
            return silent and self._told(str(slot), None)
        found = self._table.read(slot)
        if found is None:
            return False
        number, message = found
        self._heard[slot] = number, now_s
        return self._told(str(slot), decode(message) if message else None)


def encode(told: Told) -> bytes:
    loads = {
        pool_id: {worker_id: tuple(load) for worker_id, load in of.items()}
        for pool_id, of in told.loads.items()
    }
    return orjson.dumps([dict(told.waiting), loads])


def decode(message: bytes) -> Told:
    waiting, loads = orjson.loads(message)
    return Told(
        loads={
            PoolId(pool_id): {WorkerId(worker_id): Load(*load) for worker_id, load in of.items()}
            for pool_id, of in loads.items()
        },
        waiting={
            ClassName(name): (requests, held_bytes)
            for name, (requests, held_bytes) in waiting.items()
        },
    )
