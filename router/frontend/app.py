"""The public endpoint: paths, the generation requests' way in, and its end.

Everything up to the decision is synchronous; a request then has one task of its own.
"""

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import orjson

from router.core.flight import Flight
from router.core.request import RequestProfile
from router.core.reuse.ties import Ties
from router.frontend.bodies import onward_body
from router.frontend.counting import Counting
from router.frontend.delivery import Delivery, Lines
from router.frontend.envelope import Endpoint, Envelope, parse_envelope
from router.frontend.explained import ExplainedDelivery, ExplainedError
from router.frontend.headers import RequestIds, upstream_headers
from router.frontend.hints import HINT_HEADERS, NO_HINTS, Hints, Ignored, read_hints
from router.frontend.ports import FrontendSettings, Meter, NoMeter, ServicePort
from router.frontend.prompts import ties_of
from router.frontend.upstreams import Upstreams
from weir.domain.errors import RequestError
from weir.http1.client import Patience
from weir.http1.messages import Header, Limits, Request
from weir.http1.openai import JSON_TYPE, error_headers, openai_error
from weir.http1.server import Place, Responder, Server

__all__ = ["Frontend"]

_log = logging.getLogger("weir.router.frontend")

_TEXT: list[Header] = [(b"content-type", b"text/plain; charset=utf-8")]
_METRICS: list[Header] = [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")]
_JSON: list[Header] = [(b"content-type", JSON_TYPE)]
_MODELS = "/v1/models"
_LAST_WORDS_S = 0.5
"""Wall seconds for clients to take the errors that end their requests."""

Answerer = Callable[[Request, Responder], None]


class Frontend:
    """`now_s`: model time. `render_metrics` runs in a thread, away from the loop."""

    def __init__(
        self,
        service: ServicePort,
        *,
        now_s: Callable[[], float],
        render_metrics: Callable[[], bytes],
        settings: FrontendSettings | None = None,
        meter: Meter | None = None,
        counting: Counting | None = None,
    ) -> None:
        self._service = service
        self._now_s = now_s
        self._render_metrics = render_metrics
        self._settings = settings or FrontendSettings()
        self._meter = meter or NoMeter()
        self._counting = counting
        self._upstreams = Upstreams(self._settings)
        self._loop = asyncio.get_running_loop()
        self._lines = Lines(
            service=service,
            upstreams=self._upstreams,
            settings=self._settings,
            meter=self._meter,
            now_s=now_s,
            wall_s=self._loop.time,
            patience=Patience(
                first_byte_s=self._settings.first_byte_timeout_s,
                idle_s=self._settings.idle_timeout_s,
            ),
            running=set(),
            releases=set(),
        )
        self._ids = RequestIds()
        self._canaries = service.canaries
        self._reads_kv_events = service.reads_kv_events
        self._rendering: asyncio.Task[None] | None = None
        self._scrapers: list[Responder] = []
        self._draining = False
        self._created = int(time.time())
        self._server: Server | None = None
        self._paths: dict[str, tuple[str, Answerer]] = {
            Endpoint.CHAT.value: ("POST", self._chat),
            Endpoint.COMPLETIONS.value: ("POST", self._complete),
            _MODELS: ("GET", self._models),
            "/livez": ("GET", self._livez),
            "/readyz": ("GET", self._readyz),
            "/metrics": ("GET", self._metrics),
        }

    async def start(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> int:
        """Listen; the port, chosen if 0. Raises `OSError` if the address cannot be had."""
        return await self._listen((host, port), tls)

    async def start_on(
        self, sockets: Sequence[socket.socket], *, tls: ssl.SSLContext | None = None
    ) -> int:
        """Take connections from sockets that listen already; their port."""
        return await self._listen(sockets, tls)

    async def _listen(self, place: Place, tls: ssl.SSLContext | None) -> int:
        limits = Limits(
            max_body_bytes=self._settings.max_body_bytes,
            idle_timeout_s=self._settings.idle_timeout_s,
        )
        self._server = Server(self.handle, limits, self._meter.rejected)
        await self._server.listen(place, tls=tls)
        return self._server.port

    @property
    def connections(self) -> int:
        return self._server.connections if self._server is not None else 0

    @property
    def engine_connections(self) -> int:
        """Open connections to engines, idle ones included."""
        return self._upstreams.connections

    @property
    def running(self) -> int:
        """Generation requests that have not ended."""
        return len(self._lines.running)

    @property
    def tasks(self) -> int:
        """Of the event loop. May be asked in any thread."""
        return len(asyncio.all_tasks(self._loop))

    def fail_readiness(self) -> None:
        """`/readyz` says 503 from now on; requests are still served."""
        self._draining = True

    async def drain(
        self, timeout_s: float, *, notice_s: float = 0.0, parting_s: float = 0.0
    ) -> bool:
        """Fail readiness, stay for `notice_s`, then take nothing new and finish what runs.

        What comes within `parting_s` on connections that are there is still served. True if all
        ended in time; what did not is broken off, with an error. Wall seconds.
        """
        self.fail_readiness()
        await asyncio.sleep(notice_s)
        drained = True
        if self._server is not None:
            drained = await self._server.settle(timeout_s, parting_s=parting_s)
        await self.close()
        return drained

    async def close(self) -> None:
        """Stop now; what still runs ends with an error."""
        for delivery in list(self._lines.running):
            delivery.cancel()
        if self._counting is not None:
            self._counting.close()
        if self._server is not None:
            await self._server.drain(_LAST_WORDS_S)
        if self._lines.releases:
            await asyncio.wait(self._lines.releases)
        self._upstreams.close()

    def handle(self, request: Request, responder: Responder) -> None:
        """The server's handler."""
        found = self._paths.get(request.path)
        if found is None:
            self._other(request, responder)
            return
        method, answer = found
        if request.method != method and not (method == "GET" and request.method == "HEAD"):
            self._wrong_method(request, responder, method)
            return
        answer(request, responder)

    # Generation.

    def _chat(self, request: Request, responder: Responder) -> None:
        self._generate(Endpoint.CHAT, request, responder)

    def _complete(self, request: Request, responder: Responder) -> None:
        self._generate(Endpoint.COMPLETIONS, request, responder)

    def _generate(self, endpoint: Endpoint, request: Request, responder: Responder) -> None:
        headers = dict(request.headers)
        request_id = self._ids.of(headers)
        try:
            envelope, hints = self._read(endpoint, request, headers)
            profile = self._profile(envelope, hints)
            counting = self._counting
            if counting is not None and counting.wants(profile, headers):
                then = partial(
                    self._start, request, responder, envelope, hints, profile, request_id
                )
                counting.first(profile, envelope.data, responder, then)
                return
        except RequestError as error:
            self._reject(responder, request_id, error)
            return
        self._start(request, responder, envelope, hints, profile, request_id)

    def _read(
        self, endpoint: Endpoint, request: Request, headers: dict[bytes, bytes]
    ) -> tuple[Envelope, Hints]:
        encoding = headers.get(b"content-encoding")
        if encoding is not None and encoding.lower() != b"identity":
            raise RequestError("compressed request bodies are not understood", status=415)
        envelope = parse_envelope(endpoint, request.body)
        if HINT_HEADERS.isdisjoint(headers) and "nvext" not in envelope.data:
            return envelope, NO_HINTS
        return envelope, self._hints(headers, envelope.data)

    def _profile(self, envelope: Envelope, hints: Hints) -> RequestProfile:
        asked = hints.model or envelope.model
        model = self._service.canary(asked) if asked in self._canaries else asked
        isl_tokens = self._service.estimate_isl(
            model, hints.tenant, envelope.prompt_bytes, envelope.prompt_tokens
        )
        return RequestProfile(
            model,
            isl_tokens,
            envelope.prompt_bytes,
            envelope.max_tokens,
            envelope.streaming,
            hints.tenant,
            hints.ttft_s,
            hints.itl_s,
            envelope.priority if hints.priority is None else hints.priority,
            envelope.prompt_tokens is not None,
            False,
            hints.osl_hint_tokens,
            hints.asked_class,
            hints.tier,
            self._ties(envelope, hints, model),
        )

    def _ties(self, envelope: Envelope, hints: Hints, model: str) -> Ties | None:
        if not self._service.reuses(model):
            return None
        return ties_of(envelope, hints.session, exact=self._reads_kv_events)

    def _start(
        self,
        request: Request,
        responder: Responder,
        envelope: Envelope,
        hints: Hints,
        profile: RequestProfile,
        request_id: bytes,
    ) -> None:
        asked = hints.model or envelope.model
        try:
            if hints is NO_HINTS and profile.model == asked:
                flight = self._service.open(profile, self._now_s())
            else:
                flight = self._open_unusual(profile, hints, asked)
        except RequestError as error:
            self._reject(responder, request_id, error)
            return
        renamed = None if profile.model == envelope.model else profile.model
        body = onward_body(request.body, envelope.data, renamed)
        onward = upstream_headers(request.headers, request_id)
        parts = self._lines, responder, envelope.endpoint, flight, request_id, body, onward
        delivery = ExplainedDelivery(*parts, hints=hints) if hints.explain else Delivery(*parts)
        delivery.start(self._loop)

    def _hints(self, headers: dict[bytes, bytes], data: dict[str, Any]) -> Hints:
        """What can be used of them."""
        hints = read_hints(headers, data)
        if hints.model and hints.model not in self._service.models():
            hints.ignore("model", Ignored.UNKNOWN)
        if hints.explain and not self._settings.explain:
            hints.ignore("explain", Ignored.NOT_ALLOWED)
        return hints

    def _open_unusual(self, profile: RequestProfile, hints: Hints, asked: str) -> Flight:
        """One with hints or for a canary, which leaves to `asked` what it cannot hold."""
        enter = self._service.open_explained if hints.explain else self._service.open
        try:
            try:
                flight = enter(profile, self._now_s())
            except RequestError:
                if profile.model == asked:
                    raise
                profile.model = asked
                flight = enter(profile, self._now_s())
            hints.deny(flight.denied())
        except RequestError as error:
            refused = self._service.explain_refusal(profile) if hints.explain else None
            if refused is None:
                raise
            raise ExplainedError(error, refused, hints) from error
        finally:
            for name, why in hints.ignored:
                self._meter.hint_ignored(name, why)
        return flight

    def _reject(self, responder: Responder, request_id: bytes, error: RequestError) -> None:
        self._meter.rejected(error.status)
        body = openai_error(error.status, str(error), code=error.code, param=error.param)
        headers = [*error_headers(), (b"x-request-id", request_id)]
        if isinstance(error, ExplainedError):
            headers += error.headers
        responder.send(error.status, headers, body)

    # Everything else.

    def _models(self, request: Request, responder: Responder) -> None:
        models = [self._model(name) for name in self._service.models()]
        responder.send(200, _JSON, orjson.dumps({"object": "list", "data": models}))

    def _model(self, name: str) -> dict[str, str | int]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": "weir"}

    def _livez(self, request: Request, responder: Responder) -> None:
        responder.send(200, _TEXT, b"ok\n")

    def _readyz(self, request: Request, responder: Responder) -> None:
        missing = "draining" if self._draining else self._service.ready()
        if missing is None:
            responder.send(200, _TEXT, b"ok\n")
        else:
            responder.send(503, _TEXT, missing.encode() + b"\n")

    def _metrics(self, request: Request, responder: Responder) -> None:
        self._scrapers.append(responder)
        if self._rendering is None:
            self._rendering = self._loop.create_task(self._render())

    async def _render(self) -> None:
        """Render for all who asked meanwhile; those who ask later get a newer one."""
        scrapers, self._scrapers = self._scrapers, []
        try:
            text = await self._loop.run_in_executor(None, self._render_metrics)
        except Exception:
            _log.exception("rendering metrics failed")
            for responder in scrapers:
                responder.send_error(500, "rendering metrics failed; the log has details")
        else:
            for responder in scrapers:
                responder.send(200, _METRICS, text)
        finally:
            self._rendering = None
            if self._scrapers:
                self._rendering = self._loop.create_task(self._render())

    def _other(self, request: Request, responder: Responder) -> None:
        name = request.path.removeprefix(_MODELS + "/")
        if name == request.path:
            self._missing(responder, f"there is no {request.path[:200]} here", "not_found")
        elif request.method not in ("GET", "HEAD"):
            self._wrong_method(request, responder, "GET")
        elif name in self._service.models():
            responder.send(200, _JSON, orjson.dumps(self._model(name)))
        else:
            message = f"the model {name[:200]!r} does not exist"
            self._missing(responder, message, "model_not_found")

    def _missing(self, responder: Responder, message: str, code: str) -> None:
        self._meter.rejected(404)
        responder.send_error(404, message, code=code)

    def _wrong_method(self, request: Request, responder: Responder, allowed: str) -> None:
        self._meter.rejected(405)
        headers = [*error_headers(), (b"allow", allowed.encode())]
        message = f"{request.path} takes {allowed}, not {request.method}"
        responder.send(405, headers, openai_error(405, message, code="method_not_allowed"))
