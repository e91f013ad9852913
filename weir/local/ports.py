"""Ports for the processes of one run, chosen right before they are used."""

import random
import socket
from pathlib import Path

from weir.domain.errors import UnavailableError

__all__ = ["HOST", "Ports", "can_listen"]

HOST = "127.0.0.1"
_LOWEST = 10_240
_FALLBACK_HIGHEST = 32_767
_TRIES = 200


class Ports:
    """Hands out free loopback ports, none twice unless it is given back.

    They lie below the range from which the system takes the local ports of outgoing
    connections: a child that is restarted on its port finds it free.
    """

    def __init__(self) -> None:
        self._highest = _below_ephemeral()
        self._given: set[int] = set()
        self._random = random.Random()

    def take(self, preferred: int | None = None) -> int:
        """A port that nobody listens on, `preferred` if it is one.

        Raises `UnavailableError` if none is found.
        """
        if preferred is not None and preferred not in self._given and can_listen(preferred) is None:
            self._given.add(preferred)
            return preferred
        for _ in range(_TRIES):
            port = self._random.randint(_LOWEST, self._highest)
            if port not in self._given and can_listen(port) is None:
                self._given.add(port)
                return port
        raise UnavailableError(f"no free port on {HOST} from {_LOWEST} to {self._highest}")

    def give_back(self, port: int) -> None:
        """Nobody was told this port."""
        self._given.discard(port)


def can_listen(port: int) -> OSError | None:
    """None if a server could listen on this loopback port now, else what stands against it."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError as error:
            return error
    return None


def _below_ephemeral() -> int:
    try:
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
        lowest = int(text.split()[0])
    except (OSError, ValueError, IndexError):
        return _FALLBACK_HIGHEST
    return lowest - 1 if lowest > _LOWEST + 1000 else 65_535
