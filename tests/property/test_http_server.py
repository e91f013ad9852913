"""Whatever a client sends, in whatever pieces, the server neither raises nor gets out of step."""

import asyncio
import itertools
import re
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.http1.fake_transport import FakeTransport
from weir.http1.connection import ServerConnection
from weir.http1.deadlines import Connections
from weir.http1.messages import Limits, Request
from weir.http1.responder import Responder

LIMITS = Limits(max_body_bytes=64, max_header_bytes=512, max_headers=8)

names = st.sampled_from(
    [b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"upgrade", b"x"]
)
values = st.one_of(
    st.sampled_from(
        [b"0", b"3", b"64", b"65", b"chunked", b"close", b"keep-alive", b"100-continue", b"h2c"]
    ),
    st.binary(max_size=12),
)
heads = st.builds(
    lambda method, target, version, fields: b"".join(
        [method, b" ", target, b" HTTP/", version, b"\r\n"]
        + [name + b": " + value + b"\r\n" for name, value in fields]
        + [b"\r\n"]
    ),
    st.sampled_from([b"GET", b"POST", b"HEAD", b"CONNECT", b"PRI", b"get"]),
    st.sampled_from([b"/", b"/a?b", b"*", b"http://x/y", b"x:1", b""]),
    st.sampled_from([b"1.1", b"1.0", b"2.0", b"0.9", b"1"]),
    st.lists(st.tuples(names, values), max_size=5),
)
bodies = st.sampled_from([b"", b"abc", b"3\r\nabc\r\n", b"0\r\n\r\n", b"x" * 70, b"\r\n"])
streams = st.lists(st.one_of(heads, bodies, st.binary(max_size=40)), max_size=8).map(b"".join)


class Server:
    """Answers each request with its number, at once or (`patient`) when told to."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, patient: bool) -> None:
        self.requests: list[Request] = []
        self.waiting: list[Responder] = []
        self.patient = patient
        self.connection = ServerConnection(self.handle, LIMITS, Connections(loop), loop)
        self.transport = FakeTransport(self.connection)
        self.connection.connection_made(self.transport)

    def handle(self, request: Request, responder: Responder) -> None:
        assert len(request.body) <= LIMITS.max_body_bytes
        self.requests.append(request)
        if self.patient:
            self.waiting.append(responder)
        else:
            responder.send(200, [], b"%d" % len(self.requests))

    def feed(self, data: bytes, cuts: list[int]) -> None:
        edges = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
        for low, high in itertools.pairwise(edges):
            if not self.transport.closed:
                self.connection.data_received(data[low:high])

    def answer_all(self) -> None:
        while self.waiting:
            self.waiting.pop(0).send(200, [], b"%d" % len(self.requests))

    @property
    def statuses(self) -> list[int]:
        return [int(found) for found in STATUS_LINE.findall(self.transport.written)]


cut_lists = st.lists(st.integers(0, 400), max_size=6)


STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Z][A-Za-z ]+\r\n")
LOOP = asyncio.new_event_loop()


@given(streams, cut_lists, st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_answered_or_awaited_and_never_raise(
    data: bytes, cuts: list[int], patient: bool
) -> None:
    server = Server(LOOP, patient=patient)
    server.feed(data, cuts)
    server.answer_all()
    statuses = [status for status in server.statuses if status != 100]
    refusals = [status for status in statuses if status != 200]
    assert statuses.count(200) <= len(server.requests)
    assert len(refusals) <= 1, "nothing is read after a request that was refused"
    assert statuses[:-1].count(200) == len(statuses[:-1])
    ended = server.transport.closed or server.transport.half_closed
    assert ended or server.connection.deadline < inf, "it would wait forever"


@given(streams, cut_lists)
@settings(max_examples=200, deadline=None)
def test_where_the_pieces_are_cut_makes_no_difference(data: bytes, cuts: list[int]) -> None:
    whole, cut = Server(LOOP, patient=False), Server(LOOP, patient=False)
    whole.feed(data, [])
    cut.feed(data, cuts)
    assert [r.body for r in cut.requests] == [r.body for r in whole.requests]
    assert [r.path for r in cut.requests] == [r.path for r in whole.requests]
    ends = [s for s in whole.statuses if s != 100], [s for s in cut.statuses if s != 100]
    assert ends[0] == ends[1]


@given(
    st.lists(st.tuples(st.binary(max_size=60), st.booleans()), min_size=1, max_size=6), cut_lists
)
@settings(max_examples=100, deadline=None)
def test_good_requests_arrive_complete_and_in_order(
    sent: list[tuple[bytes, bool]], cuts: list[int]
) -> None:
    def encode(body: bytes, chunked: bool) -> bytes:
        if not chunked:
            return b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        chunks = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        head = b"POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n"
        return head + chunks + b"0\r\n\r\n"

    server = Server(LOOP, patient=True)
    server.feed(b"".join(encode(*each) for each in sent), cuts)
    server.answer_all()
    assert [request.body for request in server.requests] == [body for body, _ in sent]
    assert server.statuses == [200] * len(sent)
