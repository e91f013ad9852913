"""One of the processes that serve a port, as whoever supervises them sees it."""

import asyncio
import contextlib
import pickle
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from router.config import RouterConfig
from router.processes.link import Link
from router.processes.sums import Family, read
from router.processes.table import Table
from weir import codec
from weir.api.v1 import telemetry_pb2
from weir.domain.errors import UnavailableError
from weir.domain.telemetry import TrafficSample

__all__ = ["ASK_S", "REPLACED", "START_S", "Assignment", "Member"]

ASK_S = 4.0
"""Wall seconds for an answer that a process has at hand."""
START_S = 120.0
"""Wall seconds for a start, in which much is imported, maybe on a machine that is busy."""
REPLACED = b"replaced"
_LISTEN_S = 30.0
_NOT_YET = "it has not answered yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What a process is told at its start. Descriptors are those it has inherited.

    `slot`: its own in the table of what all of them have at engines.
    """

    config: RouterConfig
    number: int
    listeners: Sequence[int]
    table: int
    slot: int


class Member:
    """`start`, `listen`, and later `drain` or `kill`; `ended` when it has.

    `missing`, `families` are as of its last answer: why it is not ready, and its metrics.
    """

    def __init__(
        self,
        number: int,
        host_metrics: Callable[[], Awaitable[bytes]],
        last: Callable[[bytes], None],
    ) -> None:
        self.number = number
        self.link = Link(self._answer)
        self.up = asyncio.Event()
        self.ended = asyncio.Event()
        self.missing: str | None = _NOT_YET
        self.families: list[Family] = []
        self._host_metrics = host_metrics
        self._last = last
        self._assignment = b""
        self._process: Process | None = None
        self._watching: asyncio.Task[None] | None = None

    async def start(
        self, config: RouterConfig, listeners: Sequence[socket.socket], table: Table, slot: int
    ) -> None:
        """Begin to run it. It is `up` when it can be told to listen."""
        numbers = [listener.fileno() for listener in listeners]
        self._assignment = pickle.dumps(
            Assignment(
                config=config, number=self.number, listeners=numbers, table=table.fd, slot=slot
            )
        )
        near, far = socket.socketpair()
        near.setblocking(False)
        with far:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "router.processes.child", str(far.fileno())),
                pass_fds=[far.fileno(), table.fd, *numbers],
                stdin=asyncio.subprocess.DEVNULL,
            )
        await self.link.open(near)
        self._watching = asyncio.create_task(self._watch(self._process))

    async def adopt(self, near: socket.socket) -> None:
        """It runs already and is not ours: whoever supervises it answers as it would."""
        await self.link.open(near)
        self._watching = asyncio.create_task(self._watch(None))

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return None if self._process is None else self._process.returncode

    async def listen(self) -> None:
        """Take connections from now on. Raises `UnavailableError`."""
        await self.link.ask("listen", timeout_s=_LISTEN_S)

    async def look(self) -> None:
        """Ask how it is. One that does not answer is not ready."""
        try:
            self.missing = (await self.link.ask("ready", timeout_s=ASK_S)).decode() or None
        except UnavailableError as error:
            self.missing = str(error)

    async def count(self) -> list[Family]:
        """Its metrics now; the last ones if it does not answer."""
        with contextlib.suppress(UnavailableError):
            self.families = read(await self.link.ask("metrics", timeout_s=ASK_S))
        return self.families

    async def sample(self) -> TrafficSample | None:
        """What went through it since it was asked last; None if it does not answer."""
        with contextlib.suppress(UnavailableError):
            return sampled(await self.link.ask("sample", timeout_s=ASK_S))
        return None

    async def drain(self, *, replaced: bool) -> None:
        """Take nothing new, finish what runs, and end. `replaced`: others take what is new.

        One that is not up yet has nothing to finish.
        """
        if not self.up.is_set():
            self.kill()
            return
        with contextlib.suppress(UnavailableError):
            await self.link.ask("drain", REPLACED if replaced else b"", timeout_s=ASK_S)

    def kill(self) -> None:
        if self._process is None:
            self.ended.set()
        elif self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _watch(self, process: Process | None) -> None:
        try:
            await self.link.run()
        finally:
            if process is not None:
                await process.wait()
            self.missing = "it has ended"
            self.ended.set()

    async def _answer(self, verb: str, about: bytes) -> bytes:
        if verb == "assignment":
            return self._assignment
        if verb == "up":
            self.up.set()
        elif verb == "host-metrics":
            return await self._host_metrics()
        elif verb == "last-metrics":
            self.families = read(about)
        elif verb == "last-sample":
            self._last(about)
        return b""


def sampled(data: bytes) -> TrafficSample:
    return codec.decode_traffic(telemetry_pb2.TrafficSample.FromString(data))
