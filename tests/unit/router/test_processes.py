"""Several processes as one router: shared memory, sums of metrics, links."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import Metric

from router.core.elsewhere import Told
from router.core.merged import Merged
from router.core.workers.worker import Load
from router.processes.exchange import Exchange, decode, encode
from router.processes.link import Link
from router.processes.sums import Ended, Family, add_up
from router.processes.table import Table
from weir.domain.errors import UnavailableError
from weir.domain.histogram import LogHistogram
from weir.domain.ids import ClassName, PoolId, RouterId, WorkerId
from weir.domain.telemetry import ClassTraffic, PoolTraffic, TrafficSample

# --- shared memory -------------------------------------------------------------------------


@pytest.fixture
def table() -> Iterator[Table]:
    made = Table.create()
    yield made
    made.close()


def test_a_slot_holds_the_last_message_for_everybody_who_shares_it(table: Table) -> None:
    other = Table(os.dup(table.fd))
    assert table.number(3) == 0
    assert other.write(3, b"one")
    assert other.write(3, b"two longer")
    assert table.read(3) == (2, b"two longer")
    assert table.read(4) == (0, b"")
    other.close()


def test_what_is_half_written_is_not_read(table: Table) -> None:
    table.write(1, b"a message")
    written = os.pread(table.fd, 64, 1 << 22)
    os.pwrite(table.fd, written.replace(b"message", b"passage"), 1 << 22)
    assert table.read(1) is None
    table.write(1, b"the next")
    assert table.read(1) == (2, b"the next")


def test_a_message_that_is_too_long_is_refused(table: Table) -> None:
    assert not table.write(0, b"x" * (1 << 22))
    assert table.read(0) == (0, b"")


LOADED = Told(
    loads={PoolId("p"): {WorkerId("w"): Load(1, 2, 25, 3, 4, 5, 6.5)}},
    waiting={ClassName("chat"): (7, 8)},
)


def _exchange(table: Table, slot: int, load: Told) -> tuple[Exchange, dict[str, Told | None]]:
    heard: dict[str, Told | None] = {}

    def told(process: str, told: Told | None) -> bool:
        heard[process] = told
        return False

    return Exchange(table, slot, lambda: load, told, lambda: None), heard


def test_what_is_told_arrives_as_it_is() -> None:
    assert decode(encode(LOADED)) == LOADED


def test_others_hear_what_one_has_and_it_does_not_hear_itself(table: Table) -> None:
    one, heard_by_one = _exchange(table, 0, LOADED)
    two, heard_by_two = _exchange(table, 1, Told())
    for each in (one, two):
        each.say(0.0)
    for each in (one, two):
        each.hear(0.0)
    assert heard_by_two == {"0": LOADED}
    assert heard_by_one == {"1": Told()}


def test_who_falls_silent_has_nothing_any_more(table: Table) -> None:
    one, _ = _exchange(table, 0, LOADED)
    two, heard = _exchange(table, 1, Told())
    one.say(0.0)
    two.hear(0.0)
    two.hear(1.9)
    assert heard == {"0": LOADED}
    two.hear(2.1)
    assert heard == {"0": None}
    one.say(2.2)
    two.hear(2.2)
    assert heard == {"0": LOADED}


async def test_who_ends_takes_back_what_it_has_said(table: Table) -> None:
    one, _ = _exchange(table, 0, LOADED)
    two, heard = _exchange(table, 1, Told())
    running = asyncio.create_task(one.run())
    while not table.number(0):
        await asyncio.sleep(0)
    two.hear(0.0)
    running.cancel()
    await asyncio.wait([running])
    two.hear(0.0)
    assert heard == {"0": None}


# --- metrics -------------------------------------------------------------------------------


def _families(arrivals: int, completed: int, in_flight: int, pace: float = 1.0) -> list[Family]:
    of_class = ("class", "c")
    return [
        Family(
            name="weir_router_arrivals",
            text="a",
            kind="counter",
            samples={("weir_router_arrivals_total", (of_class,)): arrivals},
        ),
        Family(
            name="weir_router_requests",
            text="r",
            kind="counter",
            samples={
                ("weir_router_requests_total", (of_class, ("outcome", "completed"))): completed,
                ("weir_router_requests_total", (of_class, ("outcome", "failed"))): 0,
            },
        ),
        Family(
            name="weir_router_in_flight",
            text="i",
            kind="gauge",
            samples={("weir_router_in_flight", (of_class,)): in_flight},
        ),
        Family(
            name="weir_router_pool_pace",
            text="p",
            kind="gauge",
            samples={("weir_router_pool_pace", (("pool", "p"),)): pace},
        ),
    ]


def _values(metrics: list[Metric]) -> dict[tuple[str, ...], float]:
    return {(s.name, *s.labels.values()): s.value for m in metrics for s in m.samples}


def test_counters_and_loads_add_up_and_what_all_see_does_not() -> None:
    found = _values(add_up([_families(5, 3, 2, pace=1.0), _families(4, 4, 0, pace=1.5)]))
    assert found["weir_router_arrivals_total", "c"] == 9
    assert found["weir_router_requests_total", "c", "completed"] == 7
    assert found["weir_router_in_flight", "c"] == 2
    assert found["weir_router_pool_pace", "p"] == 1.25


def test_what_a_process_counted_stays_and_what_it_had_open_has_failed() -> None:
    ended = Ended()
    ended.add(_families(5, 3, 2))
    ended.add([])  # one that has told nothing
    found = _values(add_up([_families(4, 3, 1)], ended.families))
    assert found["weir_router_arrivals_total", "c"] == 9
    assert found["weir_router_requests_total", "c", "completed"] == 6
    assert found["weir_router_requests_total", "c", "failed"] == 2
    assert found["weir_router_in_flight", "c"] == 1


# --- traffic -------------------------------------------------------------------------------


def _sample(arrivals: int, queued: int, ttft_s: float | None = None) -> TrafficSample:
    ttfts = LogHistogram()
    if ttft_s is not None:
        ttfts.add(ttft_s)
    of_class = ClassTraffic(
        name=ClassName("c"), arrivals=arrivals, queued=queued, ttft_s=ttfts, isl_tokens_sq=arrivals
    )
    of_pool = PoolTraffic(pool_id=PoolId("p"), arrivals=arrivals, in_flight=queued)
    return TrafficSample(
        router_id=RouterId("x"), sequence=9, window_s=0.0, classes=(of_class,), pools=(of_pool,)
    )


def test_processes_are_one_router_with_one_sequence() -> None:
    merged = Merged(RouterId("r"))
    assert merged.close(1.0) is None
    merged.add("0", _sample(3, 1, 0.1))
    merged.add("1", _sample(4, 2, 0.2))
    sample = merged.close(1.0)
    assert sample is not None
    assert (sample.router_id, sample.sequence, sample.window_s) == ("r", 1, 1.0)
    (of_class,), (of_pool,) = sample.classes, sample.pools
    assert (of_class.arrivals, of_class.queued, of_class.isl_tokens_sq) == (7, 3, 7)
    assert of_class.ttft_s.total == 2
    assert of_class.hopeless_arrivals is None
    assert (of_pool.arrivals, of_pool.in_flight) == (7, 3)


def test_who_does_not_answer_still_has_what_it_had_until_it_has_ended() -> None:
    merged = Merged(RouterId("r"))
    merged.add("0", _sample(3, 1))
    merged.add("1", _sample(4, 2))
    merged.close(1.0)
    merged.add("0", _sample(5, 1))
    second = merged.close(1.0)
    assert second is not None
    assert (second.classes[0].arrivals, second.classes[0].queued) == (5, 3)
    merged.left("1")
    third = merged.close(1.0)
    assert third is not None
    assert (third.sequence, third.classes[0].arrivals, third.classes[0].queued) == (3, 0, 1)


# --- links ---------------------------------------------------------------------------------


@asynccontextmanager
async def _linked() -> AsyncIterator[tuple[Link, Link]]:
    async def answer(verb: str, about: bytes) -> bytes:
        if verb == "wrong":
            raise ValueError("asked wrongly")
        if verb == "away":
            raise UnavailableError("not now")
        if verb == "never":
            await asyncio.Event().wait()
        return verb.encode() + b" " + about

    near, far = socket.socketpair()
    links = Link(answer), Link(answer)
    for link, end in zip(links, (near, far), strict=True):
        end.setblocking(False)
        await link.open(end)
    running = [asyncio.create_task(link.run()) for link in links]
    yield links
    for task in running:
        task.cancel()
    await asyncio.wait(running)


async def test_both_sides_ask_and_answers_find_their_questions() -> None:
    async with _linked() as (one, two):
        answers = await asyncio.gather(
            *(one.ask("a", b"%d" % i, timeout_s=30.0) for i in range(20)),
            *(two.ask("b", b"%d" % i, timeout_s=30.0) for i in range(20)),
        )
    assert answers == [b"%c %d" % (letter, i) for letter in b"ab" for i in range(20)]


async def test_a_far_end_that_refuses_or_is_silent_or_has_gone_is_an_error() -> None:
    async with _linked() as (one, two):
        with pytest.raises(ValueError, match="asked wrongly"):
            await one.ask("wrong", timeout_s=30.0)
        with pytest.raises(UnavailableError, match="not now"):
            await one.ask("away", timeout_s=30.0)
        with pytest.raises(UnavailableError, match="no answer"):
            await one.ask("never", timeout_s=0.01)
        waiting = asyncio.create_task(one.ask("never", timeout_s=30.0))
        await asyncio.sleep(0)
        two.close()
        with pytest.raises(UnavailableError, match="gone"):
            await waiting
        with pytest.raises(UnavailableError, match="gone"):
            await one.ask("a", timeout_s=30.0)
