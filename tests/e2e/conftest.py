"""`weir up` as a process: started, talked to, killed in parts, and checked to leave nothing."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
FLEETS = ROOT / "examples" / "fleets"
READY_WITHIN_S = 60.0
STOPS_WITHIN_S = 10.0
"""What is promised; tests of something else have more patience."""

_PLANNER = re.compile(r"weir status --planner (127\.0\.0\.1:\d+)")
_ENDPOINT = re.compile(r"serving at http://(127\.0\.0\.1:\d+)/v1")


class Fleet:
    """One running `weir up`. Reads its output all the time, so that it never blocks."""

    def __init__(self, arguments: list[str], temporary: Path) -> None:
        self.temporary = temporary
        self.out: list[str] = []
        self.err: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "weir", "up", "--port", "0", *arguments],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(temporary)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._readers = [
            threading.Thread(target=_read, args=(self.process.stdout, self.out), daemon=True),
            threading.Thread(target=_read, args=(self.process.stderr, self.err), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def endpoint(self) -> str:
        """host:port of the public endpoint, as soon as it is announced."""
        found: list[str] = []

        def announced() -> bool:
            found[:] = _ENDPOINT.findall("".join((*self.out, *self.err)))
            return bool(found)

        self.until(announced, READY_WITHIN_S, "the endpoint is announced")
        return found[0]

    def until(self, condition: Callable[[], Any], within_s: float, what: str) -> None:
        """Wait for `condition`; fails with the fleet's output if it does not come true."""
        deadline_s = time.monotonic() + within_s
        while not condition():
            if self.process.poll() is not None:
                pytest.fail(f"weir up ended before {what}:\n{self.said()}")
            if time.monotonic() > deadline_s:
                pytest.fail(f"not within {within_s:g} s: {what}\n{self.said()}")
            time.sleep(0.05)

    def said(self) -> str:
        return "".join((*self.out[-20:], *self.err[-60:]))

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a GET at the public endpoint."""
        return get(f"http://{self.endpoint}{path}")

    def children(self, *words: str) -> list[psutil.Process]:
        """Living children whose command line has all of `words` among its arguments."""
        return [child for child, _ in self._commands(*words)]

    def _commands(self, *words: str) -> list[tuple[psutil.Process, list[str]]]:
        """These children with their command lines, each read once: one that dies now has none."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        commands = [(child, _command(child)) for child in family]
        return [(child, command) for child, command in commands if set(words) <= set(command)]

    def child(self, *words: str) -> psutil.Process:
        """The one child with these arguments."""
        found = self.children(*words)
        assert len(found) == 1, f"{len(found)} children have the arguments {words}"
        return found[0]

    def unready_roles(self) -> list[str]:
        """Planners and routers that do not say at /readyz that they are ready, and why."""
        commands = [command for _, command in self._commands("--control")]
        answers = [(c, get(f"http://{_after(c, '--control')}/readyz")) for c in commands]
        return [f"{c[4]}: {text}" for c, (status, text) in answers if status != 200]

    def engines(self, pool: str | None = None) -> list[psutil.Process]:
        engines = self._commands("mocker")
        return [e for e, command in engines if pool in (None, _after(command, "--pool"))]

    def serving_engines(self, pool: str) -> int:
        """How many of a pool's engines say that they are ready."""
        commands = [command for _, command in self._commands("mocker")]
        listens = [_after(c, "--listen") for c in commands if _after(c, "--pool") == pool]
        return sum(get(f"http://{address}/health")[0] == 200 for address in listens)

    def engine_counter(self, name: str) -> dict[str, float]:
        """The counter of that name of every engine that serves, by worker."""
        counts = {}
        for _, command in self._commands("mocker"):
            status, text = get(f"http://{_after(command, '--listen')}/metrics", READY_WITHIN_S)
            if status != 200:
                continue
            values = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
            counts[_after(command, "--worker-id")] = sum(map(float, values))
        return counts

    def kill(self, *words: str) -> None:
        """SIGKILL to the child with these arguments; returns when it has a successor."""
        victim = self.child(*words)
        victim.kill()
        self.until(
            lambda: [child for child in self.children(*words) if child.pid != victim.pid],
            READY_WITHIN_S,
            f"{words} is started again",
        )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.wait(READY_WITHIN_S)

    def wait(self, within_s: float) -> int:
        """Wait for the end of `weir up`; returns its exit code."""
        try:
            code = self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"weir up still runs after {within_s:g} s\n{self.said()}")
        for reader in self._readers:
            reader.join(30.0)
        return code

    def summary(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        summary: dict[str, Any] = json.loads("".join(self.out))
        return summary


def get(url: str, timeout_s: float = 5.0) -> tuple[int, str]:
    """Status and body; status 0 if nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error)


@contextmanager
def running(temporary: Path, *arguments: str) -> Iterator[Fleet]:
    """A fleet that is gone at the end, whatever happened, and was seen to leave nothing."""
    fleet = Fleet(list(arguments), temporary)
    try:
        yield fleet
    finally:
        if fleet.process.poll() is None:
            family = fleet.children()
            fleet.process.terminate()
            try:
                fleet.process.wait(READY_WITHIN_S)
            except subprocess.TimeoutExpired:
                fleet.process.kill()
                for child in family:
                    if child.is_running():
                        child.kill()
                raise


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    """Starts fleets: `fleet("--for", "5", "--json")`."""
    started = []

    def start(*arguments: str) -> Fleet:
        context = running(tmp_path, *arguments)
        started.append(context)
        return context.__enter__()

    yield start
    for context in started:
        context.__exit__(None, None, None)


@pytest.fixture(scope="session")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The demo fleet without a replay, for all tests that only talk to it."""
    arguments = ("--fleet", str(FLEETS / "demo.yaml"), "--no-replay", "--speed", "10")
    with running(tmp_path_factory.mktemp("serving"), *arguments) as fleet:
        assert fleet.endpoint
        yield fleet


@pytest.fixture(scope="session")
def planner(serving: Fleet) -> str:
    """host:port of the serving fleet's GlobalPlanner, as it is announced to people."""
    serving.endpoint  # noqa: B018  (by then it is announced)
    said: list[str] = []

    def announced() -> bool:
        said[:] = _PLANNER.findall("".join((*serving.out, *serving.err)))
        return bool(said)

    serving.until(announced, READY_WITHIN_S, "the GlobalPlanner's address is announced")
    return said[0]


@pytest.fixture(scope="session")
def endpoint(serving: Fleet) -> str:
    """host:port of the serving fleet."""
    return serving.endpoint


def _read(stream: Any, lines: list[str]) -> None:
    for line in stream:
        lines.append(line)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _after(command: list[str], option: str) -> str:
    return command[command.index(option) + 1]
