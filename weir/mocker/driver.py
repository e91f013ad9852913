"""Runs an engine model on the model clock.

Each iteration starts where the one before it ended, not when this process woke up to notice,
so lateness of the machine delays what is told to clients and never adds up.
"""

import asyncio
from collections.abc import Callable

from weir.engine.iteration import Iteration, Outcome
from weir.engine.model import EngineModel
from weir.engine.request import Refusal, Request
from weir.runtime.clock import Clock

__all__ = ["EngineDriver"]

_EARLY_WALL_S = 0.0006
"""The event loop's timers are good to a millisecond, rounded to the nearest."""


class EngineDriver:
    """`on_iteration` is called at the end of each iteration, before the next is planned."""

    def __init__(
        self,
        engine: EngineModel,
        clock: Clock,
        on_iteration: Callable[[Iteration, Outcome], None],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._on_iteration = on_iteration
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.Handle | None = None
        self._early_s = _EARLY_WALL_S * clock.speed
        self.lag_s = 0.0
        """How late the end of the latest iteration was noticed (model seconds)."""

    def submit(self, request: Request) -> Refusal | None:
        refusal = self._engine.submit(request, self._clock.now_s())
        self._wake()
        return refusal

    def abort(self, request_id: str) -> bool:
        aborted = self._engine.abort(request_id)
        self._wake()
        return aborted

    def release(self, request_id: str) -> bool:
        released = self._engine.release(request_id)
        self._wake()
        return released

    def close(self) -> None:
        """Stop where it is."""
        if self._handle is not None:
            self._handle.cancel()

    def _wake(self) -> None:
        """Begin with all that comes in this turn of the event loop, unless busy already."""
        if self._engine.iteration is None and self._handle is None:
            self._handle = self._loop.call_soon(self._start)

    def _start(self) -> None:
        self._handle = None
        self._run(self._engine.begin(self._clock.now_s()))

    def _run(self, iteration: Iteration | None) -> None:
        if iteration is not None:
            wait_s = self._clock.wall_span_s(iteration.end_s - self._clock.now_s())
            self._handle = self._loop.call_later(max(0.0, wait_s), self._end, iteration)

    def _end(self, iteration: Iteration) -> None:
        self._handle = None
        late_s = self._clock.now_s() - iteration.end_s
        if late_s < -self._early_s:
            self._run(iteration)
            return
        self.lag_s = max(0.0, late_s)
        self._on_iteration(iteration, self._engine.finish(iteration))
        if self._handle is not None:  # who came just now joins the next iteration
            self._handle.cancel()
            self._handle = None
        following = self._engine.begin(iteration.end_s)
        if following is None:  # what came since the modelled end starts now
            following = self._engine.begin(max(self._clock.now_s(), iteration.end_s))
        self._run(following)
