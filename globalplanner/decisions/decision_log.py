"""Keeps record of decisions: in memory, and wherever it is told to write them.

`note` is all that a decision waits for: it puts what was decided into a queue. What is slow (the
fingerprint of the inputs, the disk, the store) happens in tasks of their own. A sink that does not
take its records is tried again and again; meanwhile they queue, and when there is no more room the
oldest are dropped, which is counted and said once.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from globalplanner.core.arbiter.snapshot import Rules
from globalplanner.decisions.decided import Decided, record_of
from globalplanner.decisions.history import History
from globalplanner.decisions.outlet import Backlog, Outlet, Sink
from globalplanner.metrics import Metrics
from weir.domain.decision import DecisionRecord
from weir.domain.errors import UnavailableError
from weir.runtime.lifecycle import Stop

__all__ = ["DecisionLog", "Recall"]

_log = logging.getLogger("weir.globalplanner")
Recall = Callable[[int], Awaitable[Sequence[DecisionRecord]]]
"""The newest so many decisions, oldest first. Raises `UnavailableError`."""

_ROOM = 256
_RECALL_S = 2.0
_LAST_WORDS_S = 1.0
_RECALLED = 50


class DecisionLog:
    """`rules` tells by which the next decision is made.

    `recall` gives the newest decisions there are of all leaders: a new one begins with these.
    """

    def __init__(
        self,
        history: History,
        sinks: Sequence[Sink],
        metrics: Metrics,
        rules: Callable[[], Rules],
        *,
        recall: Recall | None = None,
        room: int = _ROOM,
    ) -> None:
        self._history = history
        self._recall = recall
        self._term = 0
        self._metrics = metrics
        self._rules = rules
        self._noted = Backlog[tuple[Decided, Rules]](room)
        self._outlets = [Outlet(sink, metrics, room) for sink in sinks]

    def note(self, decided: Decided) -> None:
        """Called for every decision; does not wait and does not raise."""
        if self._noted.put((decided, self._rules())):
            self._metrics.log_dropped("record")

    async def run(self, stop: Stop) -> None:
        """Write until `stop`, and what is left then within a second."""
        tasks = [asyncio.create_task(self._record_for_ever())]
        tasks += [asyncio.create_task(outlet.run()) for outlet in self._outlets]
        try:
            await stop.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_S):
                    await self._noted.emptied()
                    await asyncio.gather(*(outlet.emptied() for outlet in self._outlets))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for outlet in self._outlets:
                outlet.give_up()

    async def _record_for_ever(self) -> None:
        await self._catch_up()
        while True:
            decided, rules = await self._noted.first()
            try:
                if decided.term != self._term:
                    self._term = decided.term
                    await self._catch_up()
                record = record_of(decided, rules)
                self._history.keep(record)
                for outlet in self._outlets:
                    outlet.put(record)
            except Exception:
                self._metrics.log_dropped("record")
                _log.exception("decision %s could not be recorded", decided.id)
            self._noted.done()
            await asyncio.sleep(0)

    async def _catch_up(self) -> None:
        """Learn of what was decided by others; no harm is done if that is impossible now."""
        if self._recall is None:
            return
        try:
            async with asyncio.timeout(_RECALL_S):
                records = await self._recall(_RECALLED)
        except (TimeoutError, UnavailableError) as error:
            _log.info("earlier decisions are not known: %s", error or repr(error))
            return
        for record in records:
            if self._history.newest is None or record.order > self._history.newest.order:
                self._history.keep(record)
