"""One request from its arrival to its one end.

Route, prefill leg if there is one, decode leg; again on another worker while nothing has
reached the client. Whatever happens, the flight is finished exactly once: completed,
failed with an error to the client, shed, or cancelled by the client.

KV that a prefill leg has left at its engine stays there until a decode engine fetches it. So
whoever ends after that, and before a decode worker has answered, still has it fetched: a leg on
its way is broken off only once it is answered, else one of a single token goes out.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from router.core.flight import Flight
from router.core.request import Leg, Outcome, RetryReason, Route, Shed
from router.frontend.bodies import (
    decode_body,
    prefill_body,
    prefill_reply,
    release_body,
    with_cached_tokens,
)
from router.frontend.envelope import Endpoint
from router.frontend.headers import response_headers
from router.frontend.observe import find_cached, find_usage
from router.frontend.ports import FrontendSettings, KeptKv, Meter, ServicePort
from router.frontend.refusals import SHUTTING_DOWN, refused
from router.frontend.relay import CompletingRelay, Relay
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
_BACKOFF_S = 0.05
"""Wall seconds before the third attempt; the second goes to another worker at once."""
_RELEASE_S = 2.0
"""Wall seconds for a decode worker to take over KV that nobody waits for any more."""


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
    releases: set[asyncio.Task[None]]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the client is told if nobody else can be tried."""

    status: int
    headers: list[Header]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Prefilled:
    """`params`: where its KV is; None if the engine does not say."""

    leg: Leg
    params: bytes | None
    cached_tokens: int


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
        self._gone = False

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._lines.running.add(self)
        self._responder.on_close = self.cancel
        self._task = loop.create_task(self._run())

    def cancel(self) -> None:
        """End it: the client has gone, or else this router is going."""
        if self._task is None:
            return
        if self._relay is not None and self._responder.closed and self._keeps_kv():
            self._leave(self._task)
            return
        if not self._task.cancel() or self._begun:
            return
        self._begun = True  # Its task ends before its first step.
        self._lines.running.discard(self)
        self._cancelled()

    async def _run(self) -> None:
        self._begun = True
        try:
            await self._deliver()
        except asyncio.CancelledError:
            if self._gone:
                # A whole answer shows only at its end that its engine has begun.
                self._lines.meter.kept_kv(KeptKv.RELEASED)
            else:
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
            if self._attempts > 1:
                await asyncio.sleep(_BACKOFF_S)

    async def _try(self, route: Route) -> None:
        if route.prefill is not None and self._prefilled is None:
            params, cached_tokens = await self._prefill(route.prefill)
            self._flight.prefill_done(self._lines.now_s())
            self._prefilled = _Prefilled(route.prefill, params, cached_tokens)
        params = self._prefilled.params if self._prefilled is not None else None
        await self._decode(route.decode, params)

    # Legs.

    async def _prefill(self, leg: Leg) -> tuple[bytes | None, int]:
        """Run the prefill leg; its transfer parameters, and how much was cached.

        Raises `_LegFailed`.
        """
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
        if self._flight.profile.ties is not None:
            cached_tokens = find_cached(reply.body)
            if cached_tokens is not None:
                self._flight.reused(find_usage(reply.body)[0], cached_tokens)
        found = prefill_reply(reply.body)
        if found[0] is None:
            self._lines.meter.recomputed()
        return found

    async def _decode(self, leg: Leg, params: bytes | None) -> None:
        """Run the leg that answers the client. Raises `_LegFailed`."""
        lines = self._lines
        raw = self._responder.request.http_version == "1.1" and not self._to_complete()
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
            if self._gone:
                self._left(leg, relay, refused=isinstance(error, ConnectError))
                return
            if not relay.started:
                raise self._failed(leg, error) from error
            _log.warning("a stream broke worker=%s: %s", leg.worker.id, error)
            relay.break_off(f"the engine's stream broke: {error}")
            self._end(Outcome.FAILED, relay, leg)
            return
        if relay.whole is not None:
            self._check(leg, relay, params)
            self._complete(relay)
            relay.send_whole()
        self._end(relay.outcome(), relay)

    def _complete(self, relay: Relay) -> None:
        """What only the prefill leg knows of a whole answer."""
        prefilled = self._prefilled
        if prefilled is None or relay.whole is None:
            return
        if relay.status >= 400:
            self._strand()  # The engine did not get as far as to fetch it.
        elif prefilled.cached_tokens:
            relay.whole = with_cached_tokens(relay.whole, prefilled.cached_tokens)

    def _to_complete(self) -> bool:
        """Whether a stream is to end with a `usage` to which only the prefill leg knows something.

        Then its last event is written anew, and with it the framing of all.
        """
        prefilled = self._prefilled
        if prefilled is None or not prefilled.cached_tokens:
            return False
        return self._flight.profile.streaming and b'"include_usage"' in self._body

    def _relay_in(self, *, raw: bool) -> Relay:
        """Where the response goes."""
        now_s = self._lines.now_s
        if self._prefilled is not None and self._to_complete():
            relay = CompletingRelay(self._responder, self._flight, now_s, self._request_id, raw=raw)
            relay.cached_tokens = self._prefilled.cached_tokens
            return relay
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
        self._settle_kv(failure)

    # Ends.

    def _give_up(self, failure: _LegFailed) -> None:
        answer = failure.answer
        self._settle_kv(failure)
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
        if relay is not None and self._prefilled is None and self._flight.profile.ties is not None:
            cached_tokens = relay.cached()
            if cached_tokens is not None:
                self._flight.reused(prompt, cached_tokens)
        self._flight.finish(outcome, self._lines.now_s(), prompt, output, blamed)
        if self._prefilled is not None and self._keeps_kv():
            if self._relay is None:
                self._release()
            else:
                self._strand()

    # KV that nobody waits for.

    def _keeps_kv(self) -> bool:
        """Whether a prefill engine holds KV for it that no decode worker has answered for."""
        prefilled = self._prefilled
        if prefilled is None or prefilled.params is None:
            return False
        return self._relay is None or not self._relay.status

    def _strand(self) -> None:
        """Nobody knows whether its KV has been fetched; if not, the engine's time-out frees it."""
        if self._prefilled is not None and self._prefilled.params is not None:
            self._lines.meter.kept_kv(KeptKv.STRANDED)

    def _settle_kv(self, failure: _LegFailed) -> None:
        """Keep what the failed leg has not touched."""
        self._relay = None
        if not failure.kv_intact:
            self._strand()
            self._prefilled = None

    def _leave(self, task: asyncio.Task[None]) -> None:
        """The client has gone while its decode leg goes out: that is broken off once answered."""
        if self._gone:
            return
        self._gone = True
        self._flight.finish(Outcome.CANCELLED, self._lines.now_s())
        asyncio.get_running_loop().call_later(_RELEASE_S, task.cancel)

    def _left(self, leg: Leg, relay: Relay, *, refused: bool = False) -> None:
        """What a leg whose client has gone has come to."""
        if refused or relay.status == 503:
            self._relay = None
            self._exclude |= {leg.worker.id}
            self._release()
        elif relay.status == 200:
            self._lines.meter.kept_kv(KeptKv.RELEASED)
        else:
            self._strand()

    def _release(self) -> None:
        """Have a decode worker fetch the KV, for a single token that nobody reads."""
        prefilled, self._prefilled = self._prefilled, None
        assert prefilled is not None
        assert prefilled.params is not None
        lines = self._lines
        profile, now_s = self._flight.profile, lines.now_s()
        route = lines.service.decide(profile, now_s, self._exclude, prefilled.leg)
        if not isinstance(route, Route) or route.decode.worker.id in self._exclude:
            lines.meter.kept_kv(KeptKv.STRANDED)
            return
        body = release_body(self._body, prefilled.params)
        release = self._fetch_for_nobody(route.decode, body)
        task = asyncio.get_running_loop().create_task(release)
        lines.releases.add(task)
        task.add_done_callback(lines.releases.discard)

    async def _fetch_for_nobody(self, leg: Leg, body: bytes) -> None:
        pool, how = self._lines.upstreams.pool(leg.worker), KeptKv.STRANDED
        try:
            reply = await pool.request(
                "POST", self._path, self._headers, body, timeout_s=_RELEASE_S
            )
            if reply.status == 200:
                how = KeptKv.RELEASED
        except UpstreamError:
            pass
        finally:
            self._lines.meter.kept_kv(how)


def _reason(status: int) -> RetryReason | None:
    return RetryReason.STATUS if status in _TRY_ANOTHER else None
