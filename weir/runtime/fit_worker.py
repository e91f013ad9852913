"""Slow fits in a process of their own, one at a time, each with a deadline.

Nothing here waits: `submit` and `poll` are for ticks. A fit that is late is ended together with
its process, and the next one starts a fresh one. Of one key only the newest task is kept, so the
queue is no longer than there are series.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

from weir.forecast.fits import Fit, FitTask
from weir.forecast.heavy import fit

__all__ = ["FitWorker"]

_log = logging.getLogger("weir.fits")
_NICE = 10
_QUIET = ("cmdstanpy", "prophet")

KeyT = TypeVar("KeyT", bound=Hashable)


@dataclass(frozen=True, slots=True)
class _Running(Generic[KeyT]):
    key: KeyT
    until_s: float


class FitWorker(Generic[KeyT]):
    """`deadline_s` holds for one fit, the import of its library included.

    `late` and `failed` count the fits that came to nothing.
    """

    def __init__(
        self, *, deadline_s: float = 120.0, function: Callable[[FitTask], Fit] = fit
    ) -> None:
        self.late = 0
        self.failed = 0
        self._deadline_s = deadline_s
        self._function = function
        self._queue: dict[KeyT, FitTask] = {}
        self._running: _Running[KeyT] | None = None
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def submit(self, key: KeyT, task: FitTask, now_s: float) -> None:
        """Fit this when its turn comes; it takes the place of an older one of the same key."""
        self._queue[key] = task
        self._start(now_s)

    def poll(self, now_s: float) -> list[tuple[KeyT, Fit]]:
        """What has been finished since the last call."""
        done: list[tuple[KeyT, Fit]] = []
        running = self._running
        if running is not None:
            answer = self._answer()
            if answer is not None:
                self._running = None
                if isinstance(answer, str):
                    self.failed += 1
                    _log.warning("a fit failed series=%s: %s", running.key, answer)
                else:
                    done.append((running.key, answer))
            elif now_s > running.until_s:
                self.late += 1
                _log.warning("a fit took over %g s series=%s", self._deadline_s, running.key)
                self.close()
        self._start(now_s)
        return done

    def close(self) -> None:
        """End the process; what it was at is lost, what waits stays."""
        self._running = None
        if self._process is not None:
            self._process.kill()
            self._process.join(1.0)
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None

    def _start(self, now_s: float) -> None:
        if self._running is not None or not self._queue:
            return
        key = next(iter(self._queue))
        try:
            self._open().send(self._queue.pop(key))
        except OSError as error:
            self.failed += 1
            _log.warning("the process of fits is gone: %s", error)
            self.close()
            return
        self._running = _Running(key, now_s + self._deadline_s)

    def _open(self) -> Connection:
        if self._pipe is not None:
            return self._pipe
        context = multiprocessing.get_context("spawn")
        self._pipe, far = context.Pipe()
        self._process = context.Process(target=_serve, args=(far, self._function), daemon=True)
        self._process.start()
        far.close()
        return self._pipe

    def _answer(self) -> Fit | str | None:
        """The fit, what went wrong, or None while it is being made."""
        assert self._pipe is not None
        try:
            if not self._pipe.poll():
                return None
            answer: Fit | str = self._pipe.recv()
        except (EOFError, OSError):
            self.close()
            return "its process has ended"
        return answer


def _serve(pipe: Connection, function: Callable[[FitTask], Fit]) -> None:
    """In the process: one answer per task, until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICE)
    for name in _QUIET:
        logging.getLogger(name).disabled = True
    with contextlib.suppress(EOFError, OSError):
        while True:
            task: FitTask = pipe.recv()
            try:
                answer: Fit | str = function(task)
            except Exception as error:
                answer = f"{type(error).__name__}: {error}"
            pipe.send(answer)
