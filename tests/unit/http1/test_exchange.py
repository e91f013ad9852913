"""The client's connection, driven by hand."""

import asyncio
import weakref
from math import inf

import pytest

from tests.unit.http1.fake_transport import FakeTransport
from weir.http1.client import BrokenError, Framing, Patience, Sink
from weir.http1.exchange import ClientConnection, Plan
from weir.http1.messages import Header


class Keeper(Sink):
    def __init__(self) -> None:
        self.status = 0
        self.headers: list[Header] = []
        self.data = b""
        self.ended = False

    def on_response(self, status: int, headers: list[Header]) -> None:
        self.status, self.headers = status, headers

    def on_data(self, data: bytes) -> None:
        self.data += data

    def on_end(self) -> None:
        self.ended = True


class Hand:
    def __init__(self) -> None:
        self.released = 0
        self.connection = ClientConnection(
            asyncio.get_running_loop(), lambda c: None, self.take_back
        )
        self.transport = FakeTransport(self.connection)
        self.connection.connection_made(self.transport)
        self.sink = Keeper()

    def take_back(self, connection: ClientConnection) -> None:
        self.released += 1

    async def begin(self, *, raw: bool = False, method: str = "POST") -> "asyncio.Task[None]":
        plan = Plan(method, b"head", b"body", Patience(), 0.0, raw)
        task = asyncio.ensure_future(self.connection.exchange(plan, self.sink))
        await asyncio.sleep(0)
        return task

    def feed(self, data: bytes) -> None:
        self.connection.data_received(data)


async def test_a_connection_does_not_keep_what_took_its_response() -> None:
    hand = Hand()
    task = await hand.begin()
    hand.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    await task
    taker = weakref.ref(hand.sink)
    del hand.sink, task
    assert taker() is None
    assert hand.connection.answered


async def test_an_informational_response_is_not_the_answer() -> None:
    hand = Hand()
    task = await hand.begin()
    assert hand.transport.written == b"headbody"
    hand.feed(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")
    hand.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    await task
    assert (hand.sink.status, hand.sink.data, hand.released) == (200, b"ok", 1)


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 1),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", 0),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", 0),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n", 1),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nunasked", 0),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 1),
    ],
)
async def test_a_connection_is_kept_when_both_sides_know_where_the_answer_ended(
    head: bytes, kept: int
) -> None:
    hand = Hand()
    task = await hand.begin()
    hand.feed(head)
    await task
    assert (hand.sink.ended, hand.released) == (True, kept)
    assert hand.transport.closed is not bool(kept)


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnope\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 70_000,
    ],
)
async def test_what_is_not_http_breaks_the_connection(answer: bytes) -> None:
    hand = Hand()
    task = await hand.begin()
    hand.feed(answer)
    with pytest.raises(BrokenError):
        await task
    assert hand.transport.closed


async def test_a_head_response_has_no_body_whatever_its_length_says() -> None:
    hand = Hand()
    task = await hand.begin(method="HEAD")
    hand.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")
    await task
    assert (hand.sink.data, hand.sink.framing) == (b"", Framing.NONE)


async def test_bytes_nobody_asked_for_close_a_resting_connection() -> None:
    hand = Hand()
    hand.feed(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert hand.transport.closed


async def test_the_idle_time_does_not_run_while_paused_and_first_byte_means_body() -> None:
    hand = Hand()
    loop = asyncio.get_running_loop()
    plan = Plan("POST", b"h", b"", Patience(first_byte_s=50, idle_s=5), loop.time(), False)
    task = asyncio.ensure_future(hand.connection.exchange(plan, hand.sink))
    await asyncio.sleep(0)
    first_byte_by = hand.connection.deadline
    assert first_byte_by == plan.first_byte_by
    hand.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")
    assert hand.connection.deadline == first_byte_by
    hand.feed(b"12345")
    assert hand.connection.deadline < loop.time() + 6
    hand.connection.pause_reading()
    assert hand.connection.deadline == inf
    hand.connection.resume_reading()
    assert hand.connection.deadline < loop.time() + 6
    hand.feed(b"67890")
    await task


async def test_silence_is_measured_from_the_first_byte_of_the_body_on() -> None:
    hand = Hand()
    loop = asyncio.get_running_loop()
    plan = Plan("POST", b"h", b"", Patience(first_byte_s=1, idle_s=50), loop.time(), False)
    task = asyncio.ensure_future(hand.connection.exchange(plan, hand.sink))
    await asyncio.sleep(0)
    hand.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na")
    assert hand.connection.deadline > loop.time() + 40
    hand.feed(b"b")
    await task


async def test_a_sink_that_pauses_in_its_first_read_is_not_timed() -> None:
    hand = Hand()
    task = await hand.begin()
    hand.sink.on_data = lambda data: hand.sink.pause()  # type: ignore[method-assign]
    hand.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na")
    assert hand.connection.deadline == inf
    hand.sink.resume()
    hand.feed(b"b")
    await task


async def test_giving_up_an_answer_that_has_come_leaves_the_next_request_alone() -> None:
    # All in one turn of the loop: an answer ends, its client goes away, another request
    # takes the connection, which is resting again.
    hand = Hand()
    first = await hand.begin()
    next_sink = Keeper()
    plan = Plan("POST", b"head", b"body", Patience(), 0.0, False)
    second = asyncio.ensure_future(hand.connection.exchange(plan, next_sink))
    hand.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert not hand.transport.closed
    hand.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\ntwo")
    async with asyncio.timeout(30.0):
        await second
    assert next_sink.data == b"two"


async def test_a_sink_that_fails_at_the_end_fails_its_request() -> None:
    hand = Hand()
    task = await hand.begin()

    def fail() -> None:
        raise ValueError("a bug")

    hand.sink.on_end = fail  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="a bug"):
        hand.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    hand.connection.connection_lost(None)  # what the loop does after an error in a protocol
    with pytest.raises(BrokenError):
        await asyncio.wait_for(task, 1.0)
