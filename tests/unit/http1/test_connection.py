"""The server's connection, driven by hand."""

import asyncio

import pytest

from tests.unit.http1.fake_transport import FakeTransport
from weir.http1.connection import ServerConnection
from weir.http1.deadlines import Connections
from weir.http1.messages import Limits, Request
from weir.http1.responder import Responder

GET = b"GET / HTTP/1.1\r\nhost: t\r\n\r\n"


class Hand:
    """A connection whose requests are kept for the test to answer."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.open: Connections[ServerConnection] = Connections(self.loop)
        self.responders: list[Responder] = []
        self.connection = ServerConnection(self.take, limits or Limits(), self.open, self.loop)
        self.transport = FakeTransport(self.connection)
        self.connection.connection_made(self.transport)

    def take(self, request: Request, responder: Responder) -> None:
        self.responders.append(responder)

    def feed(self, data: bytes) -> None:
        self.connection.data_received(data)


class Source:
    def __init__(self) -> None:
        self.reading = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


async def test_a_source_is_paused_while_the_client_is_slow() -> None:
    hand, source = Hand(), Source()
    hand.feed(GET)
    hand.responders[0].source = source
    hand.connection.pause_writing()
    assert (source.reading, hand.responders[0].paused) == (False, True)
    hand.connection.resume_writing()
    assert source.reading


async def test_no_request_is_begun_while_the_client_leaves_answers_unread() -> None:
    hand = Hand()
    hand.feed(GET * 3)
    hand.connection.pause_writing()
    hand.responders[0].send(200, [], b"a")
    hand.feed(GET * 20)
    assert (len(hand.responders), hand.transport.reading) == (1, False)
    hand.connection.resume_writing()
    assert len(hand.responders) == 2
    for answered in range(1, 23):
        hand.responders[answered].send(200, [], b"a")
    assert hand.transport.reading


async def test_drain_waits_for_the_client_or_its_end() -> None:
    hand = Hand()
    hand.feed(GET)
    responder = hand.responders[0]
    await asyncio.wait_for(responder.drain(), 1)
    hand.connection.pause_writing()
    waiting = asyncio.create_task(responder.drain())
    await asyncio.sleep(0)
    assert not waiting.done()
    hand.connection.resume_writing()
    await asyncio.wait_for(waiting, 1)
    hand.connection.pause_writing()
    waiting = asyncio.create_task(responder.drain())
    await asyncio.sleep(0)
    hand.connection.connection_lost(None)
    await asyncio.wait_for(waiting, 1)
    assert responder.closed


async def test_on_close_is_called_once_and_only_before_the_end() -> None:
    hand = Hand()
    left: list[str] = []
    hand.feed(GET)
    hand.responders[0].on_close = lambda: left.append("first")
    hand.responders[0].send(200, [], b"")
    hand.feed(GET)
    hand.responders[1].on_close = lambda: left.append("second")
    hand.connection.eof_received()
    hand.connection.connection_lost(None)
    assert left == ["second"]


async def test_aborting_a_finished_response_leaves_the_next_one_alone() -> None:
    hand = Hand()
    hand.feed(GET + GET)
    hand.responders[0].send(200, [], b"")
    hand.responders[0].abort()
    assert not hand.transport.closed
    hand.responders[1].abort()
    assert hand.transport.closed
    assert hand.responders[1].closed


async def test_reading_stops_when_too_much_is_pipelined_and_goes_on_later() -> None:
    hand = Hand()
    hand.feed(GET * 20)
    assert (len(hand.responders), hand.transport.reading) == (1, False)
    for i in range(20):
        hand.responders[i].send(200, [], b"")
    assert hand.transport.reading
    assert hand.transport.written.count(b"HTTP/1.1 200 OK") == 20


async def test_a_deep_pipeline_answered_at_once_needs_no_deep_stack() -> None:
    hand = Hand()
    hand.take = lambda request, responder: responder.send(200, [], b"")  # type: ignore[method-assign]
    hand.connection._handler = lambda request, responder: responder.send(200, [], b"")
    hand.feed(GET * 5000)
    assert hand.transport.written.count(b"HTTP/1.1 200 OK") == 5000


async def test_a_response_starts_once() -> None:
    hand = Hand()
    hand.feed(GET)
    hand.responders[0].start(200, [])
    with pytest.raises(RuntimeError):
        hand.responders[0].start(200, [])


async def test_a_length_given_is_not_chunked_and_raw_is_left_alone() -> None:
    hand = Hand()
    hand.feed(GET)
    hand.responders[0].start(200, [(b"content-length", b"2")], first=b"a")
    hand.responders[0].write(b"b")
    hand.responders[0].finish()
    assert hand.transport.written == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab"
    hand.transport.written = b""
    hand.feed(GET)
    hand.responders[1].start(200, [(b"transfer-encoding", b"chunked")], raw=True)
    hand.responders[1].write_raw(b"1\r\na\r\n0\r\n\r\n")
    hand.responders[1].finish()
    assert hand.transport.written.endswith(b"chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")


async def test_bodiless_statuses_have_neither_body_nor_length() -> None:
    hand = Hand()
    hand.feed(GET)
    hand.responders[0].send(304, [], b"ignored")
    assert hand.transport.written == b"HTTP/1.1 304 Not Modified\r\n\r\n"


async def test_while_draining_every_response_is_the_last_of_its_connection() -> None:
    hand = Hand()
    hand.feed(GET)
    hand.connection.begin_drain()
    assert not hand.transport.closed
    hand.responders[0].send(200, [], b"")
    assert b"connection: close" in hand.transport.written
    assert hand.transport.closed
    idle = Hand()
    idle.connection.begin_drain()
    assert idle.transport.closed


async def test_who_parts_still_answers_the_request_that_is_on_its_way() -> None:
    idle = Hand()
    idle.connection.begin_drain(3.0)
    assert not idle.transport.closed
    assert idle.connection.deadline <= idle.loop.time() + 3.0
    idle.feed(GET)
    idle.responders[0].send(200, [], b"")
    assert b"connection: close" in idle.transport.written
    assert idle.transport.closed


async def test_who_parts_stays_where_an_answer_had_promised_so_and_goes_when_nothing_comes() -> (
    None
):
    hand = Hand()
    hand.feed(GET)
    hand.responders[0].start(200, [])
    hand.connection.begin_drain(3.0)
    hand.responders[0].finish()
    assert not hand.transport.closed
    assert hand.connection.deadline <= hand.loop.time() + 3.0
    hand.connection.expire()
    assert hand.transport.closed


async def test_trailers_are_not_headers() -> None:
    hand = Hand()
    hand.feed(
        b"POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n"
        b"1\r\na\r\n0\r\nx-evil: 1\r\n\r\n"
    )
    request = hand.responders[0].request
    assert (request.body, request.header(b"x-evil")) == (b"a", None)
