"""Clients as a process: as many requests at once as told, each looked at byte for byte.

    python -m tests.integration.streams.clients PORT CLIENTS SEED [--requests N]

Asks until stdin has a line, or N times; ends what it has begun, closes its connections and prints
a `Tally` as JSON. Without --requests streams take seconds, with it hardly any time.
"""

import argparse
import asyncio
import json
import random
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import cast

import uvloop

from tests.integration.streams.wire import DONE, FAILED_EVENT, Ask, event, request, whole

__all__ = ["MODEL", "Tally", "main"]

MODEL = "m"
_DEADLINE_S = 300.0
"""For one request, which takes seconds on a machine that is not busy."""
_RAMP_S = 0.002
_SHED_PAUSE_S = 0.5


@dataclass(slots=True)
class Tally:
    """Requests by how they ended for their clients; `left`: the client went before the end."""

    asked: int = 0
    completed: int = 0
    failed: int = 0
    shed: int = 0
    left: int = 0
    rejected: int = 0
    chunks: int = 0
    wrong: list[str] = field(default_factory=list)

    def ended(self, how: str) -> None:
        setattr(self, how, getattr(self, how) + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """`leave_after` so many events; `rest_s`: nothing is read so long after the first one."""

    ask: Ask
    leave_after: int | None = None
    rest_s: float = 0.0
    model: str = MODEL


Draw = Callable[[random.Random, str], Visit]


def paced(dice: random.Random, nonce: str) -> Visit:
    """Streams with 0.25 to 1.5 s between chunks, and few other things."""
    gap_s, chunks = dice.uniform(0.25, 1.5), dice.randint(6, 16)
    kind = dice.random()
    ask = Ask(nonce=nonce, chunks=chunks, gap_s=gap_s)
    if kind < 0.84:
        return Visit(ask=ask)
    if kind < 0.92:
        return Visit(ask=ask, leave_after=dice.randint(1, chunks - 3))
    if kind < 0.93:
        slow = Ask(nonce=nonce, chunks=chunks, gap_s=gap_s, pad_bytes=30_000)
        return Visit(ask=slow, rest_s=3.0)
    return _short(dice, nonce)


def quick(dice: random.Random, nonce: str) -> Visit:
    """Whole answers and streams that come at once; a fifth of them end badly."""
    kind = dice.random()
    if kind < 0.4:
        return Visit(ask=Ask(nonce=nonce))
    if kind < 0.8:
        return Visit(ask=Ask(nonce=nonce, chunks=3))
    if kind < 0.85:
        return Visit(ask=Ask(nonce=nonce, chunks=30, gap_s=0.01), leave_after=1)
    return _short(dice, nonce)


def _short(dice: random.Random, nonce: str) -> Visit:
    kind = dice.randrange(5)
    if kind == 0:
        return Visit(ask=Ask(nonce=nonce, status=500))
    if kind == 1:
        return Visit(ask=Ask(nonce=nonce, status=400))
    if kind == 2:
        return Visit(ask=Ask(nonce=nonce, chunks=4, error=True))
    if kind == 3:
        return Visit(ask=Ask(nonce=nonce), model="nobody-has-it")
    return Visit(ask=Ask(nonce=nonce))


class _Connection(asyncio.Protocol):
    """One request at a time; `ask` tells how it ended."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[str] | None = None
        self.open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, visit: Visit) -> "asyncio.Future[str]":
        self._visit = visit
        self._held = b""
        self._head: bytes | None = None
        self._events = 0
        self._how: str | None = None
        self._done = self._loop.create_future()
        self.transport.write(request(visit.ask, visit.model))
        return self._done

    def data_received(self, data: bytes) -> None:
        if self._done is None:
            self._tally.wrong.append(f"nobody asked for {data[:80]!r}")
            return
        self._held += data
        if self._head is None:
            head, found, rest = self._held.partition(b"\r\n\r\n")
            if not found:
                return
            self._head, self._held = head.lower(), rest
        if b"\r\ntransfer-encoding: chunked" in self._head:
            self._chunks()
        else:
            self._whole()

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._end(self._how or "failed")

    def _whole(self) -> None:
        assert self._head is not None
        length = int(self._head.partition(b"content-length: ")[2].split(b"\r\n")[0])
        if len(self._held) < length:
            return
        status, ask = int(self._head[9:12]), self._visit.ask
        if self._visit.model != MODEL:
            self._expect(status == 404, "a 404")
            self._end("rejected")
        elif status == 503 and b'"overloaded"' in self._held:
            self._end("shed")
        elif b'"upstream_error"' in self._held or status == 504:
            self._end("failed")
        else:
            self._expect(self._held == whole(ask) and status == ask.status, "its whole answer")
            self._end("completed" if status == 200 else "failed")

    def _chunks(self) -> None:
        """Take what is whole of the body."""
        held, at = self._held, 0
        while (line := held.find(b"\r\n", at)) >= 0:
            size, begin = int(held[at:line], 16), line + 2
            if len(held) < begin + size + 2:
                break
            at = begin + size + 2
            if not size:
                self._expect(self._how is not None and at == len(held), "an end after its end")
                self._end(self._how or "failed")
                return
            self._event(held[begin : begin + size])
            if self._how == "left":
                return
        self._held = held[at:]

    def _event(self, said: bytes) -> None:
        self._tally.chunks += 1
        ask, visit = self._visit.ask, self._visit
        if said == event(ask, self._events) and self._how is None:
            self._events += 1
        elif said == DONE and self._events == ask.chunks:
            self._how = "completed"
        elif self._is_error(said):
            self._how = "failed"
        elif not (said == DONE and self._how == "failed" and ask.error):
            self._expect(False, f"event {self._events} of {ask.nonce}, not {said[:160]!r}")
        if visit.leave_after == self._events:
            self._how = "left"
            self.transport.abort()
        if visit.rest_s and self._events == 1:
            self.transport.pause_reading()
            self._loop.call_later(visit.rest_s, self._resume)

    def _is_error(self, said: bytes) -> bool:
        """The engine's own one, where it was asked for, or the router's."""
        if said == FAILED_EVENT:
            return self._visit.ask.error
        return self._how is None and b'"upstream_error"' in said

    def _resume(self) -> None:
        if self.open:
            self.transport.resume_reading()

    def _expect(self, true: bool, what: str) -> None:
        if not true:
            self._tally.wrong.append(f"{self._visit.ask} expected {what}")

    def _end(self, how: str) -> None:
        done, self._done = self._done, None
        if done is not None and not done.done():
            done.set_result(how)


class _Clients:
    def __init__(self, port: int, seed: int, requests: int | None) -> None:
        self._port = port
        self._dice = random.Random(seed)
        self._seed = seed
        self._left = requests
        self._draw = paced if requests is None else quick
        self.stop = asyncio.Event()
        self.tally = Tally()

    async def run(self, number: int) -> None:
        await asyncio.sleep(number * _RAMP_S)
        connection: _Connection | None = None
        while not self.stop.is_set() and self._left != 0:
            if self._left is not None:
                self._left -= 1
            if connection is None or not connection.open:
                connection = await self._connect()
            self.tally.asked += 1
            visit = self._draw(self._dice, f"{self._seed}-{self.tally.asked}")
            async with asyncio.timeout(_DEADLINE_S):
                how = await connection.ask(visit)
            self.tally.ended(how)
            if how in ("failed", "left"):
                connection.transport.abort()
                connection = None
            elif how == "shed":
                await asyncio.sleep(_SHED_PAUSE_S)
        if connection is not None:
            connection.transport.close()

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_DEADLINE_S):
            _, connection = await loop.create_connection(
                lambda: _Connection(self.tally), "127.0.0.1", self._port
            )
        return connection


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("clients", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("--requests", type=int)
    options = parser.parse_args()
    clients = _Clients(options.port, options.seed, options.requests)

    async def until_told() -> None:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        clients.stop.set()

    if options.requests is None:
        telling = asyncio.create_task(until_told())
    async with asyncio.TaskGroup() as group:
        for number in range(options.clients):
            group.create_task(clients.run(number))
    print(json.dumps(asdict(clients.tally)), flush=True)
    if options.requests is None:
        await telling


if __name__ == "__main__":
    uvloop.run(main())
