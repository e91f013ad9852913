"""Mock engines as processes of their own, for tests and benchmarks."""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

__all__ = ["MockerProcess", "mocker"]

_LISTENING = re.compile(r"listening host=\S+ port=(\d+)")
_DEADLINE_S = 60.0


class MockerProcess:
    """A running engine."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log
        self.port = self._port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it has written to stderr."""
        return self._log.read_text()

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and body (JSON if it is) of one request, on a connection of its own."""
        connection, response = self.open(method, path, body)
        text = response.read().decode()
        connection.close()
        if "json" in response.headers.get("content-type", ""):
            return response.status, json.loads(text)
        return response.status, text

    def open(self, method: str, path: str, body: Any) -> tuple[HTTPConnection, HTTPResponse]:
        """One request whose response is yet to be read."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=_DEADLINE_S)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data)
        return connection, connection.getresponse()

    def metric(self, sample: str) -> float:
        """A sample of /metrics, by its name and, if any, a part of its labels: `name{part}`."""
        name, _, part = sample.rstrip("}").partition("{")
        for line in self.ask("GET", "/metrics")[1].splitlines():
            found = re.fullmatch(r"([\w:]+)\{(.*)\} (\S+)", line)
            if found and found[1] == name and part in found[2]:
                return float(found[3])
        raise AssertionError(f"no sample {sample}")

    def until(self, sample: str, value: float) -> None:
        """Wait until a sample of /metrics has this value."""
        deadline = time.monotonic() + _DEADLINE_S
        while (seen := self.metric(sample)) != value:
            assert time.monotonic() < deadline, f"{sample} is {seen}, not {value}"
            time.sleep(0.01)

    def _port(self) -> int:
        deadline = time.monotonic() + _DEADLINE_S
        while time.monotonic() < deadline and self.process.poll() is None:
            found = _LISTENING.search(self.log)
            if found:
                return int(found[1])
            time.sleep(0.01)
        raise AssertionError(f"the mocker does not listen:\n{self.log}")


@contextmanager
def mocker(*arguments: str, model: str = "m") -> Iterator[MockerProcess]:
    """`weir mocker` on a free port, killed at the end if it still runs."""
    command = [sys.executable, "-m", "weir", "mocker", "--listen", "127.0.0.1:0", "--model", model]
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen([*command, *arguments], stderr=log, stdout=subprocess.DEVNULL)
        try:
            yield MockerProcess(process, Path(log.name))
        finally:
            process.kill()
            process.wait(10)
