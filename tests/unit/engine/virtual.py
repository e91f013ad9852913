"""One scenario of requests run twice: stepped by the mock engine's driver, and by jumps.

The driver runs on a loop whose time is what the next callback says, so that each of them comes
exactly when it is due.
"""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Any
from unittest.mock import patch

from weir.domain.profile import EngineProfile
from weir.engine.iteration import Iteration, Outcome
from weir.engine.model import EngineModel
from weir.engine.request import Request
from weir.engine.run import EngineRun
from weir.mocker.driver import EngineDriver
from weir.runtime.clock import Clock

__all__ = ["Story", "Trail", "jumped", "stepped"]


@dataclass(frozen=True, kw_only=True)
class Story:
    """What is asked of an engine. KV that is held is released `fetch_s` after its last token."""

    profile: EngineProfile
    arrivals: Sequence[tuple[float, Request]]
    aborts: Sequence[tuple[float, Hashable]] = ()
    fetch_s: float = 0.05


@dataclass
class Trail:
    """What it did: (start, end, prefill tokens, sequences, context tokens) of each iteration."""

    iterations: list[tuple[float, float, int, int, int]] = field(default_factory=list)
    first_s: dict[Hashable, float] = field(default_factory=dict)
    finished_s: dict[Hashable, float] = field(default_factory=dict)
    refused: list[Hashable] = field(default_factory=list)
    preemptions: int = 0
    prefix_hit_tokens: int = 0
    prefill_tokens: int = 0
    decode_tokens: int = 0
    busy_s: float = 0.0
    wakes: int = 0
    """How many ends of iterations the engine was called for."""

    def note(self, outcome: Outcome, end_s: float) -> None:
        self.first_s |= {sequence.id: end_s for sequence in outcome.first}
        self.finished_s |= {sequence.id: end_s for sequence in outcome.finished}

    def settle(self, model: EngineModel) -> None:
        self.preemptions = model.preemptions
        self.prefix_hit_tokens = model.prefix_hit_tokens


class _Handle:
    def __init__(self, call: Callable[[], Any]) -> None:
        self.call: Callable[[], Any] | None = call

    def cancel(self) -> None:
        self.call = None


class _Loop:
    """The part of an event loop that a driver needs, in virtual time."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._heap: list[tuple[float, int, _Handle]] = []
        self._numbers = count()

    def at(self, when_s: float, call: Callable[..., Any], *arguments: Any) -> _Handle:
        handle = _Handle(lambda: call(*arguments))
        heappush(self._heap, (when_s, next(self._numbers), handle))
        return handle

    def call_soon(self, call: Callable[..., Any], *arguments: Any) -> _Handle:
        return self.at(self.now_s, call, *arguments)

    def call_later(self, wait_s: float, call: Callable[..., Any], *arguments: Any) -> _Handle:
        return self.at(self.now_s + wait_s, call, *arguments)

    def run(self) -> None:
        while self._heap:
            self.now_s, _, handle = heappop(self._heap)
            if handle.call is not None:
                handle.call()


@dataclass(frozen=True, kw_only=True)
class _Clock(Clock):
    loop: _Loop

    def now_s(self) -> float:
        return self.loop.now_s


def stepped(story: Story) -> Trail:
    """The story as `weir mocker` runs it, every iteration by itself."""
    trail, loop, model = Trail(), _Loop(), EngineModel(story.profile)

    def on_iteration(iteration: Iteration, outcome: Outcome) -> None:
        start_s, end_s = iteration.start_s, iteration.end_s
        work = (iteration.prefill_tokens, iteration.sequences, iteration.context_tokens)
        trail.iterations.append((start_s, end_s, *work))
        trail.prefill_tokens += work[0]
        trail.decode_tokens += work[1]
        trail.busy_s += iteration.duration_s
        trail.wakes += 1
        trail.note(outcome, end_s)
        for sequence in outcome.finished:
            if sequence.request.hold:
                loop.at(end_s + story.fetch_s, driver.release, sequence.id)

    def submit(request: Request) -> None:
        if driver.submit(request) is not None:
            trail.refused.append(request.id)

    with patch.object(asyncio, "get_running_loop", lambda: loop):
        driver = EngineDriver(model, _Clock(loop=loop), on_iteration)
    for when_s, request in story.arrivals:
        loop.at(when_s, submit, request)
    for when_s, id in story.aborts:
        loop.at(when_s, driver.abort, id)
    loop.run()
    trail.settle(model)
    return trail


def jumped(story: Story) -> Trail:
    """The story on an `EngineRun`."""
    trail, loop = Trail(), _Loop()
    run = EngineRun(story.profile, lambda *iteration: trail.iterations.append(iteration))

    def follow() -> None:
        if run.due_s < inf:
            loop.at(run.due_s, advance, run.due_s)

    def advance(due_s: float) -> None:
        if due_s != run.due_s:
            return
        trail.wakes += run.model.iteration is not None
        outcome = run.advance()
        trail.note(outcome, due_s)
        for sequence in outcome.finished:
            if sequence.request.hold:
                loop.at(due_s + story.fetch_s, leave, run.release, sequence.id)
        follow()

    def submit(request: Request) -> None:
        if run.submit(request, loop.now_s) is not None:
            trail.refused.append(request.id)
        follow()

    def leave(how: Callable[[Hashable, float], bool], id: Hashable) -> None:
        how(id, loop.now_s)
        follow()

    for when_s, request in story.arrivals:
        loop.at(when_s, submit, request)
    for when_s, id in story.aborts:
        loop.at(when_s, leave, run.abort, id)
    loop.run()
    trail.settle(run.model)
    totals = run.totals(loop.now_s)
    trail.prefill_tokens, trail.decode_tokens = totals.prefill_tokens, totals.decode_tokens
    trail.busy_s = totals.busy_s
    return trail
