"""From start to SIGTERM: one event loop, one stop signal, exit code 0 after a drain."""

import asyncio
import logging
import os
import resource
import signal
import time
from collections.abc import Awaitable, Callable

import uvloop

__all__ = ["Stop", "run"]

_log = logging.getLogger("weir.lifecycle")
_ECHO_S = 1.0


class Stop:
    """Set once, by SIGTERM, SIGINT or the process itself; everything that waits sees it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()

    async def sleep(self, wall_s: float) -> bool:
        """Sleep for `wall_s` or until a stop is requested; True if it is."""
        try:
            async with asyncio.timeout(max(0.0, wall_s)):
                await self._event.wait()
        except TimeoutError:
            return False
        return True


def run(main: Callable[[Stop], Awaitable[int | None]], *, deaf: bool = False) -> int:
    """Run `main` on uvloop until it returns; its result is the exit code (None = 0).

    The first SIGTERM or SIGINT requests a stop; `main` drains and returns. A second one
    ends the process at once with 128 + signal, unless it comes within a second: a signal to
    the process group of `make up` arrives twice, once from the kernel and once from make.
    `deaf`: signals change nothing, since somebody else says when to stop.
    Files may be opened up to the hard limit: a stream through the router holds two.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_with_signals(main, deaf))


async def _with_signals(main: Callable[[Stop], Awaitable[int | None]], deaf: bool) -> int:
    stop = Stop()
    loop = asyncio.get_running_loop()
    first_at_s: float | None = None

    def on_signal(number: signal.Signals) -> None:
        nonlocal first_at_s
        if deaf:
            return
        if first_at_s is not None:
            if time.monotonic() - first_at_s >= _ECHO_S:
                os._exit(128 + number)
            return
        first_at_s = time.monotonic()
        _log.info("stopping signal=%s", number.name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return await main(stop) or 0
