"""One router hands its port to the next: its sockets, its memory, and what it counts to its end.

They meet at an abstract Unix socket named after the port: it exists in the same network namespace
as the port does, and vanishes with its process. Only processes of the same user get anything.
Since no listening socket is closed, no connection that waits to be accepted is lost.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import orjson

from router.config import Address
from router.processes.link import Answer, Link
from weir.domain.errors import UnavailableError

__all__ = ["Offer", "Taken", "take"]

_MOST_FDS = 250
_META_BYTES = 65_536
_MEET_S = 5.0
_CREDENTIALS = struct.Struct("3i")
"""Process, user and group, as SO_PEERCRED has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What the router before has handed over. `slots`: those of the table that are in use."""

    listeners: Sequence[socket.socket]
    table: int
    slots: frozenset[int]
    link: socket.socket


def take(address: Address) -> Taken | None:
    """What a router of this user offers at the address; None if there is none. Blocks.

    Raises `UnavailableError` if it does not hand over.
    """
    near = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    near.settimeout(_MEET_S)
    try:
        near.connect(_name(address))
    except (ConnectionRefusedError, FileNotFoundError):
        near.close()
        return None
    data, fds = b"", list[int]()
    with contextlib.suppress(OSError):
        data, fds, _, _ = socket.recv_fds(near, _META_BYTES, _MOST_FDS)
    if not _same_user(near) or not data or len(fds) < 2:
        near.close()
        for fd in fds:
            os.close(fd)
        raise UnavailableError(f"the router at {address} does not hand over its port")
    near.setblocking(False)
    *listeners, table = fds
    return Taken(
        listeners=[socket.socket(fileno=fd) for fd in listeners],
        table=table,
        slots=frozenset(orjson.loads(data)),
        link=near,
    )


class Offer:
    """To whoever comes next; `answer` is asked by them. `fds` are the listeners and the table."""

    def __init__(
        self,
        address: Address,
        fds: Sequence[int],
        slots: Callable[[], Iterable[int]],
        answer: Answer,
    ) -> None:
        self._address = address
        self._fds = fds
        self._slots = slots
        self._answer = answer
        self._door: socket.socket | None = None
        self._link: Link | None = None

    def open(self) -> None:
        """Raises `OSError` if another router has its offer there."""
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            door.setblocking(False)
            door.bind(_name(self._address))
            door.listen(1)
        except OSError:
            door.close()
            raise
        self._door = door

    def close(self) -> None:
        """Nobody else may come; who is there stays."""
        if self._door is not None:
            self._door.close()
            self._door = None

    async def run(self) -> None:
        """Let them come, one at a time, until it is closed."""
        loop = asyncio.get_running_loop()
        while self._door is not None:
            near, _ = await loop.sock_accept(self._door)
            if not _same_user(near):
                near.close()
                continue
            self._link = Link(self._answer)
            with contextlib.suppress(OSError):
                near.setblocking(True)
                near.settimeout(_MEET_S)
                socket.send_fds(near, [orjson.dumps(sorted(self._slots()))], self._fds)
                near.setblocking(False)
                await self._link.open(near)
                await self._link.run()

    async def tell(self, verb: str, about: bytes, *, timeout_s: float) -> None:
        """The last things, to whoever has come."""
        if self._link is not None:
            with contextlib.suppress(UnavailableError):
                await self._link.ask(verb, about, timeout_s=timeout_s)


def _name(address: Address) -> str:
    return f"\0weir-router-{address}"


def _same_user(peer: socket.socket) -> bool:
    size = _CREDENTIALS.size
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return int(_CREDENTIALS.unpack(credentials)[1]) == os.getuid()
