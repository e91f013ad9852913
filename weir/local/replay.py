"""Open-loop replay of a trace through the public endpoint.

Every request is sent at its time on the trace, whether or not earlier ones are answered; the
times are reckoned from the start of the replay, so that delays do not add up.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

from weir.domain.ids import ModelName
from weir.http1.client import Patience, Pool, UpstreamError
from weir.http1.messages import Header
from weir.local.scoring import Outcome, RequestRecord
from weir.local.stream import ChatStream, chat_body
from weir.runtime.clock import Clock
from weir.runtime.lifecycle import Stop
from weir.workload import TraceRequest

__all__ = ["Progress", "Replay"]

_log = logging.getLogger("weir.local.replay")
_TENANT = b"x-llm-d-inference-fairness-id"
_HEADERS = ((b"content-type", b"application/json"), (b"accept", b"text/event-stream"))
_PATIENCE = Patience(first_byte_s=300.0, idle_s=120.0, total_s=900.0)
_LATE_S = 0.05
_REASONS_KEPT = 100


@dataclass(slots=True)
class Progress:
    """Where a replay stands; `in_flight` + all outcomes = `sent`."""

    planned: int
    sent: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    late: int = 0
    """Requests sent more than 50 wall ms after their time: the generator could not keep up."""
    worst_lateness_s: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)
    """Why requests were not completed; a bounded number of kinds."""

    span_s: float = 0.0
    """Wall seconds that the submission takes."""
    begun_at_s: float | None = None
    """Wall time of its begin."""

    @property
    def share(self) -> float:
        """How far the submission is, 0 to 1."""
        if self.begun_at_s is None:
            return 0.0
        return min(1.0, (Clock.wall_s() - self.begun_at_s) / max(1e-9, self.span_s))

    @property
    def in_flight(self) -> int:
        return self.sent - sum(self.outcomes.values())


class Replay:
    """Create inside the event loop, `run` once; `records` grow while it runs."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        model: ModelName,
        requests: Sequence[TraceRequest],
        clock: Clock,
        seed: int = 0,
    ) -> None:
        self._pool = Pool(host, port, connect_timeout_s=5.0, max_idle=1024)
        self._model = model
        self._requests = requests
        self._clock = clock
        self._seed = seed
        self._tasks: set[asyncio.Task[None]] = set()
        self._cut_off = Outcome.CANCELLED
        self.records: list[RequestRecord] = []
        self.progress = Progress(planned=len(requests))
        self.submission_s = 0.0
        """Model seconds from the start to the end of submission."""

    async def run(self, stop: Stop, *, for_s: float = inf, drain_s: float = inf) -> None:
        """Submit until `for_s` from now; requests may end until `drain_s` after that (wall).

        Returns early when `stop` is requested. What has not ended then is cancelled, and
        counts so.
        """
        begin_s = self.progress.begun_at_s = Clock.wall_s()
        self.progress.span_s = min(for_s, self._clock.wall_span_s(_last_s(self._requests)))
        try:
            await self._submit(stop, begin_s, for_s)
            await self._drain(stop, begin_s + for_s + drain_s - Clock.wall_s())
        finally:
            await self._cancel(Outcome.STOPPED if stop.requested else Outcome.CANCELLED)
            self._pool.close()

    async def _submit(self, stop: Stop, begin_s: float, for_s: float) -> None:
        for index, request in enumerate(self._requests):
            due_s = self._clock.wall_span_s(request.timestamp_s)
            if due_s >= for_s:
                await stop.sleep(begin_s + for_s - Clock.wall_s())
                break
            ahead_s = begin_s + due_s - Clock.wall_s()
            if ahead_s > 0.0 and await stop.sleep(ahead_s):
                break
            if stop.requested:
                break
            self._note_lateness(Clock.wall_s() - begin_s - due_s)
            self._send(index, request)
        self.submission_s = self._clock.speed * min(for_s, Clock.wall_s() - begin_s)

    def _note_lateness(self, late_s: float) -> None:
        self.progress.late += late_s > _LATE_S
        self.progress.worst_lateness_s = max(self.progress.worst_lateness_s, late_s)

    def _send(self, index: int, request: TraceRequest) -> None:
        self.progress.sent += 1
        task = asyncio.create_task(self._request(index, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _request(self, index: int, request: TraceRequest) -> None:
        stream = ChatStream(self._clock.now_s)
        body = chat_body(self._model, request, f"{self._seed}/{index}")
        sent_at_s = self._clock.now_s()
        try:
            await self._pool.stream(
                "POST", "/v1/chat/completions", _headers(request), body, stream, patience=_PATIENCE
            )
            outcome, reason = stream.outcome(request.osl_tokens)
        except UpstreamError as error:
            outcome, reason = Outcome.FAILED, str(error)
        except asyncio.CancelledError:
            outcome, reason = self._cut_off, ""
        self._record(request, stream, sent_at_s, outcome, reason)

    def _record(
        self,
        request: TraceRequest,
        stream: ChatStream,
        sent_at_s: float,
        outcome: Outcome,
        reason: str,
    ) -> None:
        self.progress.outcomes[outcome] += 1
        if reason and (
            reason in self.progress.reasons or len(self.progress.reasons) < _REASONS_KEPT
        ):
            self.progress.reasons[reason] += 1
        self.records.append(
            RequestRecord(
                isl_tokens=request.isl_tokens,
                osl_tokens=request.osl_tokens,
                outcome=outcome,
                tenant=request.tenant or "",
                arrival_s=request.timestamp_s,
                first_token_s=_since(stream.first_token_at_s, sent_at_s),
                end_s=_since(stream.end_at_s, sent_at_s),
            )
        )

    async def _drain(self, stop: Stop, within_s: float) -> None:
        stopped: asyncio.Task[None] = asyncio.create_task(stop.wait())
        ended: asyncio.Future[list[None]] = asyncio.gather(*self._tasks)
        waited_for: tuple[asyncio.Future[Any], ...] = (stopped, ended)
        timeout_s = None if within_s == inf else max(0.0, within_s)
        try:
            await asyncio.wait(waited_for, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()

    async def _cancel(self, outcome: Outcome) -> None:
        self._cut_off = outcome
        await asyncio.sleep(0)  # a task that is cancelled before its first step leaves no record
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _headers(request: TraceRequest) -> Sequence[Header]:
    """A tenant that no header can carry is left out."""
    tenant = request.tenant or ""
    if not (tenant.isascii() and tenant.isprintable() and tenant.strip()):
        return _HEADERS
    return *_HEADERS, (_TENANT, tenant.encode())


def _last_s(requests: Sequence[TraceRequest]) -> float:
    return requests[-1].timestamp_s if requests else 0.0


def _since(at_s: float | None, start_s: float) -> float | None:
    return None if at_s is None else at_s - start_s
