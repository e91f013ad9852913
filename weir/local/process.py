"""One operating-system process of the local fleet: start it, signal it, read its log."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from weir.local import launch

__all__ = ["Process", "tail"]

_TAIL_BYTES = 8192
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""A fleet is many small processes; none of them should start a thread per core."""


class Process:
    """A running child in a session of its own, so that Ctrl-C does not reach it.

    It is killed by the kernel when this process ends, however that happens. Its output is
    appended to `log`. Must be started from the thread that runs the event loop.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    @classmethod
    async def start(cls, command: Sequence[str], log: Path) -> "Process":
        """Start `command`, of which the first is the path of an executable."""
        launcher = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid())]
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *launcher,
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=_environment(),
            )
        return cls(process)

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for its end; returns the exit code."""
        return await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and to what it has started; nothing if it has ended."""
        if self._process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log; empty if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _environment() -> dict[str, str]:
    return {**dict.fromkeys(_ONE_THREAD, "1"), **os.environ}
