"""Both ends of the wire around a peer: dummy engines, and clients that keep them busy.

Engines and clients do as little as HTTP/1.1 allows, so that they share one core and leave the
other one to the peer.
"""

import asyncio
import json
import multiprocessing
import multiprocessing.connection
import os
import random
import re
import signal
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import cast

import uvloop

__all__ = [
    "LARGE",
    "SMALL",
    "STREAMED",
    "Engines",
    "latency_s",
    "paced_requests",
    "requests",
    "streams",
]

_DEADLINE_S = 120.0
_GAP_S = (0.02, 0.08)
"""Between two chunks of a stream."""
_PACED_CLIENTS = 32
_VARIANTS = 256
_WORDS = ("the", "of", "router", "pool", "tokens", "prompt", "worker", "cache", "decode", "plan")
_TRANSFER = {"do_remote_prefill": True, "remote_engine_id": "e", "remote_block_ids": [1, 2, 3]}
_USAGE = {"prompt_tokens": 180, "completion_tokens": 8, "total_tokens": 188}
_CHOICE = {"index": 0, "finish_reason": "length"}
_ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [_CHOICE | {"message": {"role": "assistant", "content": "token " * 40}}],
    "usage": _USAGE,
}
_DELTA = {"index": 0, "delta": {"content": " token"}, "finish_reason": None}
_EVENT = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "m",
    "choices": [_DELTA],
}


def _whole(body: dict[str, object]) -> bytes:
    text = json.dumps(body).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(text) + text


_STREAMING = re.compile(rb'"stream":\s*true')
_NO_ANSWER = _whole({})
_WHOLE = _whole(_ANSWER)
_PREFILLED = _whole(_ANSWER | {"kv_transfer_params": _TRANSFER})
_STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
_DATA = b"data: %b\n\n" % json.dumps(_EVENT).encode()
_CHUNK = b"%x\r\n%b\r\n" % (len(_DATA), _DATA)


