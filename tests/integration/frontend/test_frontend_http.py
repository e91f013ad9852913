"""HTTP/1.1 as spoken by `weir.http1`: limits, deadlines, framing, and misbehaving peers."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from weir.http1.client import BrokenError, ConnectError, DeadlineError, Patience, Pool, Sink
from weir.http1.exchange import ClientConnection
from weir.http1.server import Limits, Request, Responder, Server, serve


@dataclass
class Echo:
    """Answers each request with what it got; keeps those whose client has left."""

    server: Server
    requests: list[Request] = field(default_factory=list)
    held: list[Responder] = field(default_factory=list)
    gone: int = 0

    def handle(self, request: Request, responder: Responder) -> None:
        self.requests.append(request)
        if request.path == "/hold":
            self.held.append(responder)
            responder.on_close = self._left
        elif request.path == "/raise":
            raise ValueError("a handler's bug")
        else:
            responder.send(200, [(b"content-type", b"text/plain")], request.body)

    def _left(self) -> None:
        self.gone += 1

    async def talk(self, data: bytes, *, half_close: bool = False) -> bytes:
        """Everything the server says to `data`, up to the end of the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        writer.write(data)
        if half_close:
            writer.write_eof()
        async with asyncio.timeout(30.0):
            answer = await reader.read()
        writer.close()
        return answer

    async def holds(self, count: int) -> None:
        """Wait until so many requests have come to `/hold`."""
        async with asyncio.timeout(30.0):
            while len(self.held) < count:
                await asyncio.sleep(0.001)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.server.port)


@asynccontextmanager
async def echo(limits: Limits | None = None) -> AsyncIterator[Echo]:
    made: list[Echo] = []
    server = await serve(lambda q, r: made[0].handle(q, r), "127.0.0.1", 0, limits=limits)
    made.append(Echo(server))
    try:
        yield made[0]
    finally:
        server.close()


def post(body: bytes, headers: bytes = b"", path: bytes = b"/") -> bytes:
    return b"POST %b HTTP/1.1\r\nhost: t\r\n%bcontent-length: %d\r\n\r\n%b" % (
        path,
        headers,
        len(body),
        body,
    )


CLOSE = b"connection: close\r\n"


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def check_refusal(answer: bytes, expected: int) -> None:
    assert status(answer) == expected, answer
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}


MALFORMED = [
    b"hello\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/1.1\r\nhost t\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: t\r\nbad name: 1\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: t\r\nx: a\x00b\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
    b"POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n",
    b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
    b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 5, 5\r\n\r\nabcde",
    b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: +5\r\n\r\nabcde",
    b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 99999999999999999999999\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: identity\r\n\r\n",
]


@pytest.mark.parametrize("data", MALFORMED)
async def test_a_malformed_request_gets_a_400_and_a_close(data: bytes) -> None:
    async with echo() as e:
        answer = await e.talk(data)
        assert status(answer) in (400, 501)
        check_refusal(answer, status(answer))
        assert not e.requests


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"GET / HTTP/2.0\r\nhost: t\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nhost: t\r\nexpect: tea\r\n\r\n", 417),
        (b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\nhost: t\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nhost: t\r\nx: " + b"a" * 70000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nhost: t\r\nx: " + b"a" * 70000, 431),
        (b"GET / HTTP/1.1\r\nhost: t\r\n" + b"x: 1\r\n" * 200 + b"\r\n", 431),
    ],
)
async def test_what_is_not_served_here_is_said(data: bytes, expected: int) -> None:
    async with echo() as e:
        check_refusal(await e.talk(data), expected)


async def test_a_declared_body_over_the_limit_is_refused_before_it_comes() -> None:
    async with echo(Limits(max_body_bytes=100)) as e:
        check_refusal(await e.talk(post(b"x" * 101)[:-101]), 413)
        assert status(await e.talk(post(b"x" * 100, CLOSE))) == 200


async def test_a_chunked_body_over_the_limit_is_refused_when_it_grows_over_it() -> None:
    chunks = b"POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n"
    async with echo(Limits(max_body_bytes=100)) as e:
        check_refusal(await e.talk(chunks + (b"a\r\n" + b"x" * 10 + b"\r\n") * 50), 413)


async def test_endless_trailers_are_refused() -> None:
    async with echo() as e:
        reader, writer = await e.connect()
        writer.write(b"POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ")
        for _ in range(20):
            writer.write(b"x" * 10_000)
            await asyncio.sleep(0.001)
        check_refusal(await asyncio.wait_for(reader.read(), 30), 431)
        writer.close()


