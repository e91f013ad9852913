"""CPU the data plane spends per request and per streamed chunk, next to a bare asyncio relay.

The peers stand in front of the same engine in the same run: `weir` is the frontend with the
real service; `frontend` has a service that always gives the same route; `relay` copies bytes
between two sockets and reads nothing, so it is what asyncio and the kernel cost at least.

    python -m tests.benchmarks.bench_frontend [--json] [--requests N] [--streams N]
"""

import argparse
import asyncio
import json
import multiprocessing
import multiprocessing.connection
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast

import uvloop

from router.adapters.static import static_fleet
from router.core.explain import ExplainedFlight
from router.core.flight import Flight
from router.core.request import Leg, RequestProfile, Route, RouteReason
from router.frontend.app import Frontend
from router.service import RouterService, ServiceSettings
from weir.domain.ids import RouterId, WorkerId
from weir.domain.planning import PoolMembers, WorkerEndpoint
from weir.http1.server import Request, Responder, serve
from weir.runtime.clock import Clock

__all__ = ["main"]

FLEET = static_fleet(["m"])
POOL = FLEET.pools[0].id

CLIENTS = 8
CHUNKS = 50
CHUNK_GAP_S = 0.02
SMALL = json.dumps(
    {"model": "m", "messages": [{"role": "user", "content": "x" * 700}], "max_tokens": 8}
).encode()
LARGE = json.dumps(
    {"model": "m", "messages": [{"role": "user", "content": "x" * 32_000}], "max_tokens": 8}
).encode()
STREAM = json.dumps(
    {"model": "m", "messages": [{"role": "user", "content": "x" * 700}], "stream": True}
).encode()
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "y" * 200}}],
        "usage": {"prompt_tokens": 180, "completion_tokens": 50, "total_tokens": 230},
    }
).encode()
EVENT = (
    b"data: %b\n\n"
    % json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "delta": {"content": " token"}, "finish_reason": None}],
        }
    ).encode()
)


# --- the three processes -----------------------------------------------------------------


async def engine() -> int:
    tasks: set[asyncio.Task[None]] = set()

    async def stream(responder: Responder) -> None:
        responder.start(200, [(b"content-type", b"text/event-stream")])
        for _ in range(CHUNKS):
            await asyncio.sleep(CHUNK_GAP_S)
            responder.write(EVENT)
        responder.write(b"data: [DONE]\n\n")
        responder.finish()

    def handle(request: Request, responder: Responder) -> None:
        if request.body.endswith(b'"stream": true}'):
            task = asyncio.ensure_future(stream(responder))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        else:
            responder.send(200, [(b"content-type", b"application/json")], ANSWER)

    return (await serve(handle, "127.0.0.1", 0)).port


async def weir(engine_port: int) -> int:
    clock = Clock()
    service = RouterService(FLEET, clock, RouterId("r"), ServiceSettings())
    workers = (_worker(engine_port),)
    service.apply_members(PoolMembers(pool_id=POOL, version=0, workers=workers))
    frontend = Frontend(service, now_s=clock.now_s, render_metrics=lambda: b"")
    return await frontend.start("127.0.0.1", 0)


async def frontend(engine_port: int) -> int:
    service = _OneRoute(_worker(engine_port))
    frontend = Frontend(service, now_s=time.monotonic, render_metrics=lambda: b"")
    return await frontend.start("127.0.0.1", 0)


def _worker(port: int) -> WorkerEndpoint:
    return WorkerEndpoint(id=WorkerId("w"), host="127.0.0.1", port=port)


class _NoFlight(Flight):
    def __init__(self) -> None: ...

    def first_token(self, now_s: float) -> None: ...

    def finish(self, *args: Any, **kwargs: Any) -> None: ...


class _OneRoute:
    """A service that costs nothing."""

    def __init__(self, worker: WorkerEndpoint) -> None:
        self._flight = _NoFlight()
        self._route = Route(
            request_class=FLEET.classes[0],
            isl_tokens=1,
            osl_tokens=1,
            prefill=None,
            decode=Leg(pool_id=POOL, worker=worker),
            reason=RouteReason.SHARE,
        )

    def estimate_isl(self, *args: Any) -> int:
        return 1

    @property
    def canaries(self) -> frozenset[str]:
        return frozenset()

    def canary(self, name: str) -> str:
        return name

    def open_explained(self, profile: RequestProfile, now_s: float) -> ExplainedFlight:
        raise NotImplementedError

    def open(self, profile: RequestProfile, now_s: float) -> Flight:
        return self._flight

    async def place(self, *args: Any) -> Route:
        return self._route

    def models(self) -> Sequence[str]:
        return ("m",)

    def ready(self) -> str | None:
        return None


