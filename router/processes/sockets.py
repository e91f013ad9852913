"""The listening sockets of the public port, one for each process that takes from it.

Whoever supervises the processes holds them all, so that a connection that has come to a process
that dies waits for its successor instead of being reset.
"""

import socket
from collections.abc import Sequence
from typing import Any

from router.config import Address

__all__ = ["listening", "more"]

_BACKLOG = 1024


def listening(address: Address, count: int) -> list[socket.socket]:
    """So many on one port, chosen if it is 0. Raises `OSError` if somebody else has it."""
    family, place = _resolve(address)
    _bound(family, place, shared=False).close()  # Shared ports would be shared with anybody.
    first = _bound(family, place, shared=True)
    first.listen(_BACKLOG)
    return more([first], count)


def more(sockets: Sequence[socket.socket], count: int) -> list[socket.socket]:
    """These, and as many beside them as it takes to have `count`. Raises `OSError`."""
    found = list(sockets)
    family, place = found[0].family, found[0].getsockname()
    while len(found) < count:
        one = _bound(family, place, shared=True)
        one.listen(_BACKLOG)
        found.append(one)
    return found


_Place = tuple[Any, ...]
"""Host and port, and for IPv6 two more."""


def _resolve(address: Address) -> tuple[int, _Place]:
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, _, _, _, place = found[0]
    return family, place


def _bound(family: int, place: _Place, *, shared: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setblocking(False)
        made.bind(place)
    except OSError as error:
        made.close()
        why = error.strerror or error
        raise OSError(f"cannot listen on {place[0]}:{place[1]}: {why}") from None
    return made