async def test_a_head_behind_a_large_body_is_not_mistaken_for_a_large_head() -> None:
    async with echo() as e:
        data = post(b"x" * 200_000) + post(b"y", CLOSE)
        reader, writer = await e.connect()
        writer.write(data[:-30])
        await asyncio.sleep(0.05)
        writer.write(data[-30:])
        assert (await asyncio.wait_for(reader.read(), 30)).count(b"HTTP/1.1 200") == 2
        writer.close()


async def test_a_client_that_writes_20_mb_first_can_read_its_413() -> None:
    def write_all_then_read(port: int) -> bytes:
        body = b"x" * 20_000_000
        with socket.create_connection(("127.0.0.1", port), timeout=30) as s:
            s.sendall(post(body))  # a reset would raise here or below
            answer = b""
            while piece := s.recv(65536):
                answer += piece
            return answer

    async with echo(Limits(max_body_bytes=1000)) as e:
        answer = await asyncio.to_thread(write_all_then_read, e.server.port)
        check_refusal(answer, 413)


async def test_a_refused_client_that_never_stops_sending_is_cut_off() -> None:
    async with echo(Limits(max_body_bytes=10, linger_s=0.2)) as e:
        _, writer = await e.connect()
        writer.write(post(b"x" * 11))
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(30.0):
                while True:
                    writer.write(b"x" * 1000)
                    await writer.drain()
                    await asyncio.sleep(0.01)


async def test_requests_are_answered_in_order_on_one_connection() -> None:
    async with echo() as e:
        data = b"".join(post(b"%d" % i) for i in range(100)) + post(b"last", CLOSE)
        answer = await e.talk(data)
        bodies = [part.split(b"\r\n\r\n")[1] for part in answer.split(b"HTTP/1.1 200 OK")[1:]]
        assert bodies == [b"%d" % i for i in range(100)] + [b"last"]


async def test_a_request_waits_for_the_response_before_it() -> None:
    async with echo() as e:
        reader, writer = await e.connect()
        writer.write(post(b"", path=b"/hold") + post(b"two"))
        await e.holds(1)
        await asyncio.sleep(0.05)
        assert len(e.requests) == 1
        e.held[0].send(200, [], b"one")
        answer = await asyncio.wait_for(reader.readuntil(b"two"), 30)
        assert answer.index(b"one") < answer.index(b"two")
        writer.close()


async def test_an_endless_pipeline_is_not_read_ahead() -> None:
    async with echo() as e:
        _, writer = await e.connect()
        writer.write(post(b"", path=b"/hold"))
        for _ in range(2000):
            writer.write(post(b"x" * 50_000))
        await asyncio.sleep(0.3)
        assert writer.transport.get_write_buffer_size() > 50_000_000
        writer.transport.abort()


async def test_a_bad_request_behind_a_good_one_is_answered_after_it() -> None:
    async with echo() as e:
        reader, writer = await e.connect()
        writer.write(post(b"", path=b"/hold") + b"nonsense\r\n\r\n")
        await e.holds(1)
        await asyncio.sleep(0.05)
        e.held[0].send(200, [], b"one")
        answer = await asyncio.wait_for(reader.read(), 30)
        assert [status(b"HTTP/1.1" + part) for part in answer.split(b"HTTP/1.1")[1:]] == [200, 400]
        writer.close()


async def test_continue_is_said_only_to_those_who_ask_and_may_send() -> None:
    async with echo(Limits(max_body_bytes=100)) as e:
        reader, writer = await e.connect()
        writer.write(post(b"abc", b"expect: 100-continue\r\n")[:-3])
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30) == (
            b"HTTP/1.1 100 Continue\r\n\r\n"
        )
        writer.write(b"abc")
        assert (await asyncio.wait_for(reader.readuntil(b"abc"), 30)).startswith(b"HTTP/1.1 200")
        writer.close()
        refused = await e.talk(post(b"x" * 101, b"expect: 100-continue\r\n")[:-101])
        check_refusal(refused, 413)


async def test_a_body_sent_with_its_expectation_needs_no_continue() -> None:
    async with echo() as e:
        answer = await e.talk(post(b"abc", b"expect: 100-continue\r\n" + CLOSE))
        assert status(answer) == 200


async def test_http_1_0_closes_unless_asked_to_stay() -> None:
    async with echo() as e:
        plain = await e.talk(b"GET / HTTP/1.0\r\n\r\n")
        assert (status(plain), b"connection: close" in plain) == (200, True)
        kept = b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"
        answer = await e.talk(kept + b"GET / HTTP/1.0\r\n\r\n")
        assert answer.count(b"HTTP/1.1 200") == 2
        assert answer.count(b"connection: keep-alive") == 1


