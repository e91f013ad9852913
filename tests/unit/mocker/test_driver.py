import asyncio
import time

import pytest

from weir.domain.profile import EngineProfile, TableTiming
from weir.engine.iteration import Iteration, Outcome
from weir.engine.model import EngineModel
from weir.engine.request import Request
from weir.mocker.driver import EngineDriver
from weir.mocker.handover import KvShelf
from weir.runtime.clock import Clock

TEN_MS = TableTiming(prefill=((1.0, 0.01), (2.0, 0.01)), decode=((1.0, 0.01), (2.0, 0.01)))


class Driven:
    """A driver whose iterations are recorded, on a clock at wall speed."""

    def __init__(self) -> None:
        self.clock = Clock(speed=1.0, origin_s=time.monotonic())
        self.engine = EngineModel(EngineProfile(timing=TEN_MS))
        self.iterations: list[Iteration] = []
        self.driver = EngineDriver(self.engine, self.clock, self.record)

    def record(self, iteration: Iteration, outcome: Outcome) -> None:
        self.iterations.append(iteration)

    async def until_idle(self) -> None:
        async with asyncio.timeout(30):
            while self.engine.running or self.engine.waiting:
                await asyncio.sleep(0.002)


async def test_a_late_wake_up_does_not_move_the_next_iteration() -> None:
    driven = Driven()
    driven.driver.submit(Request(id="a", prompt_tokens=8, output_tokens=6))
    await asyncio.sleep(0.015)
    time.sleep(0.05)  # the process is kept from running on purpose
    await driven.until_idle()
    ends = [iteration.end_s for iteration in driven.iterations]
    starts = [iteration.start_s for iteration in driven.iterations]
    assert len(ends) == 6
    assert starts[1:] == ends[:-1]


async def test_who_comes_during_an_iteration_waits_for_the_next() -> None:
    driven = Driven()
    driven.driver.submit(Request(id="a", prompt_tokens=8, output_tokens=3))
    while driven.engine.iteration is None:
        await asyncio.sleep(0)
    driven.driver.submit(Request(id="b", prompt_tokens=8, output_tokens=1))
    await driven.until_idle()
    assert [len(iteration.joining) for iteration in driven.iterations] == [1, 1, 0]
    assert driven.iterations[1].duration_s == pytest.approx(0.02)


async def test_who_comes_while_the_end_is_noticed_late_starts_when_he_came() -> None:
    driven = Driven()
    driven.driver.submit(Request(id="a", prompt_tokens=8, output_tokens=1))
    await asyncio.sleep(0.002)
    time.sleep(0.04)  # the end at 10 ms passes unnoticed
    came_s = driven.clock.now_s()
    driven.driver.submit(Request(id="b", prompt_tokens=8, output_tokens=1))
    await driven.until_idle()
    assert driven.iterations[1].start_s >= came_s


async def test_who_comes_as_an_iteration_ends_joins_the_next_one() -> None:
    # As a pipelined request does, which is read when the answer before it has been given.
    driven = Driven()
    errors: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))

    def submit_more(iteration: Iteration, outcome: Outcome) -> None:
        driven.record(iteration, outcome)
        if len(driven.iterations) == 1:
            driven.driver.submit(Request(id="b", prompt_tokens=8, output_tokens=2))

    driven.driver = EngineDriver(driven.engine, driven.clock, submit_more)
    driven.driver.submit(Request(id="a", prompt_tokens=8, output_tokens=1))
    await driven.until_idle()
    assert (errors, len(driven.iterations)) == ([], 3)


async def test_kept_kv_is_released_once_after_it_was_fetched_or_expired() -> None:
    released: list[str] = []
    expired: list[int] = []
    clock = Clock(speed=1.0, origin_s=time.monotonic())
    shelf = KvShelf(clock, 1.0, released.append, lambda: expired.append(1))
    shelf.keep("a", 100)
    shelf.keep("b", 100)
    assert shelf.fetch("a", 10_000.0) == 100
    assert shelf.fetch("a", 10_000.0) is None
    assert (released, len(shelf)) == ([], 2)
    async with asyncio.timeout(30):
        while not released:
            await asyncio.sleep(0.005)
        assert (released, len(shelf)) == (["a"], 1)
        while len(shelf):
            await asyncio.sleep(0.005)
    assert (released, expired) == (["a", "b"], [1])
    assert shelf.fetch("b", 10_000.0) is None
