"""A dummy engine as a process: prints its port, serves until its stdin ends or it is killed.

    python -m tests.integration.streams.engine

`GET /running` is answered with the number of requests under way.
"""

import asyncio
import sys
from typing import cast

import uvloop

from tests.integration.streams.wire import DONE, FAILED_EVENT, Ask, asked, event, whole

__all__ = ["main"]

_STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
_WHOLE = b"HTTP/1.1 %d Said\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
_running: set["_Connection"] = set()


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._held = b""
        self._writable = asyncio.Event()
        self._writable.set()
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        _running.discard(self)
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        data = self._held + data
        head, found, body = data.partition(b"\r\n\r\n")
        if not found or len(body) < _length(head):
            self._held = data
            return
        self._held = b""
        if head.startswith(b"GET"):
            said = b"%d" % len(_running)
            self._transport.write(_WHOLE % (200, len(said), said))
            return
        ask = asked(body)
        if not ask.chunks or ask.status != 200:
            said = whole(ask)
            self._transport.write(_WHOLE % (ask.status, len(said), said))
            return
        _running.add(self)
        self._task = asyncio.get_running_loop().create_task(self._stream(ask))

    async def _stream(self, ask: Ask) -> None:
        self._transport.write(_STREAM)
        for number in range(ask.chunks):
            if ask.error and number == ask.chunks // 2:
                self._say(FAILED_EVENT)
                break
            self._say(event(ask, number))
            if ask.gap_s:
                await asyncio.sleep(ask.gap_s)
            await self._writable.wait()
        self._say(DONE)
        self._transport.write(b"0\r\n\r\n")
        _running.discard(self)
        self._task = None

    def _say(self, data: bytes) -> None:
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))


def _length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main())