async def test_an_offered_upgrade_is_ignored() -> None:
    async with echo() as e:
        upgrade = b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n"
        requests = [post(b"abc", upgrade), post(b"", upgrade), post(b"def"), post(b"gh", CLOSE)]
        answer = await e.talk(b"".join(requests))
        assert answer.count(b"HTTP/1.1 200") == 4
        assert [request.body for request in e.requests] == [b"abc", b"", b"def", b"gh"]
        chunked = b"POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n" + upgrade
        reader, writer = await e.connect()
        for piece in (chunked, b"\r\n3\r\na", b"bc\r\n0\r\n\r\n"):
            writer.write(piece)
            await asyncio.sleep(0.01)
        assert await asyncio.wait_for(reader.readuntil(b"abc"), 30)
        writer.close()
        check_refusal(await e.talk(b"CONNECT a:1 HTTP/1.1\r\nhost: t\r\n\r\n"), 501)


async def test_an_absolute_target_is_served_by_its_path() -> None:
    async with echo() as e:
        await e.talk(b"GET http://t/a/b?c=d HTTP/1.1\r\nhost: t\r\n" + CLOSE + b"\r\n")
        assert (e.requests[0].path, e.requests[0].query) == ("/a/b", b"c=d")


async def test_head_gets_no_body() -> None:
    async with echo() as e:
        answer = await e.talk(b"HEAD / HTTP/1.1\r\nhost: t\r\n" + CLOSE + b"\r\n")
        assert answer.endswith(b"\r\n\r\n")


async def test_a_head_that_does_not_end_in_time_gets_a_408() -> None:
    async with echo(Limits(header_timeout_s=0.3)) as e:
        check_refusal(await e.talk(b"POST / HTTP/1.1\r\nhost:"), 408)


async def test_a_body_that_does_not_end_in_time_gets_a_408() -> None:
    async with echo(Limits(body_timeout_s=0.3)) as e:
        check_refusal(await e.talk(post(b"abc")[:-1]), 408)


async def test_a_silent_connection_is_closed() -> None:
    async with echo(Limits(header_timeout_s=0.3)) as e:
        assert await e.talk(b"") == b""
    async with echo(Limits(idle_timeout_s=0.1)) as e:
        assert status(await e.talk(post(b"abc"))) == 200
        assert e.server.connections == 0


async def test_a_request_that_is_being_answered_outlasts_the_idle_timeout() -> None:
    limits = Limits(idle_timeout_s=0.3, header_timeout_s=0.3, body_timeout_s=0.3)
    async with echo(limits) as e:
        reader, writer = await e.connect()
        writer.write(post(b"", path=b"/hold"))
        await e.holds(1)
        await asyncio.sleep(0.8)
        e.held[0].send(200, [], b"late")
        await asyncio.wait_for(reader.readuntil(b"late"), 30)
        writer.close()


async def test_a_client_that_never_reads_is_dropped() -> None:
    async with echo(Limits(write_timeout_s=0.2)) as e:
        _, writer = await e.connect()
        writer.write(post(b"", path=b"/hold"))
        await e.holds(1)
        held = e.held[0]
        held.start(200, [])
        while not held.paused:
            held.write(b"x" * 100_000)
            await asyncio.sleep(0)
        async with asyncio.timeout(30.0):
            await held.drain()
        assert held.closed
        assert e.gone == 1
        writer.close()


@pytest.mark.parametrize("how", ["close", "half", "reset"])
async def test_a_client_that_leaves_is_noticed_before_its_answer(how: str) -> None:
    async with echo() as e:
        _, writer = await e.connect()
        writer.write(post(b"", path=b"/hold"))
        await e.holds(1)
        if how == "half":
            writer.write_eof()
        elif how == "close":
            writer.close()
        else:
            writer.transport.abort()
        async with asyncio.timeout(30.0):
            while not e.gone:
                await asyncio.sleep(0.01)
        e.held[0].send(200, [], b"nobody reads this")
        assert e.held[0].closed
        writer.close()


async def test_a_handler_that_raises_answers_500() -> None:
    async with echo() as e:
        answer = await e.talk(post(b"", CLOSE, path=b"/raise"))
        assert status(answer) == 500
        assert b"bug" not in answer


