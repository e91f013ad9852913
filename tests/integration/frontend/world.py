"""A frontend with scripted decisions, fake engines on real sockets, and a raw client."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from router.core.explain import ExplainedFlight
from router.core.flight import Flight
from router.core.request import (
    Leg,
    Outcome,
    RequestProfile,
    RetryReason,
    Route,
    RouteReason,
    Shed,
    Wait,
)
from router.frontend.app import Frontend
from router.frontend.hints import Ignored
from router.frontend.ports import FrontendSettings, KeptKv
from tests.integration.ports import free_port
from weir.domain.errors import RequestError
from weir.domain.fleet import RequestClass, Slo, TokenRange
from weir.domain.ids import ClassName, PoolId, WorkerId
from weir.domain.planning import WorkerEndpoint

CLASS = RequestClass(
    name=ClassName("all"),
    isl_tokens=TokenRange(),
    osl_tokens=TokenRange(),
    slo=Slo(ttft_s=1.0, itl_s=0.1),
)
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
STREAM = CHAT | {"stream": True}
EVENT_STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


@dataclass
class Received:
    """A request as an engine got it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter, Received], Awaitable[None]]


@dataclass
class Engine:
    """Reads requests and lets `behaviour` answer each; `gone` when a peer has left."""

    behaviour: Behaviour
    worker: WorkerEndpoint
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                request = await read_request(reader)
                self.requests.append(request)
                await self.behaviour(reader, writer, request)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone.set()
        finally:
            writer.close()


async def read_request(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(method, path, headers, body)


@asynccontextmanager
async def engine(behaviour: Behaviour, worker_id: str = "w") -> AsyncIterator[Engine]:
    made: list[Engine] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await made[0].serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    worker = WorkerEndpoint(id=WorkerId(worker_id), host="127.0.0.1", port=port)
    made.append(Engine(behaviour, worker))
    try:
        yield made[0]
    finally:
        server.close()


def answers(*pieces: bytes) -> Behaviour:
    """Write these pieces, each on its own, and keep the connection."""

    async def behave(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Received
    ) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.005)

    return behave


def then_closes(*pieces: bytes) -> Behaviour:
    async def behave(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Received
    ) -> None:
        await answers(*pieces)(reader, writer, request)
        raise ConnectionError

    return behave


def hangs_after(*pieces: bytes) -> Behaviour:
    """Write, then wait until the peer has gone."""

    async def behave(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Received
    ) -> None:
        await answers(*pieces)(reader, writer, request)
        await reader.read(1)
        raise ConnectionError

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """The first request gets the first behaviour, and so on; the last one stays."""
    left = list(behaviours)

    async def behave(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Received
    ) -> None:
        turn = left.pop(0) if len(left) > 1 else left[0]
        await turn(reader, writer, request)

    return behave


def whole(body: bytes, status: bytes = b"200 OK", extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b" % (
        status,
        extra,
        len(body),
        body,
    )


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(data: Any) -> bytes:
    text = data if isinstance(data, str) else json.dumps(data)
    return b"data: %b\n\n" % text.encode()


_DEADLINE_S = 30.0
LAST = b"0\r\n\r\n"


class RecordingFlight(Flight):
    """Keeps what it is told."""

    def __init__(self, profile: RequestProfile) -> None:
        self.profile = profile
        self.finished = False
        self.calls: list[str] = []
        self.retries: list[tuple[str, RetryReason]] = []
        self.outcome: Outcome | None = None
        self.prompt_tokens: int | None = None
        self.output_tokens: int | None = None
        self.blamed: Leg | None = None
        self.done = asyncio.Event()

    def denied(self) -> tuple[str, ...]:
        return ()

    def prefill_done(self, now_s: float) -> None:
        self.calls.append("prefill_done")

    def first_token(self, now_s: float) -> None:
        self.calls.append("first_token")

    def retry(self, leg: Leg, reason: RetryReason, now_s: float) -> None:
        self.retries.append((leg.worker.id, reason))

    def finish(
        self,
        outcome: Outcome,
        now_s: float,
        prompt_tokens: int | None = None,
        output_tokens: int | None = None,
        failed_leg: Leg | None = None,
    ) -> None:
        assert not self.finished, "a request ended twice"
        self.finished = True
        self.outcome = outcome
        self.prompt_tokens = prompt_tokens
        self.output_tokens = output_tokens
        self.blamed = failed_leg
        self.done.set()


