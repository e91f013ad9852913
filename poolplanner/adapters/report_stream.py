"""Reports and answers over one stream, and what the GlobalPlanner says without being asked."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc

from weir.api.v1 import planner_pb2

__all__ = ["ReportStream", "StreamBrokenError"]


class StreamBrokenError(Exception):
    """Nothing can be had from this stream any more, for now or for good."""


class ReportStream:
    """Of one pool. `pushed` is called when there is a grant that no report has been answered with.

    Raises `StreamBrokenError` when it is of no use any more; a single call will find out why.
    """

    def __init__(
        self,
        call: "grpc.aio.StreamStreamCall[Any, Any]",
        pushed: Callable[[], None],
    ) -> None:
        self._call = call
        self._pushed = pushed
        self._waits_for = 0
        self._answer: asyncio.Future[planner_pb2.ReportResponse] | None = None
        self._told: tuple[int, int] | None = None
        self._reading = asyncio.ensure_future(self._read())

    @property
    def broken(self) -> bool:
        return self._reading.done()

    async def report(
        self, request: planner_pb2.ReportRequest, timeout_s: float
    ) -> planner_pb2.ReportResponse:
        """The first answer that knows this report, or a newer one."""
        if self.broken:
            raise StreamBrokenError
        self._waits_for = request.sequence
        self._answer = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await self._call.write(request)
                either: set[asyncio.Future[Any]] = {self._answer, self._reading}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not self._answer.done():
                raise StreamBrokenError
            return self._answer.result()
        except (TimeoutError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
            raise StreamBrokenError from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise StreamBrokenError from None  # the call was cancelled, not this task
        finally:
            self._answer = None

    async def close(self) -> None:
        self._call.cancel()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        """Until the stream ends, however it does."""
        try:
            async for answer in self._call:
                self._take(answer)
        except grpc.aio.AioRpcError:
            return

    def _take(self, answer: planner_pb2.ReportResponse) -> None:
        grant = (answer.grant.term, answer.grant.epoch) if answer.HasField("grant") else None
        waiting = self._answer is not None and not self._answer.done()
        if self._answer is not None and waiting and answer.newest_sequence >= self._waits_for:
            self._answer.set_result(answer)
        elif grant != self._told:
            self._pushed()
        self._told = grant
