"""One address of a GlobalPlanner: a stream while that works, single calls when it does not."""

from collections.abc import Callable
from typing import Any

from poolplanner.adapters.report_stream import ReportStream, StreamBrokenError
from weir.api.v1 import planner_pb2, planner_pb2_grpc
from weir.domain.errors import CredentialsError
from weir.runtime import rpc
from weir.runtime.clock import Clock
from weir.runtime.credentials import ClientCredentials

__all__ = ["PlannerLink"]

_FIRST_RETRY_S = 1.0
_LONGEST_RETRY_S = 60.0


class PlannerLink:
    """A stream that breaks is opened again with a later report, after a pause that grows."""

    def __init__(
        self, target: str, credentials: ClientCredentials, pushed: Callable[[], None]
    ) -> None:
        self.target = target
        self._credentials = credentials
        self._pushed = pushed
        self._channel = rpc.channel(target, credentials=credentials.channel_credentials())
        self._stream: ReportStream | None = None
        self._failures = 0
        self._retry_at_s = 0.0

    async def report(
        self, request: planner_pb2.ReportRequest, timeout_s: float
    ) -> planner_pb2.ReportResponse | None:
        """Ends within `timeout_s`. Raises `grpc.aio.AioRpcError`; None: not a message of ours.

        A report may be sent twice: the second changes nothing and is answered all the same.
        """
        until_s = Clock.wall_s() + timeout_s
        broken = False
        if Clock.wall_s() >= self._retry_at_s:
            try:
                return await self._by_stream(request, timeout_s / 2.0)
            except StreamBrokenError:
                broken = True
                await self._close_stream()
        answer: planner_pb2.ReportResponse | None = await self._stub().Report(
            request,
            timeout=max(0.0, until_s - Clock.wall_s()),
            metadata=self._credentials.metadata(),
        )
        if broken:
            self._pause()
        return answer

    async def leave(self) -> None:
        """Another address is asked from now on. Renewed certificates count when coming back."""
        await self._close_stream()
        try:
            credentials = self._credentials.channel_credentials()
        except CredentialsError:
            return  # half-written files: those there were are as good as any
        if credentials is not None:
            await self._channel.close()
            self._channel = rpc.channel(self.target, credentials=credentials)

    async def close(self) -> None:
        await self._close_stream()
        await self._channel.close()

    async def _by_stream(
        self, request: planner_pb2.ReportRequest, timeout_s: float
    ) -> planner_pb2.ReportResponse:
        if self._stream is None:
            call = self._stub().ReportStream(metadata=self._credentials.metadata())
            self._stream = ReportStream(call, self._pushed)
        answer = await self._stream.report(request, timeout_s)
        self._failures = 0
        return answer

    def _pause(self) -> None:
        """A single call worked where the stream did not; the first time it may just have ended."""
        pause_s = min(_LONGEST_RETRY_S, _FIRST_RETRY_S * 2.0 ** min(self._failures, 8))
        self._retry_at_s = Clock.wall_s() + pause_s if self._failures else 0.0
        self._failures += 1

    async def _close_stream(self) -> None:
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await stream.close()

    def _stub(self) -> Any:
        return planner_pb2_grpc.GlobalPlannerStub(self._channel)  # type: ignore[no-untyped-call]
