"""Questions and answers between two processes of one router, either way, over a Unix socket."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable

import msgpack

from weir.domain.errors import RequestError, UnavailableError, WeirError

__all__ = ["Answer", "Link"]

Answer = Callable[[str, bytes], Awaitable[bytes]]
"""Of a verb and what it is about. `WeirError` and `ValueError` reach whoever asked."""

_log = logging.getLogger("weir.router.processes")
_ASK, _DONE, _WRONG, _FAILED = range(4)
_LENGTH_BYTES = 4
_Message = tuple[int, int, str, bytes]


class Link:
    """One end. `open` it, and have `run` running; each answer is made in a task of its own.

    Raises nothing for a far end that has gone: `ask` says so, and `run` returns.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._number = 0
        self.gone = asyncio.Event()

    async def open(self, end: socket.socket) -> None:
        self._reader, self._writer = await asyncio.open_connection(sock=end)

    async def run(self) -> None:
        """Until the far end is gone."""
        reader = self._reader
        assert reader is not None
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
                self._take(msgpack.unpackb(await reader.readexactly(size)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.close()

    async def ask(self, verb: str, about: bytes = b"", *, timeout_s: float) -> bytes:
        """Raises `UnavailableError` without an answer in time, `ValueError` as the far end does."""
        if self._writer is None or self.gone.is_set():
            raise UnavailableError(f"{verb}: the process is gone")
        self._number += 1
        number = self._number
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            self._send((number, _ASK, verb, about))
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise UnavailableError(f"{verb}: no answer in {timeout_s:g} s") from None
        finally:
            del self._asked[number]

    def _take(self, message: _Message) -> None:
        number, kind, verb, content = message
        if kind == _ASK:
            task = asyncio.create_task(self._reply(number, verb, content))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
            return
        asked = self._asked.get(number)
        if asked is None or asked.done():
            return
        if kind == _DONE:
            asked.set_result(content)
        elif kind == _WRONG:
            asked.set_exception(ValueError(content.decode()))
        else:
            asked.set_exception(UnavailableError(content.decode()))

    async def _reply(self, number: int, verb: str, about: bytes) -> None:
        try:
            kind, content = _DONE, await self._answer(verb, about)
        except (RequestError, ValueError) as error:
            kind, content = _WRONG, str(error).encode()
        except WeirError as error:
            kind, content = _FAILED, str(error).encode()
        except Exception as error:
            _log.exception("%s failed", verb)
            kind, content = _FAILED, repr(error).encode()
        self._send((number, kind, verb, content))

    def _send(self, message: _Message) -> None:
        if self._writer is not None and not self._writer.is_closing():
            data = msgpack.packb(message)
            self._writer.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)

    def close(self) -> None:
        self.gone.set()
        if self._writer is not None:
            self._writer.close()
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(UnavailableError("the process is gone"))
