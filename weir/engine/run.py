"""An engine in explicit time that jumps from one change of its batch to the next.

Iterations between two changes are not stepped: `Stretch` knows when each ends. The result is
that of an `EngineModel` whose `begin` and `finish` are called for every iteration, to the bit.

Invariants: `due_s` is infinite, or something is to begin at that moment, or the model has an
iteration in progress; the next `_steady` iterations after it change nothing, and the last of
them ends at `due_s`.

What is asked at the very moment at which an iteration ends, or at which an idle engine is to
begin one, comes before that, so that a request which arrives then is in the iteration to come.
"""

from collections.abc import Callable, Hashable
from math import inf
from typing import NamedTuple

from weir.domain.profile import EngineProfile
from weir.engine.iteration import Iteration, Outcome
from weir.engine.model import EngineModel
from weir.engine.request import Refusal, Request

__all__ = ["EngineRun", "Observer", "Totals"]

Observer = Callable[[float, float, int, int, int], None]
"""Called with start, end, prefill tokens, sequences and context tokens of each iteration that
has ended, in order."""


class Totals(NamedTuple):
    """What an engine has done; `busy_s` includes the part of the present iteration that is over."""

    iterations: int
    busy_s: float
    prefill_tokens: int
    decode_tokens: int


class EngineRun:
    """One engine. The caller calls `advance` whenever `due_s` has come, and not before.

    `due_s` is the end of the next iteration that may change something; if none is in progress,
    the moment at which one begins, or infinite. Every call may move it. Times given must never
    go back, nor exceed `due_s`.
    """

    __slots__ = (
        "_busy_from_s",
        "_busy_s",
        "_observer",
        "_steady",
        "due_s",
        "model",
    )

    def __init__(self, profile: EngineProfile, observer: Observer | None = None) -> None:
        self.model = EngineModel(profile)
        self.due_s = inf
        self._observer = observer
        self._steady = 0
        self._busy_s = 0.0
        self._busy_from_s = inf

    def submit(self, request: Request, now_s: float) -> Refusal | None:
        """Queue a request; it joins the iteration that begins next, which is due now if idle.

        Raises `ValueError` if a request of this id is here.
        """
        model = self.model
        refusal = model.submit(request, now_s)
        if refusal is not None:
            return refusal
        if model.iteration is None:
            if self.due_s == inf:
                self.due_s = now_s
        elif self._steady and model.waiting == 1 and model.has_place:
            self._steady = model.steady_before(now_s, self._steady)
            self.due_s = model.steady_end_s(self._steady)
        return None

    def abort(self, request_id: Hashable, now_s: float) -> bool:
        """Drop a request in any state and free its KV; False if it is not here."""
        self.sync(now_s)
        aborted = self.model.abort(request_id)
        if aborted:
            self._look_again(now_s)
        return aborted

    def release(self, request_id: Hashable, now_s: float) -> bool:
        """Free the KV of a finished prefill that was held; False if it is not held."""
        self.sync(now_s)
        released = self.model.release(request_id)
        if released:
            self._look_again(now_s)
        return released

    def advance(self) -> Outcome:
        """End the iteration that ends at `due_s`, if one does, and begin what follows.

        Raises `RuntimeError` when nothing is due.
        """
        model, iteration = self.model, self.model.iteration
        if iteration is None:
            return self._start()
        if self._steady:
            self._skip(self._steady)
        if self._observer is not None:
            self._report(self._observer, 1)
        outcome = model.finish(iteration)
        end_s = iteration.end_s
        iteration = model.begin(end_s)
        if iteration is None:
            self._busy_s += end_s - self._busy_from_s
            self._busy_from_s = self.due_s = inf
            self._steady = 0
        else:
            self._plan(iteration)
        return outcome

    def sync(self, now_s: float) -> None:
        """Bring `model` to the iteration in progress at `now_s`; nothing else changes."""
        if self._steady:
            over = self.model.steady_before(now_s, self._steady)
            if over:
                self._skip(over)
                self._steady -= over

    def totals(self, now_s: float) -> Totals:
        """Running totals; an iteration counts when it is over, its time as it passes."""
        self.sync(now_s)
        model = self.model
        busy_s = self._busy_s + max(0.0, now_s - self._busy_from_s)
        return Totals(model.iterations, busy_s, model.prefill_tokens, model.decode_tokens)

    def _start(self) -> Outcome:
        now_s, self.due_s = self.due_s, inf
        if now_s == inf:
            raise RuntimeError("nothing is due in an engine that is idle")
        iteration = self.model.begin(now_s)
        if iteration is not None:
            self._busy_from_s = now_s
            self._plan(iteration)
        return Outcome(0, [], [])

    def _plan(self, iteration: Iteration) -> None:
        """Find out how long what has just begun goes on."""
        self._steady = steady = self.model.steady_iterations()
        self.due_s = self.model.steady_end_s(steady) if steady else iteration.end_s

    def _look_again(self, now_s: float) -> None:
        """Somebody left: others may find a place at the end of the present iteration."""
        iteration = self.model.iteration
        if iteration is not None:
            self._steady = 0
            self.due_s = iteration.end_s
        elif self.model.waiting and self.due_s == inf:
            self.due_s = now_s

    def _skip(self, iterations: int) -> None:
        if self._observer is not None:
            self._report(self._observer, iterations)
        self.model.skip(iterations)

    def _report(self, observer: Observer, iterations: int) -> None:
        """Tell of the iteration in progress and the steady ones after it, so many in all."""
        iteration = self.model.iteration
        assert iteration is not None
        start_s, end_s = iteration.start_s, iteration.end_s
        sequences, context_tokens = iteration.sequences, iteration.context_tokens
        for number in range(iterations):
            if number:
                start_s, end_s = end_s, self.model.steady_end_s(number)
                context_tokens += sequences
            observer(start_s, end_s, iteration.prefill_tokens, sequences, context_tokens)
