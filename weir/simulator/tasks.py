"""Coroutines in virtual time, without an event loop.

The services' code awaits its ports and nothing else; the simulated ports answer with a `Reply`.
A task runs until it awaits an open one and goes on, as an event of its own, when that is answered.
"""

from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

from weir.simulator.events import EventHeap

__all__ = ["Reply", "Task"]

_T = TypeVar("_T")


class Reply(Generic[_T]):
    """An answer that comes later, once: a value or an error. Later ones change nothing."""

    __slots__ = ("_error", "_value", "_waiter", "done")

    def __init__(self) -> None:
        self.done = False
        self._value: _T | None = None
        self._error: Exception | None = None
        self._waiter: Callable[[], None] | None = None

    def answer(self, value: _T) -> None:
        if not self.done:
            self._value = value
            self._settle()

    def fail(self, error: Exception) -> None:
        if not self.done:
            self._error = error
            self._settle()

    def pass_on(self, other: "Reply[_T]") -> None:
        """Settle another one as this one was."""
        if self._error is not None:
            other.fail(self._error)
        else:
            other.answer(self._value)  # type: ignore[arg-type]

    def when_done(self, call: Callable[[], None]) -> None:
        """There is one waiter at most."""
        self._waiter = call
        if self.done:
            call()

    def __await__(self) -> Generator["Reply[_T]", None, _T]:
        if not self.done:
            yield self
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]

    def _settle(self) -> None:
        self.done = True
        if self._waiter is not None:
            self._waiter()


class Task:
    """Runs a coroutine at once as far as it goes, and then from answer to answer."""

    def __init__(self, events: EventHeap, work: Coroutine[Any, Any, object]) -> None:
        self._events = events
        self._work = work
        self.running = True
        self._step(None)

    def cancel(self) -> None:
        """End where it is, as if its process had died: nothing more of it is run."""
        if self.running:
            self.running = False
            self._work.close()

    def _step(self, _: object) -> None:
        if not self.running:
            return
        try:
            awaited = self._work.send(None)
        except StopIteration:
            self.running = False
            return
        awaited.when_done(self._wake)

    def _wake(self) -> None:
        self._events.after(0.0, self._step)
