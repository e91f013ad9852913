"""The HTTP surface: which path does what, and when it is refused."""

import secrets
import time
from collections.abc import Callable
from enum import Enum

import orjson

from weir.domain.errors import RequestError
from weir.http1.openai import JSON_TYPE
from weir.http1.server import Request, Responder
from weir.mocker.answers import StreamedAnswer, WholeAnswer
from weir.mocker.generation import Generation, Model, parse_chat, parse_completion
from weir.mocker.handover import KV_PATH
from weir.mocker.service import EngineService

__all__ = ["Endpoints", "Phase"]

_JSON = [(b"content-type", JSON_TYPE)]
_TEXT = [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")]
_MOST_ID_BYTES = 128

Parse = Callable[[bytes, Model], Generation]


class Phase(Enum):
    """Health is good and requests are taken while `READY` only."""

    STARTING = "the engine is starting up"
    READY = "ready"
    DRAINING = "the engine is draining and takes no new requests"


class Endpoints:
    """`phase` is set by the application; `retry_after_s` (wall) while it starts."""

    def __init__(self, service: EngineService, model: Model) -> None:
        self._service = service
        self._model = model
        self._started_at = int(time.time())
        self.phase = Phase.STARTING
        self.retry_after_s = 1.0
        self._routes: dict[str, tuple[str, Callable[[Request, Responder], None]]] = {
            "/v1/chat/completions": ("POST", self._chat),
            "/v1/completions": ("POST", self._completion),
            "/v1/models": ("GET", self._models),
            "/health": ("GET", self._health),
            "/readyz": ("GET", self._health),
            "/livez": ("GET", self._alive),
            "/metrics": ("GET", self._metrics),
            "/reset_prefix_cache": ("POST", self._reset),
        }

    def handle(self, request: Request, responder: Responder) -> None:
        """Answer one request, or see to it that it will be."""
        method, serve = self._routes.get(request.path, ("", self._unknown))
        if not method and request.path.startswith(KV_PATH):
            method, serve = "GET", self._hand_over
        if method and request.method != method and (request.method, method) != ("HEAD", "GET"):
            body = f"{request.path} takes {method}, not {request.method}"
            responder.send_error(405, body)
            return
        serve(request, responder)

    def _chat(self, request: Request, responder: Responder) -> None:
        self._generate(request, responder, parse_chat, "chatcmpl-")

    def _completion(self, request: Request, responder: Responder) -> None:
        self._generate(request, responder, parse_completion, "cmpl-")

    def _generate(self, request: Request, responder: Responder, parse: Parse, prefix: str) -> None:
        if self.phase is not Phase.READY:
            self._refuse(responder)
            return
        try:
            generation = parse(request.body, self._model)
        except RequestError as error:
            responder.send_error(error.status, str(error), code=error.code, param=error.param)
            return
        kind = StreamedAnswer if generation.stream else WholeAnswer
        answer = kind(
            responder,
            generation,
            id=prefix + _request_id(request),
            model=self._model.names[0],
            created=int(time.time()),
        )
        self._service.serve(generation, responder, answer)

    def _models(self, _: Request, responder: Responder) -> None:
        if self.phase is Phase.STARTING:
            self._refuse(responder)
            return
        cards = [
            {
                "id": name,
                "object": "model",
                "created": self._started_at,
                "owned_by": "weir",
                "root": self._model.names[0],
                "parent": None,
                "max_model_len": self._model.context_limit_tokens,
            }
            for name in self._model.names
        ]
        responder.send(200, _JSON, orjson.dumps({"object": "list", "data": cards}))

    def _health(self, _: Request, responder: Responder) -> None:
        if self.phase is Phase.READY:
            responder.send(200, (), b"")
        else:
            self._refuse(responder)

    def _alive(self, _: Request, responder: Responder) -> None:
        responder.send(200, (), b"")

    def _metrics(self, _: Request, responder: Responder) -> None:
        responder.send(200, _TEXT, self._service.page())

    def _reset(self, _: Request, responder: Responder) -> None:
        if self._service.clear_cache():
            responder.send(200, (), b"")
        else:
            responder.send_error(503, "requests that run use the cache")

    def _hand_over(self, request: Request, responder: Responder) -> None:
        tokens = self._service.hand_over(request.path.removeprefix(KV_PATH))
        if tokens is None:
            message = "the KV of this request is not here: unknown, fetched already or expired"
            responder.send_error(404, message)
        else:
            responder.send(200, _JSON, orjson.dumps({"prompt_tokens": tokens}))

    def _unknown(self, request: Request, responder: Responder) -> None:
        responder.send_error(404, f"there is nothing at {request.path}")

    def _refuse(self, responder: Responder) -> None:
        responder.send_error(503, self.phase.value, retry_after_s=self.retry_after_s)


def _request_id(request: Request) -> str:
    """The client's `x-request-id` if it is fit to print, else a new one."""
    given = request.header(b"x-request-id")
    if given and len(given) <= _MOST_ID_BYTES and given.isascii() and given.decode().isprintable():
        return given.decode()
    return secrets.token_hex(16)
