"""Calls that last: reports and grants of pool planners, and the plan for whoever watches it.

Nothing is queued. A stream writes one message, waits until it is gone, and looks what is newest
then: so a reader that is slow, or does not read at all, gets less and holds one message. All end,
with a status that says why, when this process ceases to lead or ends.

One task waits for news and wakes only the streams that have something to send.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from globalplanner.adapters.callers import Callers, Context, refuse
from globalplanner.adapters.offers import Planner
from globalplanner.adapters.pools import PoolCalls
from weir import codec
from weir.domain.errors import UnavailableError
from weir.domain.ids import PoolId
from weir.domain.planning import PoolReport
from weir.runtime.lifecycle import Stop

__all__ = ["Streams"]

_log = logging.getLogger("weir.globalplanner")
_MOST = 4096
_LOOK_S = 1.0
"""Streams are looked after at least so often."""
_IDLE_S = 600.0

_Number = tuple[int, int]


class Streams:
    """`run` beside the server; when it returns all streams have been told to end."""

    def __init__(self, planner: Planner, callers: Callers, pools: PoolCalls) -> None:
        self._planner = planner
        self._callers = callers
        self._pools = pools
        self._open: set[_Wake] = set()
        self._ending = False

    async def run(self, stop: Stop) -> None:
        """Wake streams until `stop`, then end them."""
        stopping = asyncio.ensure_future(stop.wait())
        try:
            while not stop.requested:
                news = asyncio.ensure_future(self._planner.news(_LOOK_S))
                await asyncio.wait({news, stopping}, return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
                try:
                    self._look()
                except Exception:
                    _log.exception("streams could not be looked after; trying again")
        finally:
            stopping.cancel()
            self.end()

    def end(self) -> None:
        """All streams end now, and so does every other that begins."""
        self._ending = True
        for wake in self._open:
            wake.event.set()

    async def report(self, context: Context) -> None:
        """Answers reports in the order in which they come, and tells of grants between them."""
        await self._callers.known(context)
        reports: dict[PoolId, PoolReport] = {}
        sent: dict[PoolId, _Number | None] = {}

        def due() -> list[PoolReport]:
            """Of pools that may be sent another grant."""
            return [
                each for id, each in reports.items() if self._number(id) not in (None, sent[id])
            ]

        async def answer(report: PoolReport) -> None:
            sent[report.pool_id] = self._number(report.pool_id)
            await context.write(self._pools.answer(report))

        async with self._counted(context, due) as wake:
            reading = wake.by(context.read())
            try:
                while True:
                    await wake.wait(context)
                    self._check()
                    for report in due():
                        await answer(report)
                    if reading.done():
                        message: Any = reading.result()
                        if message is grpc.aio.EOF:
                            return
                        report = await self._pools.taken(message, context)
                        sent.setdefault(report.pool_id, None)
                        reports[report.pool_id] = report
                        await answer(report)
                        reading = wake.by(context.read())
            finally:
                reading.cancel()

    async def plan(self, context: Context) -> None:
        """The plan now and each newer one."""
        seen: _Number | None = None

        def due() -> bool:
            plan = self._planner.plan
            return plan is not None and (plan.term, plan.version) != seen

        await self._callers.known(context)
        async with self._counted(context, due) as wake:
            while True:
                self._check()
                plan = self._planner.plan
                if plan is not None and due():
                    await self._callers.known(context)
                    seen = plan.term, plan.version
                    await context.write(codec.encode_plan(plan))
                else:
                    await wake.wait()

    def _number(self, pool_id: PoolId) -> _Number | None:
        grant = self._planner.grant_of(pool_id)
        return grant.number if grant is not None else None

    def _look(self) -> None:
        leads = self._planner.not_ready() is None
        for wake in self._open:
            if not leads or wake.due():
                wake.event.set()

    def _check(self) -> None:
        if self._ending:
            raise UnavailableError("this GlobalPlanner is ending")
        if (why := self._planner.not_ready()) is not None:
            raise UnavailableError(f"this GlobalPlanner {why}")

    @asynccontextmanager
    async def _counted(self, context: Context, due: Callable[[], object]) -> "AsyncIterator[_Wake]":
        self._check()
        if len(self._open) >= _MOST:
            text = f"there are {_MOST} streams already"
            await refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        wake = _Wake(due)
        self._open.add(wake)
        try:
            yield wake
        finally:
            self._open.discard(wake)


class _Wake:
    """Wakes one stream. `due` tells whether it has something to send."""

    def __init__(self, due: Callable[[], object]) -> None:
        self.due = due
        self.event = asyncio.Event()

    def by(self, awaited: Any) -> "asyncio.Future[Any]":
        """Wake also when this is done."""
        future: asyncio.Future[Any] = asyncio.ensure_future(awaited)
        future.add_done_callback(lambda _: self.event.set())
        return future

    async def wait(self, context: Context | None = None) -> None:
        """With `context`, not for ever: a stream that is silent for too long is ended."""
        try:
            async with asyncio.timeout(_IDLE_S if context is not None else None):
                await self.event.wait()
        except TimeoutError:
            if context is None:
                raise
            text = f"nothing has come or gone for {_IDLE_S:g} s"
            await refuse(context, grpc.StatusCode.DEADLINE_EXCEEDED, text)
        self.event.clear()