def _messages(content_bytes: int, **fields: object) -> list[bytes]:
    """Whole requests that differ in their prompts, as a keep-alive client sends them."""
    chance = random.Random(content_bytes)
    made = []
    for number in range(_VARIANTS):
        words = [str(number), *chance.choices(_WORDS, k=content_bytes // 4)]
        content = " ".join(words)[:content_bytes]
        prompt = {"model": "m", "messages": [{"role": "user", "content": content}]}
        body = json.dumps(prompt | fields).encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAccept: */*\r\n"
            "User-Agent: bench/1\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer none\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


SMALL = _messages(700, max_tokens=8)
LARGE = _messages(32_000, max_tokens=8)
STREAMED = _messages(700, max_tokens=4096, stream=True)


# --- engines -----------------------------------------------------------------------------


class _Engine(asyncio.Protocol):
    """Answers each POST at once, and a streaming one with paced chunks until it is left."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._held = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self._held + data if self._held else data
        head = data.find(b"\r\n\r\n") + 4
        if head < 4 or len(data) < head + _length(data[:head]):
            self._held = data
            return
        self._held = b""
        if not data.startswith(b"POST"):
            self._transport.write(_NO_ANSWER)
        elif _STREAMING.search(data):
            self._transport.write(_STREAM)
            self._chunk()
        elif b'"do_remote_decode":true' in data:
            self._transport.write(_PREFILLED)
        else:
            self._transport.write(_WHOLE)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _chunk(self) -> None:
        self._transport.write(_CHUNK)
        self._timer = self._loop.call_later(random.uniform(*_GAP_S), self._chunk)


def _length(head: bytes) -> int:
    """Of the body. Engines here are not sent chunks."""
    lower = head.lower()
    if b"\r\ntransfer-encoding:" in lower:
        raise NotImplementedError("the dummy engine got a chunked request")
    _, found, rest = lower.partition(b"\r\ncontent-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


class Engines:
    """Dummy engines, all in one process on `cpu`. `ports`: one for each of them."""

    def __init__(self, count: int, cpu: int) -> None:
        pipe, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=_serve, args=(count, cpu, theirs), daemon=True)
        self._process.start()
        if not pipe.poll(_DEADLINE_S):
            raise TimeoutError("the dummy engines do not start")
        self.ports: list[int] = pipe.recv()

    def close(self) -> None:
        self._process.kill()
        self._process.join(5.0)


def _serve(count: int, cpu: int, pipe: multiprocessing.connection.Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.sched_setaffinity(0, {cpu})

    async def run() -> None:
        loop = asyncio.get_running_loop()
        servers = [
            await loop.create_server(lambda: _Engine(loop), "127.0.0.1", 0) for _ in range(count)
        ]
        pipe.send([server.sockets[0].getsockname()[1] for server in servers])
        await loop.create_future()

    uvloop.run(run())


# --- clients -----------------------------------------------------------------------------


class _Client(asyncio.Protocol):
    """One keep-alive connection; `answered` is called with each response's end."""

    def __init__(self) -> None:
        self.chunks = 0
        self._held = b""
        self._answer: asyncio.Future[None] | None = None
        self._streaming = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, message: bytes) -> "asyncio.Future[None]":
        """Done with the end of the answer, or with the first chunk of one that is streamed."""
        self._streaming = False
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(message)
        return self._answer

    def data_received(self, data: bytes) -> None:
        if self._streaming:
            self.chunks += data.count(b"data: ")
            return
        data = self._held + data if self._held else data
        head = data.find(b"\r\n\r\n") + 4
        if head < 4:
            self._held = data
            return
        if not data.startswith(b"HTTP/1.1 200"):
            self._fail(RuntimeError(f"a peer answers {data[:400]!r}"))
            return
        lower = data[:head].lower()
        if b"text/event-stream" in lower:
            self._streaming = b"data: " in data[head:]
            ended = self._streaming
        elif b"content-length:" in lower:
            ended = len(data) >= head + _length(lower)
        else:
            ended = data.endswith(b"\r\n0\r\n\r\n")
        self._held = b"" if ended else data
        if ended and self._answer is not None and not self._answer.done():
            self._answer.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(ConnectionError("a peer closed a connection"))

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


async def _connected(port: int, count: int) -> list[_Client]:
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(_Client, "127.0.0.1", port) for _ in range(count)]
    return [client for _, client in made]


async def requests(port: int, messages: Sequence[bytes], count: int, clients: int) -> None:
    """So many requests by clients of which each sends its next one when it has its answer."""
    following = cycle(messages)

    async def run(client: _Client) -> None:
        for _ in range(count // clients):
            await client.ask(next(following))

    connected = await _connected(port, clients)
    async with asyncio.timeout(_DEADLINE_S):
        await asyncio.gather(*map(run, connected))
    for client in connected:
        client.transport.close()


async def paced_requests(port: int, messages: Sequence[bytes], count: int, rate_rps: float) -> None:
    """So many requests at a constant rate, the clients in turn."""
    loop = asyncio.get_running_loop()

    async def run(client: _Client, number: int) -> None:
        for turn in range(number, count, _PACED_CLIENTS):
            await asyncio.sleep(began + turn / rate_rps - loop.time())
            await client.ask(messages[turn % len(messages)])

    connected = await _connected(port, _PACED_CLIENTS)
    began = loop.time()
    async with asyncio.timeout(_DEADLINE_S):
        await asyncio.gather(*(run(client, i) for i, client in enumerate(connected)))
    for client in connected:
        client.transport.close()


async def streams(
    port: int, count: int, *, settle_s: float, window_s: float, cpu_s: Callable[[], float]
) -> tuple[float, int]:
    """CPU seconds that `cpu_s` counts in a window in which all streams run, and their chunks."""
    connected = await _connected(port, count)
    asked = [client.ask(each) for client, each in zip(connected, cycle(STREAMED), strict=False)]
    async with asyncio.timeout(_DEADLINE_S):
        await asyncio.gather(*asked)
    await asyncio.sleep(settle_s)
    before_s, seen = cpu_s(), sum(client.chunks for client in connected)
    await asyncio.sleep(window_s)
    spent_s, chunks = cpu_s() - before_s, sum(client.chunks for client in connected) - seen
    for client in connected:
        client.transport.abort()
    return spent_s, chunks


async def latency_s(port: int, messages: Sequence[bytes], count: int, gap_s: float) -> float:
    """Median over requests that come one at a time, on one connection, with pauses."""
    (client,) = await _connected(port, 1)
    took_s = []
    async with asyncio.timeout(_DEADLINE_S):
        for message in messages[:count]:
            began = time.perf_counter()
            await client.ask(message)
            took_s.append(time.perf_counter() - began)
            await asyncio.sleep(gap_s)
    client.transport.close()
    return statistics.median(took_s)