class _Relay(asyncio.Protocol):
    """One side of a byte pump."""

    def __init__(self, other: "_Relay | None" = None, connect_to: int | None = None) -> None:
        self.transport: asyncio.Transport | None = None
        self.other = other
        self.connect_to = connect_to
        self.early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self.connect_to is not None:
            self.task = asyncio.ensure_future(self._connect(self.connect_to))

    async def _connect(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        _, self.other = await loop.create_connection(lambda: _Relay(self), "127.0.0.1", port)
        for data in self.early:
            cast(asyncio.Transport, self.other.transport).write(data)

    def data_received(self, data: bytes) -> None:
        if self.other is None or self.other.transport is None:
            self.early.append(data)
        else:
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


async def relay(engine_port: int) -> int:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Relay(connect_to=engine_port), "127.0.0.1", 0)
    return int(server.sockets[0].getsockname()[1])


class Process:
    """A child that serves until it is told to go, and tells its CPU time when asked."""

    def __init__(self, start: Callable[..., Coroutine[Any, Any, int]], *args: int) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=_serve, args=(start, args, theirs), daemon=True)
        self._process.start()
        self.port: int = self._answer()

    def cpu_s(self) -> float:
        self._pipe.send("cpu")
        return float(self._answer())

    def close(self) -> None:
        self._process.kill()
        self._process.join(5.0)

    def _answer(self) -> Any:
        if not self._pipe.poll(10.0):
            raise TimeoutError("a process of the benchmark does not answer")
        return self._pipe.recv()


def _serve(
    start: Callable[..., Coroutine[Any, Any, int]],
    args: tuple[int, ...],
    pipe: multiprocessing.connection.Connection,
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    async def run() -> None:
        pipe.send(await start(*args))
        loop = asyncio.get_running_loop()

        def tell() -> None:
            pipe.recv()
            used = resource.getrusage(resource.RUSAGE_SELF)
            pipe.send(used.ru_utime + used.ru_stime)

        loop.add_reader(pipe.fileno(), tell)
        await loop.create_future()

    uvloop.run(run())


# --- the load ----------------------------------------------------------------------------


async def _requests(port: int, body: bytes, count: int) -> None:
    message = _message(body)

    async def client(count: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(count):
            writer.write(message)
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(len(ANSWER))
        writer.close()

    await asyncio.gather(*(client(count // CLIENTS) for _ in range(CLIENTS)))


async def _streams(port: int, count: int) -> None:
    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_message(STREAM))
        await reader.readuntil(b"0\r\n\r\n")
        writer.close()

    await asyncio.gather(*(client() for _ in range(count)))


def _message(body: bytes) -> bytes:
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAccept: */*\r\n"
        f"User-Agent: bench/1\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer none\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _cost_s(peer: Process, load: Coroutine[Any, Any, None]) -> float:
    before = peer.cpu_s()
    async with asyncio.timeout(30.0):
        await load
    return peer.cpu_s() - before


async def _measure(peer: Process, requests: int, streams: int) -> dict[str, float]:
    await _requests(peer.port, SMALL, CLIENTS * 20)  # warm up
    small_s = await _cost_s(peer, _requests(peer.port, SMALL, requests))
    large_s = await _cost_s(peer, _requests(peer.port, LARGE, requests // 2))
    await _streams(peer.port, 10)
    stream_s = await _cost_s(peer, _streams(peer.port, streams))
    return {
        "request_us": small_s / requests * 1e6,
        "request_32k_us": large_s / (requests // 2) * 1e6,
        "chunk_us": (stream_s - streams * small_s / requests) / (streams * CHUNKS) * 1e6,
    }


def _run(requests: int, streams: int) -> dict[str, dict[str, float]]:
    processes: list[Process] = []
    try:
        processes.append(Process(engine))
        peers = {"weir": weir, "frontend": frontend, "relay": relay}
        results = {}
        for name, start in peers.items():
            peer = Process(start, processes[0].port)
            processes.append(peer)
            results[name] = uvloop.run(_measure(peer, requests, streams))
    finally:
        for process in processes:
            process.close()
    floor = results["relay"]
    for name in ("weir", "frontend"):
        over = {key: cost - floor[key] for key, cost in results[name].items()}
        results[f"{name}_minus_relay"] = over
    return results


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="CPU of the data plane per request and chunk")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--requests", type=int, default=8000)
    parser.add_argument("--streams", type=int, default=100)
    options = parser.parse_args(argv)
    began = time.monotonic()
    results = _run(options.requests, options.streams)
    summary = {"cpu_us": results, "wall_s": time.monotonic() - began, "cpus": os.cpu_count()}
    if options.json:
        print(json.dumps(summary))
        return 0
    for name, costs in results.items():
        row = "  ".join(f"{key} {value:7.1f}" for key, value in costs.items())
        print(f"{name:18} {row}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