class ScriptedService:
    """Routes to the decode (and prefill) workers in the order given; the last one stays."""

    def __init__(
        self,
        decode: Sequence[WorkerEndpoint],
        prefill: Sequence[WorkerEndpoint] = (),
        shed: Shed | None = None,
    ) -> None:
        self._decode = list(decode)
        self._prefill = list(prefill)
        self._shed = shed
        self.flights: list[RecordingFlight] = []
        self.placed: list[tuple[frozenset[WorkerId], Leg | None]] = []
        self.missing: str | None = None
        self.hold: asyncio.Event | None = None
        self.canaries: frozenset[str] = frozenset()
        self.reads_kv_events = False

    def estimate_isl(
        self, model: str, tenant: str, prompt_bytes: int, exact_tokens: int | None = None
    ) -> int:
        return exact_tokens if exact_tokens is not None else prompt_bytes // 4

    def reuses(self, model: str) -> bool:
        return False

    def canary(self, name: str) -> str:
        raise AssertionError("no model has a canary")

    def open_explained(self, profile: RequestProfile, now_s: float) -> ExplainedFlight:
        raise AssertionError("scripted decisions cannot be explained")

    def open(self, profile: RequestProfile, now_s: float) -> Flight:
        if profile.model not in self.models():
            raise RequestError(
                f"no model {profile.model}", status=404, code="model_not_found", param="model"
            )
        flight = RecordingFlight(profile)
        self.flights.append(flight)
        return flight

    async def place(
        self,
        flight: Flight,
        exclude: frozenset[WorkerId] = frozenset(),
        prefilled: Leg | None = None,
    ) -> Route | Shed:
        self.placed.append((exclude, prefilled))
        if self.hold is not None:
            await self.hold.wait()
        if self._shed is not None:
            return self._shed
        prefill = prefilled
        if prefill is None and self._prefill:
            prefill = Leg(pool_id=PoolId("prefill"), worker=_next(self._prefill))
        return self._route(prefill)

    def _route(self, prefill: Leg | None) -> Route:
        return Route(
            request_class=CLASS,
            isl_tokens=1,
            osl_tokens=1,
            prefill=prefill,
            decode=Leg(pool_id=PoolId("decode"), worker=_next(self._decode)),
            reason=RouteReason.SHARE,
        )

    def decide(
        self,
        profile: RequestProfile,
        now_s: float,
        exclude: frozenset[WorkerId] = frozenset(),
        prefilled: Leg | None = None,
    ) -> Route | Wait:
        """The next decode worker, for a leg that nobody has asked for."""
        assert prefilled is not None
        return self._route(prefilled)

    def models(self) -> Sequence[str]:
        return ("m", "alias")

    def ready(self) -> str | None:
        return self.missing


def _next(workers: list[WorkerEndpoint]) -> WorkerEndpoint:
    return workers.pop(0) if len(workers) > 1 else workers[0]


class CountingMeter:
    def __init__(self) -> None:
        self.rejections: list[int] = []
        self.recomputations = 0
        self.ignored_hints: list[tuple[str, Ignored]] = []
        self.kept: list[KeptKv] = []

    def rejected(self, status: int) -> None:
        self.rejections.append(status)

    def recomputed(self) -> None:
        self.recomputations += 1

    def kept_kv(self, how: KeptKv) -> None:
        self.kept.append(how)

    def hint_ignored(self, name: str, why: Ignored) -> None:
        self.ignored_hints.append((name, why))


