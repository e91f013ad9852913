"""What `weir up` says while it runs. Standard output is for results, all else goes to stderr."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from rich.console import Console
from rich.live import Live

from weir.local.dashboard import progress_line, render
from weir.local.view import View

__all__ = ["Output"]

_LIVE_INTERVAL_S = 0.5
_LINE_INTERVAL_S = 5.0


class Output:
    """A live table where stderr is a terminal, else a line every few seconds."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._unread = False
        self._task: asyncio.Task[None] | None = None
        self._view: Callable[[], View] | None = None

    def note(self, text: str) -> None:
        """A line for the user, above the live table if there is one."""
        if self._unread:
            return
        try:
            for line in text.splitlines():
                self._console.print(f"weir up: {line}", markup=False, soft_wrap=True)
        except OSError:  # nobody reads stderr any more; the fleet goes on
            self._unread = True

    def start(self, view: Callable[[], View]) -> None:
        """Show `view()` from now on."""
        self._view = view
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._task = asyncio.create_task(self._show_for_ever(view), name="output")

    async def stop(self) -> None:
        """Show the last state once more, if as a line, and then nothing."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._live:
            with suppress(OSError):
                self._live.stop()
        elif self._view:
            self.note(progress_line(self._view()))
        self._task = self._live = self._view = None

    async def _show_for_ever(self, view: Callable[[], View]) -> None:
        while True:
            if self._live:
                self._live.update(render(view()), refresh=True)
                await asyncio.sleep(_LIVE_INTERVAL_S)
            else:
                await asyncio.sleep(_LINE_INTERVAL_S)
                self.note(progress_line(view()))

    def take_warnings_of(self, logger: logging.Logger) -> None:
        """Show what this logger warns of as notes, and only so."""
        logger.setLevel(logging.WARNING)
        logger.addHandler(_Notes(self))
        logger.propagate = False


class _Notes(logging.Handler):
    def __init__(self, output: Output) -> None:
        super().__init__(logging.WARNING)
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        self._output.note(record.getMessage())
