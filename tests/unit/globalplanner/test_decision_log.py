"""Decisions are written down without holding up whoever decides, and losses are counted."""

import asyncio
import logging
from collections.abc import Sequence

import pytest

from globalplanner.core.arbiter.snapshot import Rules
from globalplanner.decisions.decision_log import DecisionLog
from globalplanner.decisions.history import History
from globalplanner.decisions.outlet import Sink
from globalplanner.metrics import Metrics
from tests.unit.globalplanner.decisions import decided, record
from weir.domain.decision import DecisionRecord
from weir.domain.errors import UnavailableError
from weir.runtime.lifecycle import Stop


class Notebook:
    """A sink that takes what it gets, once it is `open`."""

    def __init__(self, name: str = "file", *, error: Exception | None = None) -> None:
        self.name = name
        self.written: list[str] = []
        self.error = error

    async def write(self, record: DecisionRecord) -> None:
        if self.error is not None:
            raise self.error
        self.written.append(record.id)


class Deaf:
    name = "stream"

    async def write(self, record: DecisionRecord) -> None:
        await asyncio.Event().wait()


class Desk:
    """A log, its metrics and its history; ends when a test is done."""

    def __init__(self, *sinks: Sink, room: int = 256, earlier: Sequence[int] = ()) -> None:
        self.metrics = Metrics([])
        self.history = History()
        self.stop = Stop()
        self.earlier = [record(number, term=6) for number in earlier]
        self.log = DecisionLog(
            self.history, sinks, self.metrics, Rules, room=room, recall=self.recall
        )

    async def recall(self, count: int) -> Sequence[DecisionRecord]:
        return self.earlier[-count:]

    async def run(self, *, until_s: float = 0.05) -> None:
        """For so long, and to its end."""
        task = asyncio.create_task(self.log.run(self.stop))
        await asyncio.sleep(until_s)
        self.stop.set()
        async with asyncio.timeout(30.0):
            await task

    async def shows(self, decision_id: str) -> None:
        """Wait until this decision is the newest."""
        async with asyncio.timeout(30.0):
            while [r.id for r in self.history.last(1)] != [decision_id]:
                await asyncio.sleep(0.001)

    def count(self, what: str, sink: str) -> float | None:
        return self.metrics.registry.get_sample_value(
            f"weir_globalplanner_log_{what}_total", {"sink": sink}
        )


async def test_every_decision_reaches_every_sink_and_the_history() -> None:
    file, stream = Notebook("file"), Notebook("stream")
    desk = Desk(file, stream)
    desk.log.note(decided(1))
    desk.log.note(decided(2))
    await desk.run()
    assert file.written == stream.written == ["7.1", "7.2"]
    assert [r.id for r in desk.history.last(9)] == ["7.2", "7.1"]
    assert (desk.count("written", "file"), desk.count("dropped", "file")) == (2.0, 0.0)


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), UnavailableError("NATS is away"), TimeoutError()],
    ids=lambda error: type(error).__name__,
)
async def test_a_sink_that_fails_costs_the_others_nothing(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    dead, alive = Notebook("file", error=error), Notebook("stream")
    desk = Desk(dead, alive)
    for number in range(1, 4):
        desk.log.note(decided(number))
    with caplog.at_level(logging.WARNING):
        await desk.run()
    assert alive.written == ["7.1", "7.2", "7.3"]
    assert desk.count("failures", "file") == 1.0
    assert desk.count("dropped", "file") == 3.0
    told = [r.message for r in caplog.records]
    assert len([line for line in told if "trying again" in line]) == 1
    assert any("3 decisions not written to file" in line for line in told)


async def test_what_could_not_be_written_is_written_when_the_sink_works_again() -> None:
    disk = Notebook(error=OSError("full"))
    desk = Desk(disk)
    desk.log.note(decided(1))
    asyncio.get_running_loop().call_later(0.1, setattr, disk, "error", None)
    await desk.run(until_s=0.7)
    assert disk.written == ["7.1"]
    assert desk.count("dropped", "file") == 0.0


async def test_the_oldest_make_room_and_are_counted() -> None:
    disk = Notebook(error=OSError("full"))
    desk = Desk(disk, room=3)
    task = asyncio.create_task(desk.log.run(desk.stop))
    for number in range(1, 6):
        desk.log.note(decided(number))
        await asyncio.sleep(0.01)
    assert desk.count("dropped", "file") == 2.0
    disk.error = None
    await asyncio.sleep(0.6)
    desk.stop.set()
    await task
    assert disk.written == ["7.3", "7.4", "7.5"]


async def test_noting_never_waits_however_many_there_are() -> None:
    desk = Desk(room=3)
    for number in range(1, 6):
        desk.log.note(decided(number))
    assert desk.count("dropped", "record") == 2.0


async def test_a_record_that_no_sink_can_ever_take_is_dropped_once() -> None:
    picky = Notebook("stream", error=ValueError("too large"))
    desk = Desk(picky)
    desk.log.note(decided(1))
    await desk.run()
    assert (desk.count("dropped", "stream"), desk.count("failures", "stream")) == (1.0, 0.0)


async def test_the_end_comes_within_its_deadline_though_a_sink_hangs() -> None:
    desk = Desk(Deaf())
    desk.log.note(decided(1))
    began_s = asyncio.get_running_loop().time()
    await desk.run()
    assert asyncio.get_running_loop().time() - began_s < 30.0
    assert desk.count("dropped", "stream") == 1.0


async def test_what_is_noted_before_the_end_is_still_written() -> None:
    file = Notebook()
    desk = Desk(file)
    task = asyncio.create_task(desk.log.run(desk.stop))
    await asyncio.sleep(0)
    desk.log.note(decided(1))
    desk.stop.set()
    await task
    assert file.written == ["7.1"]


async def test_a_leader_begins_with_what_others_have_decided() -> None:
    desk = Desk(earlier=[1, 2])
    await desk.run()
    assert [r.id for r in desk.history.last(9)] == ["6.2", "6.1"]


async def test_one_that_stood_by_learns_what_was_decided_meanwhile_when_it_leads() -> None:
    desk = Desk(earlier=[1])
    task = asyncio.create_task(desk.log.run(desk.stop))
    await desk.shows("6.1")
    desk.earlier.append(record(2, term=6))
    desk.log.note(decided(1))
    await desk.shows("7.1")
    desk.stop.set()
    await task
    assert [r.id for r in desk.history.last(9)] == ["7.1", "6.2", "6.1"]