@dataclass
class World:
    frontend: Frontend
    service: ScriptedService
    meter: CountingMeter
    port: int

    @property
    def flight(self) -> RecordingFlight:
        return self.service.flights[-1]

    async def ended(self) -> RecordingFlight:
        """The last request's flight, once it has ended."""
        await asyncio.wait_for(self.flight.done.wait(), _DEADLINE_S)
        return self.flight

    async def connect(self, *, receive_buffer: int | None = None) -> "Client":
        plain = socket.socket()
        if receive_buffer is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        plain.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=plain)
        return Client(reader, writer)

    async def post(
        self, body: Any, path: str = "/v1/chat/completions", headers: str = ""
    ) -> "Reply":
        client = await self.connect()
        client.send(body, path, headers)
        reply = await client.reply()
        client.close()
        return reply

    async def get(self, path: str) -> "Reply":
        client = await self.connect()
        client.writer.write(f"GET {path} HTTP/1.1\r\nhost: t\r\n\r\n".encode())
        reply = await client.reply()
        client.close()
        return reply


@dataclass
class Reply:
    """`body` as framed on the wire; `payload` without the framing."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def payload(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.body
        return unchunk(self.body)

    @property
    def json(self) -> Any:
        return json.loads(self.payload)

    @property
    def error(self) -> dict[str, Any]:
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert isinstance(error, dict)
        return error


@dataclass
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, body: Any, path: str = "/v1/chat/completions", headers: str = "") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: t\r\n{headers}content-length: {len(data)}\r\n\r\n"
        self.writer.write(head.encode() + data)

    async def head(self) -> Reply:
        async with asyncio.timeout(_DEADLINE_S):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        return Reply(int(lines[0].split(" ")[1]), headers, b"")

    async def reply(self) -> Reply:
        reply = await self.head()
        async with asyncio.timeout(_DEADLINE_S):
            if "content-length" in reply.headers:
                reply.body = await self.reader.readexactly(int(reply.headers["content-length"]))
            elif reply.headers.get("transfer-encoding") == "chunked":
                reply.body = await self.chunks()
            else:
                reply.body = await self.reader.read()
        return reply

    async def chunks(self) -> bytes:
        pieces = [b""]
        while not pieces[-1].startswith(LAST[:3]):
            size = await self.reader.readuntil(b"\r\n")
            pieces.append(size + await self.reader.readexactly(int(size, 16) + 2))
        return b"".join(pieces)

    async def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        async with asyncio.timeout(_DEADLINE_S):
            return await self.reader.read()

    def close(self) -> None:
        self.writer.close()


def unchunk(body: bytes) -> bytes:
    payload = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        payload += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
    return payload


@asynccontextmanager
async def world(
    decode: Sequence[Engine | WorkerEndpoint],
    prefill: Sequence[Engine | WorkerEndpoint] = (),
    *,
    shed: Shed | None = None,
    service: type[ScriptedService] = ScriptedService,
    **settings: Any,
) -> AsyncIterator[World]:
    scripted = service(_workers(decode), _workers(prefill), shed)
    meter = CountingMeter()
    frontend = Frontend(
        scripted,
        now_s=asyncio.get_running_loop().time,
        render_metrics=lambda: b"weir_up 1\n",
        settings=FrontendSettings(**settings),
        meter=meter,
    )
    port = await frontend.start("127.0.0.1", 0)
    try:
        yield World(frontend, scripted, meter, port)
    finally:
        await frontend.close()


def _workers(engines: Sequence[Engine | WorkerEndpoint]) -> list[WorkerEndpoint]:
    return [engine.worker if isinstance(engine, Engine) else engine for engine in engines]


def refusing_worker(worker_id: str = "refusing") -> WorkerEndpoint:
    """An address where nobody listens."""
    return WorkerEndpoint(id=WorkerId(worker_id), host="127.0.0.1", port=free_port())
