"""One request from its arrival to its one end.

Route, prefill leg if there is one, decode leg; again on another worker while nothing has
reached the client. Whatever happens, the flight is finished exactly once: completed,
failed with an error to the client, shed, or cancelled by the client.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from router.core.flight import Flight
from router.core.request import Leg, Outcome, RetryReason, Route, Shed
from router.frontend.bodies import decode_body, prefill_body, transfer_params
from router.frontend.envelope import Endpoint
from router.frontend.headers import response_headers
from router.frontend.ports import FrontendSettings, Meter, ServicePort
from router.frontend.refusals import SHUTTING_DOWN, refused
from router.frontend.relay import Relay
from router.frontend.upstreams import Upstreams
from weir.domain.ids import WorkerId
from weir.http1.client import ConnectError, DeadlineError, Patience, UpstreamError
from weir.http1.messages import Header
from weir.http1.openai import error_headers, openai_error
from weir.http1.server import Responder

__all__ = ["Delivery", "Lines"]

_log = logging.getLogger("weir.router.frontend")

_TRY_ANOTHER = frozenset({502, 503, 504})
_MAX_CONNECTS = 10
"""Connections tried for one request. Those refused have cost no engine anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """What all deliveries of one frontend share. `now_s`: model time. `wall_s`: the loop's."""

    service: ServicePort
    upstreams: Upstreams
    settings: FrontendSettings
    meter: Meter
    now_s: Callable[[], float]
    wall_s: Callable[[], float]
    patience: Patience
    running: "set[Delivery]"


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the client is told if nobody else can be tried."""

    status: int
    headers: list[Header]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Prefilled:
    leg: Leg
    params: bytes | None


class _LegFailed(Exception):
    """Nothing of this leg has reached the client.

    `reason`: None if no other worker should be tried. `kv_intact`: what the prefill leg
    left for this decode leg was not touched.
    """

    def __init__(
        self,
        leg: Leg,
        answer: _Answer,
        reason: RetryReason | None = None,
        *,
        kv_intact: bool = False,
    ) -> None:
        super().__init__()
        self.leg = leg
        self.answer = answer
        self.reason = reason
        self.kv_intact = kv_intact


class Delivery:
    """`start` makes the request's task. It keeps the body, but nothing parsed from it."""

    def __init__(
        self,
        lines: Lines,
        responder: Responder,
        endpoint: Endpoint,
        flight: Flight,
        request_id: bytes,
        body: bytes,
        headers: list[Header],
    ) -> None:
        self._lines = lines
        self._responder = responder
        self._flight = flight
        self._request_id = request_id
        self._body = body
        self._headers = headers
        self._path = endpoint.value
        self._exclude: frozenset[WorkerId] = frozenset()
        self._prefilled: _Prefilled | None = None
        self._attempts = 0
        self._connects = 0
        self._since: float | None = None
        self._redone = False
        self._relay: Relay | None = None
        self._task: asyncio.Task[None] | None = None
        self._begun = False

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._lines.running.add(self)
        self._responder.on_close = self.cancel
        self._task = loop.create_task(self._run())

    def cancel(self) -> None:
        """End it: the client has gone, or else this router is going."""
        if self._task is None or not self._task.cancel() or self._begun:
            return
        self._begun = True  # Its task ends before its first step.
        self._lines.running.discard(self)
        self._cancelled()

    async def _run(self) -> None:
        self._begun = True
        try:
            await self._deliver()
        except asyncio.CancelledError:
            self._cancelled()
        except Exception:
            _log.exception("request failed inside the router id=%s", self._request_id.decode())
            self._break_off(500, "internal error; the router's log has details")
        finally:
            self._lines.running.discard(self)

    async def _deliver(self) -> None:
        while True:
            done = self._prefilled.leg if self._prefilled is not None else None
            route = await self._lines.service.place(self._flight, self._exclude, done)
            if isinstance(route, Shed):
                self._shed(route)
                return
            if self._since is None:
                self._since = self._lines.wall_s()
            try:
                await self._try(route)
                return
            except _LegFailed as failure:
                if not self._may_retry(failure):
                    self._give_up(failure)
                    return
                self._prepare_retry(failure)

    async def _try(self, route: Route) -> None:
        if route.prefill is not None and self._prefilled is None:
            params = await self._prefill(route.prefill)
            self._flight.prefill_done(self._lines.now_s())
            self._prefilled = _Prefilled(route.prefill, params)
        params = self._prefilled.params if self._prefilled is not None else None
        await self._decode(route.decode, params)

    # Legs.

    async def _prefill(self, leg: Leg) -> bytes | None:
        """Run the prefill leg; its transfer parameters. Raises `_LegFailed`."""
        pool = self._lines.upstreams.pool(leg.worker)
        body = prefill_body(self._body)
        timeout_s = self._lines.settings.first_byte_timeout_s
        try:
            reply = await pool.request(
                "POST", self._path, self._headers, body, timeout_s=timeout_s, since=self._since
            )
        except UpstreamError as error:
            raise self._failed(leg, error) from error
        if reply.status != 200:
            headers = response_headers(reply.headers, self._request_id)
            answer = _Answer(reply.status, headers, reply.body)
            raise _LegFailed(leg, answer, _reason(reply.status))
        params = transfer_params(reply.body)
        if params is None:
            self._lines.meter.recomputed()
        return params

    async def _decode(self, leg: Leg, params: bytes | None) -> None:
        """Run the leg that answers the client. Raises `_LegFailed`."""
        lines = self._lines
        raw = self._responder.request.http_version == "1.1"
        relay = self._relay = self._relay_in(raw=raw)
        body = decode_body(self._body, params)
        try:
            await lines.upstreams.pool(leg.worker).stream(
                "POST",
                self._path,
                self._headers,
                body,
                relay,
                patience=lines.patience,
                since=self._since,
                raw=raw,
            )
        except UpstreamError as error:
            if not relay.started:
                raise self._failed(leg, error) from error
            _log.warning("a stream broke worker=%s: %s", leg.worker.id, error)
            relay.break_off(f"the engine's stream broke: {error}")
            self._end(Outcome.FAILED, relay, leg)
            return
        if relay.whole is not None:
            self._check(leg, relay, params)
            relay.send_whole()
        self._end(relay.outcome(), relay)

    def _relay_in(self, *, raw: bool) -> Relay:
        """Where the response goes."""
        now_s = self._lines.now_s
        return Relay(self._responder, self._flight, now_s, self._request_id, raw=raw)

    def _check(self, leg: Leg, relay: Relay, params: bytes | None) -> None:
        """Raises `_LegFailed` if another worker may do better than this response."""
        if relay.status < 500:
            return
        answer = _Answer(relay.status, relay.headers, relay.whole or b"")
        reason = _reason(relay.status)
        if reason is not None:
            raise _LegFailed(leg, answer, reason, kv_intact=relay.status == 503)
        if relay.status == 500 and params is not None and not self._redone:
            # The likely cause is KV that could not be fetched, so the prefill is done again. It
            # goes to another decode worker: one that can fetch nothing would fail the next, too.
            self._redone = True
            raise _LegFailed(leg, answer, RetryReason.STATUS)

    def _failed(self, leg: Leg, error: UpstreamError) -> _LegFailed:
        worker = leg.worker.id
        if isinstance(error, DeadlineError):
            answer = self._error(504, f"worker {worker} of pool {leg.pool_id}: {error}")
            return _LegFailed(leg, answer)
        refused = isinstance(error, ConnectError)
        reason = RetryReason.CONNECT if refused else RetryReason.CLOSED
        answer = self._error(502, f"worker {worker} of pool {leg.pool_id}: {error}")
        return _LegFailed(leg, answer, reason, kv_intact=refused)

    # Retries.

    def _may_retry(self, failure: _LegFailed) -> bool:
        settings, since = self._lines.settings, self._since
        assert since is not None
        if failure.reason is None or self._responder.closed:
            return False
        if self._lines.wall_s() >= since + settings.first_byte_timeout_s:
            return False
        if failure.reason is RetryReason.CONNECT:
            self._connects += 1
        else:
            self._attempts += 1
        return self._attempts < settings.max_attempts and self._connects < _MAX_CONNECTS

    def _prepare_retry(self, failure: _LegFailed) -> None:
        assert failure.reason is not None
        self._flight.retry(failure.leg, failure.reason, self._lines.now_s())
        self._exclude |= {failure.leg.worker.id}
        if not failure.kv_intact:
            self._prefilled = None

    # Ends.

    def _give_up(self, failure: _LegFailed) -> None:
        answer = failure.answer
        blamed = failure.leg if answer.status >= 500 else None
        if blamed is not None:
            _log.warning(
                "gave up id=%s status=%d worker=%s attempts=%d",
                self._request_id.decode(),
                answer.status,
                blamed.worker.id,
                self._attempts + self._connects,
            )
        self._end(Outcome.FAILED, None, blamed)
        self._send(answer.status, answer.headers, answer.body)

    def _shed(self, shed: Shed) -> None:
        self._end(Outcome.SHED)
        status, headers, body = refused(shed)
        self._send(status, [*headers, (b"x-request-id", self._request_id)], body)

    def _cancelled(self) -> None:
        if self._responder.closed:
            self._end(Outcome.CANCELLED)
        elif self._responder.finished and self._relay is not None:  # its end has just come
            self._end(self._relay.outcome(), self._relay)
        else:
            self._break_off(503, "the router is shutting down", SHUTTING_DOWN)

    def _break_off(self, status: int, message: str, why: Sequence[Header] = ()) -> None:
        self._end(Outcome.FAILED)
        if self._relay is not None and self._relay.started:
            self._relay.break_off(message)
        elif self._responder.started:
            self._responder.abort()
        else:
            answer = self._error(status, message)
            self._send(answer.status, [*answer.headers, *why], answer.body)

    def _send(self, status: int, headers: list[Header], body: bytes) -> None:
        self._responder.send(status, headers, body)

    def _error(self, status: int, message: str) -> _Answer:
        headers = [*error_headers(), (b"x-request-id", self._request_id)]
        return _Answer(status, headers, openai_error(status, message))

    def _end(self, outcome: Outcome, relay: Relay | None = None, blamed: Leg | None = None) -> None:
        prompt, output = relay.usage() if relay is not None else (None, None)
        self._flight.finish(outcome, self._lines.now_s(), prompt, output, blamed)


def _reason(status: int) -> RetryReason | None:
    return RetryReason.STATUS if status in _TRY_ANOTHER else None
