"""Calls that last: reports and grants of pool planners, and the plan for whoever watches it.

Nothing is queued. A stream writes one message, waits until it is gone, and looks what is newest
then; so a slow reader gets less and costs nothing. All end, with a status that says why, when this
process ceases to lead or ends, and when the other side neither reads nor writes.
"""

import asyncio
from collections.abc import AsyncIterator
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
from weir.runtime.clock import Clock

__all__ = ["Streams"]

_MOST = 4096
_LOOK_S = 1.0
"""Looks are at least so often, whatever is news."""
_IDLE_S = 600.0
_UNREAD_S = 10.0

_Number = tuple[int, int]


class Streams:
    """All streams of this process. `end` ends them."""

    def __init__(self, planner: Planner, callers: Callers, pools: PoolCalls) -> None:
        self._planner = planner
        self._callers = callers
        self._pools = pools
        self._open = 0
        self._ending = asyncio.Event()

    def end(self) -> None:
        """All streams end now, and so does every other that begins."""
        self._ending.set()

    async def report(self, context: Context) -> None:
        """Answers reports in the order in which they come, and tells of grants between them."""
        await self._callers.known(context)
        async with self._counted(context):
            reading = asyncio.ensure_future(context.read())
            reports: dict[PoolId, PoolReport] = {}
            sent: dict[PoolId, _Number | None] = {}
            heard_at_s = Clock.wall_s()
            try:
                while True:
                    async with self._listening(reading):
                        for pool_id, report in reports.items():
                            grant = self._pools.newest(report)
                            if grant is not None and grant.number != sent[pool_id]:
                                sent[pool_id] = grant.number
                                await _write(context, self._pools.answer(report, grant))
                    if not reading.done():
                        await _not_idle(context, heard_at_s)
                        continue
                    message: Any = reading.result()
                    if message is grpc.aio.EOF:
                        return
                    report, grant = await self._pools.taken(message, context)
                    reports[report.pool_id] = report
                    sent[report.pool_id] = grant.number if grant is not None else None
                    await _write(context, self._pools.answer(report, grant))
                    heard_at_s = Clock.wall_s()
                    reading = asyncio.ensure_future(context.read())
            finally:
                reading.cancel()

    async def plan(self, context: Context) -> None:
        """The plan now and each newer one."""
        await self._callers.known(context)
        async with self._counted(context):
            seen: _Number | None = None
            while True:
                async with self._listening():
                    plan = self._planner.plan
                    if plan is not None and (plan.term, plan.version) != seen:
                        seen = plan.term, plan.version
                        await _write(context, codec.encode_plan(plan))

    @asynccontextmanager
    async def _listening(self, *also: asyncio.Future[Any]) -> AsyncIterator[None]:
        """Look and write inside; then wait for news since it was entered, or for one of `also`.

        Raises `UnavailableError` when the stream is to end.
        """
        self._check()
        news = asyncio.ensure_future(self._planner.news(_LOOK_S))
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            await asyncio.sleep(0.0)  # they listen from here on
            yield
            await asyncio.wait({news, ending, *also}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()
            ending.cancel()
        self._check()

    def _check(self) -> None:
        if self._ending.is_set():
            raise UnavailableError("this GlobalPlanner is ending")
        if (why := self._planner.not_ready()) is not None:
            raise UnavailableError(f"this GlobalPlanner {why}")

    @asynccontextmanager
    async def _counted(self, context: Context) -> AsyncIterator[None]:
        if self._open >= _MOST:
            text = f"there are {_MOST} streams already"
            await refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


async def _write(context: Context, message: object) -> None:
    try:
        async with asyncio.timeout(_UNREAD_S):
            await context.write(message)
    except TimeoutError:
        text = f"what was sent has not been read for {_UNREAD_S:g} s"
        await refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, text)


async def _not_idle(context: Context, heard_at_s: float) -> None:
    if Clock.wall_s() - heard_at_s > _IDLE_S:
        text = f"no report has come for {_IDLE_S:g} s"
        await refuse(context, grpc.StatusCode.DEADLINE_EXCEEDED, text)
