"""Brings records of decisions to one sink, whatever becomes of it, and holds up nobody."""

import asyncio
import logging
from collections import deque
from typing import Generic, Protocol, TypeVar

from globalplanner.metrics import Metrics
from weir.domain.decision import DecisionRecord
from weir.domain.errors import UnavailableError

__all__ = ["Backlog", "Outlet", "Sink"]

_log = logging.getLogger("weir.globalplanner")
_T = TypeVar("_T")
_WRITE_S = 2.0
_FIRST_RETRY_S = 0.5
_LONGEST_RETRY_S = 10.0


class Sink(Protocol):
    """Where records go. `name` is that of its metrics."""

    @property
    def name(self) -> str: ...

    async def write(self, record: DecisionRecord) -> None:
        """Raises `UnavailableError` or `OSError` if it may work later, `ValueError` if never.

        A record may come twice: it has its id.
        """
        ...


class Backlog(Generic[_T]):
    """First in, first out, with room for so many; the oldest make room for new ones."""

    def __init__(self, room: int) -> None:
        self._items: deque[_T] = deque(maxlen=room)
        self._some = asyncio.Event()
        self._none = asyncio.Event()
        self._none.set()

    def put(self, item: _T) -> bool:
        """Whether the oldest had to go for it."""
        full = len(self._items) == self._items.maxlen
        self._items.append(item)
        self._some.set()
        self._none.clear()
        return full

    async def first(self) -> _T:
        """The oldest, which stays in the queue."""
        await self._some.wait()
        return self._items[0]

    def done(self, item: _T | None = None) -> None:
        """The oldest is dealt with; unless it is not `item` any more, which has gone already."""
        if item is None or (self._items and self._items[0] is item):
            self._items.popleft()
        if not self._items:
            self._some.clear()
            self._none.set()

    async def emptied(self) -> None:
        await self._none.wait()

    def clear(self) -> int:
        """How many there were."""
        left = len(self._items)
        self._items.clear()
        self._some.clear()
        self._none.set()
        return left


class Outlet:
    """One sink and what waits for it."""

    def __init__(self, sink: Sink, metrics: Metrics, room: int) -> None:
        self._sink = sink
        self._metrics = metrics
        self._queue = Backlog[DecisionRecord](room)
        self._failing = False
        self._dropping = False

    def put(self, record: DecisionRecord) -> None:
        if not self._queue.put(record):
            return
        self._metrics.log_dropped(self._sink.name)
        if not self._dropping:
            self._dropping = True
            _log.warning("decision log: %s takes nothing, the oldest are dropped", self._sink.name)

    async def emptied(self) -> None:
        """Returns at once if nothing comes of waiting."""
        if not self._failing:
            await self._queue.emptied()

    def give_up(self) -> None:
        """Count what is left."""
        left = self._queue.clear()
        for _ in range(left):
            self._metrics.log_dropped(self._sink.name)
        if left:
            _log.warning("decision log: %d decisions not written to %s", left, self._sink.name)

    async def run(self) -> None:
        """Write one after the other, for ever."""
        retry_s = _FIRST_RETRY_S
        while True:
            record = await self._queue.first()
            if await self._written(record):
                self._queue.done(record)
                retry_s = _FIRST_RETRY_S
            else:
                await asyncio.sleep(retry_s)
                retry_s = min(2.0 * retry_s, _LONGEST_RETRY_S)

    async def _written(self, record: DecisionRecord) -> bool:
        """Whether it is done with, also if that is because it can never be written."""
        name = self._sink.name
        try:
            async with asyncio.timeout(_WRITE_S):
                await self._sink.write(record)
        except (OSError, UnavailableError) as error:  # a TimeoutError is an OSError
            self._metrics.log_failed(name)
            if not self._failing:
                self._failing = True
                _log.warning("decision log: %s: %s; trying again", name, error or repr(error))
            return False
        except Exception:
            self._metrics.log_dropped(name)
            _log.exception("decision log: %s does not take decision %s", name, record.id)
            return True
        if self._failing:
            _log.info("decision log: %s takes decisions again", name)
        self._failing = self._dropping = False
        self._metrics.log_written(name)
        return True
