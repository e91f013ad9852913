"""Keeps children running: a child that dies is started again, each time a little later.

Invariant: a child has at most one process; once `stop` is called none is ever started again.
"""

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from weir.domain.errors import WeirError
from weir.local.process import Process, tail
from weir.runtime.clock import Clock

__all__ = ["Child", "ChildError", "ChildSpec", "restart_delay_s"]

_log = logging.getLogger("weir.local.supervisor")
_FIRST_DELAY_S = 0.2
_LONGEST_DELAY_S = 5.0
_NOT_STARTED = 127
"""The exit code that stands for a process that the system did not make, as in a shell."""
_SETTLED_S = 10.0
"""A child that has run this long starts with the shortest delay again."""


class ChildError(WeirError):
    """A child keeps ending at its start. The message carries the tail of its log."""

    def __init__(self, name: str, exit_code: int, deaths: int, log_tail: str) -> None:
        ended = f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
        shown = "\n".join(f"  | {line}" for line in log_tail.splitlines()) or "  | (empty)"
        super().__init__(
            f"{name} ended {deaths} times at its start, last with {ended}; its log:\n{shown}"
        )
        self.name = name


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """What to run. `command[0]` is the path of an executable."""

    name: str
    command: Sequence[str]
    log: Path


def restart_delay_s(deaths: int) -> float:
    """Wall seconds before the start that follows the `deaths`-th quick death in a row."""
    return min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0 ** (deaths - 1))


class Child:
    """One child and its restarts. Create, then `start`; `stop` ends it for good."""

    def __init__(
        self,
        spec: ChildSpec,
        *,
        on_death: Callable[["Child"], None] = lambda _: None,
        on_gone: Callable[["Child"], None] = lambda _: None,
    ) -> None:
        """`on_death`: it ended by itself and will be restarted. `on_gone`: it was stopped."""
        self.spec = spec
        self.restarts = 0
        self.deaths_in_a_row = 0
        self.last_exit_code: int | None = None
        self._on_death = on_death
        self._on_gone = on_gone
        self._process: Process | None = None
        self._stopping = asyncio.Event()
        self._end_signal: signal.Signals | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def pid(self) -> int | None:
        """The running process, None between two of them."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the first process in the background."""
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.name}")

    def ask_to_stop(self) -> None:
        """Send SIGTERM and never start it again."""
        self._end_with(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL and never start it again."""
        self._end_with(signal.SIGKILL)

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, SIGKILL after `grace_s` wall seconds; returns when the child is gone."""
        self.ask_to_stop()
        if not await self.gone_within(grace_s):
            _log.warning("%s does not end, killing it", self.name)
            self.kill()
            await self.gone_within(grace_s)

    async def gone_within(self, wall_s: float) -> bool:
        """True as soon as a stopped child is gone, False after `wall_s`."""
        if self._keeper is None:
            return True
        done, _ = await asyncio.wait([self._keeper], timeout=max(0.0, wall_s))
        return bool(done)

    def error(self) -> ChildError:
        """Its death as an error, with the tail of its log."""
        return ChildError(
            self.name, self.last_exit_code or 0, self.deaths_in_a_row, tail(self.spec.log)
        )

    async def _keep(self) -> None:
        while not self._stopping.is_set():
            await self._run_once()
            if self._stopping.is_set():
                break
            _log.warning("%s", self._obituary())
            self.restarts += 1
            self._on_death(self)
            await self._pause(restart_delay_s(self.deaths_in_a_row))
        self._on_gone(self)

    async def _run_once(self) -> None:
        started_s = Clock.wall_s()
        self.last_exit_code = await self._exit_code()
        lived_s = Clock.wall_s() - started_s
        self.deaths_in_a_row = 1 if lived_s >= _SETTLED_S else self.deaths_in_a_row + 1

    async def _exit_code(self) -> int:
        """Start the process and wait for its end."""
        try:
            self._process = await Process.start(self.spec.command, self.spec.log)
        except OSError as error:
            _log.warning("%s cannot be started: %s", self.name, error)
            return _NOT_STARTED
        if self._end_signal:
            self._process.signal(self._end_signal)
        exit_code = await self._process.wait()
        self._process = None
        return exit_code

    async def _pause(self, wall_s: float) -> None:
        try:
            async with asyncio.timeout(wall_s):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _end_with(self, number: signal.Signals) -> None:
        self._end_signal = number
        self._stopping.set()
        if self._process:
            self._process.signal(number)

    def _obituary(self) -> str:
        delay_s = restart_delay_s(self.deaths_in_a_row)
        return f"{self.name} ended code={self.last_exit_code}, restarting in {delay_s:.1f} s"