async def test_a_small_answer_is_sent_at_once() -> None:
    # With Nagle's algorithm on, the second of two small writes waits for the peer's delayed ACK.
    async with echo() as e:
        reader, writer = await e.connect()
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        loop = asyncio.get_running_loop()
        took_s = []
        for number in range(10):
            began = loop.time()
            writer.write(post(b"", path=b"/hold"))
            await e.holds(number + 1)
            held = e.held[-1]
            held.start(200, [])
            for _ in range(3):
                held.write(b"x")
                await asyncio.sleep(0.001)
            held.finish()
            await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 30)
            took_s.append(loop.time() - began)
        # Each waits 40 ms then; a busy machine makes only some of them late.
        assert sorted(took_s)[2] < 0.03
        writer.close()


async def test_the_pool_keeps_connections_and_drops_idle_ones() -> None:
    async with echo() as e:
        pool = Pool("127.0.0.1", e.server.port, idle_timeout_s=0.2)
        for _ in range(5):
            assert (await pool.request("POST", "/", (), b"abc", timeout_s=30)).body == b"abc"
        assert pool.connections == 1
        await asyncio.gather(*(pool.request("GET", "/", timeout_s=30) for _ in range(4)))
        assert pool.connections == 4
        async with asyncio.timeout(30.0):
            while pool.connections:
                await asyncio.sleep(0.05)
        pool.close()


async def test_the_pool_says_what_went_wrong() -> None:
    async with echo() as e:
        pool = Pool("127.0.0.1", e.server.port)
        with pytest.raises(DeadlineError):
            await pool.request("GET", "/hold", timeout_s=0.2)
        assert pool.connections == 0
        e.held.clear()
        task = asyncio.create_task(pool.request("GET", "/hold", timeout_s=30))
        await e.holds(1)
        e.held[0].start(200, [(b"content-length", b"10")])
        e.held[0].write(b"short")
        e.held[0].abort()
        with pytest.raises(BrokenError):
            await task
        port = e.server.port
        pool.close()
    with pytest.raises(ConnectError):
        await Pool("127.0.0.1", port).request("GET", "/", timeout_s=30)


async def test_a_request_cancelled_just_as_it_is_connected_leaves_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connected = ClientConnection.connection_made

    def then_cancel(connection: ClientConnection, transport: asyncio.BaseTransport) -> None:
        connected(connection, transport)
        task.cancel()

    monkeypatch.setattr(ClientConnection, "connection_made", then_cancel)
    async with echo() as e:
        pool = Pool("127.0.0.1", e.server.port)
        task = asyncio.create_task(pool.request("GET", "/", timeout_s=30))
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(30.0):
            while pool.connections or e.server.connections:
                await asyncio.sleep(0.01)
        assert not e.requests
        pool.close()


async def test_a_cancelled_request_breaks_its_connection() -> None:
    async with echo() as e:
        pool = Pool("127.0.0.1", e.server.port)
        task = asyncio.create_task(pool.request("GET", "/hold", timeout_s=30))
        await e.holds(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(30):
            while not e.gone:
                await asyncio.sleep(0.01)
        assert pool.connections == 0
        pool.close()


class _Keeper(Sink):
    def __init__(self, stop_after: int | None = None) -> None:
        self.data: list[bytes] = []
        self.ended = False
        self._stop_after = stop_after

    def on_data(self, data: bytes) -> None:
        self.data.append(data)
        if len(self.data) == self._stop_after:
            self.abort()

    def on_end(self) -> None:
        self.ended = True


async def test_a_sink_gets_the_pieces_as_they_come_and_may_stop() -> None:
    async def drip(responder: Responder) -> None:
        responder.start(200, [])
        for piece in (b"one", b"two", b"three"):
            responder.write(piece)
            await asyncio.sleep(0.02)
        responder.finish()

    tasks = set()

    def handle(request: Request, responder: Responder) -> None:
        task = asyncio.ensure_future(drip(responder))
        tasks.add(task)

    async with await serve(handle, "127.0.0.1", 0) as server:
        pool = Pool("127.0.0.1", server.port)
        patience = Patience(first_byte_s=30, idle_s=30)
        keeper = _Keeper()
        await pool.stream("GET", "/", (), b"", keeper, patience=patience)
        assert (keeper.data, keeper.ended) == ([b"one", b"two", b"three"], True)
        raw = _Keeper()
        await pool.stream("GET", "/", (), b"", raw, patience=patience, raw=True)
        assert b"".join(raw.data) == b"3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n"
        stopped = _Keeper(stop_after=2)
        with pytest.raises(BrokenError):
            await pool.stream("GET", "/", (), b"", stopped, patience=patience)
        assert (stopped.data, stopped.ended) == ([b"one", b"two"], False)
        pool.close()
