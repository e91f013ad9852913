"""What runs beside the requests for as long as the router does."""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import AsyncExitStack

from weir.runtime.lifecycle import Stop

__all__ = ["Background"]

_log = logging.getLogger("weir.router")


class Background:
    """Ends what it has begun when `closing` does."""

    def __init__(self, stop: Stop, closing: AsyncExitStack) -> None:
        self._stop = stop
        self._closing = closing

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run until the router ends; a failure is a bug, and ends it."""
        task = asyncio.create_task(work)

        def on_done(ended: asyncio.Task[None]) -> None:
            if not ended.cancelled() and ended.exception() is not None:
                _log.critical("a background task failed", exc_info=ended.exception())
                self._stop.set()

        task.add_done_callback(on_done)
        self._closing.callback(task.cancel)
        return task
