"""A real NATS server that tests kill and start again."""

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.integration.ports import free_port
from weir.runtime.nats_server import server_command

__all__ = ["Server", "eventually"]

_DEADLINE_S = 30.0
"""For what takes milliseconds on a machine that is not kept busy by others."""


class Server:
    """One nats-server process with its store and port kept across restarts."""

    def __init__(self, store: Path) -> None:
        self.port = free_port()
        self.store = store
        self.process: subprocess.Popen[bytes] | None = None
        self.url = f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process = subprocess.Popen(
            server_command(self.port, self.store),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _DEADLINE_S
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise TimeoutError("nats-server does not listen")

    def kill(self) -> None:
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait(5.0)
            self.process = None


async def eventually(condition: Callable[[], bool], timeout_s: float = _DEADLINE_S) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)
