"""Whatever engines answer and whenever clients leave, nobody gets what was meant for another.

Every request carries a nonce, and every byte that an engine answers is marked with the nonce of
the request that it belongs to.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from hypothesis import example, given, settings
from hypothesis import strategies as st

from router.core.flight import Flight
from router.core.request import Leg, Outcome, Route, Shed
from tests.integration.frontend.strict import take_responses
from tests.integration.frontend.world import (
    EVENT_STREAM,
    LAST,
    Client,
    Received,
    ScriptedService,
    World,
    chunk,
    engine,
    event,
    whole,
    world,
)
from weir.domain.ids import WorkerId
from weir.domain.planning import WorkerEndpoint

_DEADLINE_S = 30.0
_NONCE = re.compile(rb"nonce-\d+")


class Answer(Enum):
    """How an engine answers."""

    WHOLE = "a whole response"
    STREAM = "a stream"
    SLOW_STREAM = "a stream that takes its time"
    LATE = "a whole response, late"
    HINTED = "informational responses first"
    UNTIL_CLOSE = "a response that ends with its connection"
    CLOSING = "a response after which it means to close, but does not"
    EXTRA = "more bytes than announced"
    TWICE = "two responses"
    STREAM_TWICE = "two streams"
    AFTERTHOUGHT = "bytes a little later that nobody asked for"
    SHORT = "fewer bytes than announced, then a close"
    CUT = "a stream that ends within a chunk"
    WRONG_CHUNK = "a chunk that is longer than its size"
    NO_HTTP = "something that is not HTTP"
    SILENT_CLOSE = "nothing, and a close"
    BUSY = "a 503"
    BROKEN = "a 500"
    RESET = "a stream, and a reset within it"


@dataclass(frozen=True)
class Ask:
    """`leave_after_s`: the client goes then, whether it has its answer or not."""

    answer: Answer
    turn: int
    """Which of the request's visits to an engine is answered so; all others as they should."""
    streaming: bool
    behind: bool
    """Sent right behind the one before, without waiting for its answer."""
    leave_after_s: float | None


class Engines:
    """`seen` counts how often each request has come."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    async def behave(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Received
    ) -> None:
        nonce = request.json["nonce"]
        params = request.json.get("kv_transfer_params")
        assert request.headers["x-request-id"] == nonce
        assert params is None or params.get("nonce", nonce) == nonce, "KV of another request"
        self.seen[nonce] += 1
        asked = self.seen[nonce] == request.json["turn"]
        await _answer(Answer(request.json["answer"]) if asked else Answer.WHOLE, nonce, writer)


def _whole(nonce: str) -> bytes:
    return whole(
        json.dumps({"id": nonce, "kv_transfer_params": {"nonce": nonce}}).encode(),
        extra=b"x-nonce: %b\r\n" % nonce.encode(),
    )


def _stream(nonce: str) -> list[bytes]:
    events = [chunk(event({"choices": [{"text": f"{nonce} {number}"}]})) for number in range(3)]
    return [EVENT_STREAM, *events, chunk(event("[DONE]")), LAST]


async def _answer(answer: Answer, nonce: str, writer: asyncio.StreamWriter) -> None:
    good, stream, mark = _whole(nonce), _stream(nonce), nonce.encode()
    head = b"HTTP/1.1 200 OK\r\n"
    match answer:
        case Answer.WHOLE:
            writer.write(good)
        case Answer.STREAM:
            writer.write(b"".join(stream))
        case Answer.SLOW_STREAM:
            for piece in stream:
                writer.write(piece)
                await asyncio.sleep(0.003)
        case Answer.LATE:
            await asyncio.sleep(0.01)
            writer.write(good)
        case Answer.HINTED:
            writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: %b\r\n\r\n" % mark)
            await asyncio.sleep(0.001)
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" + good)
        case Answer.UNTIL_CLOSE:
            writer.write(head + b'connection: close\r\n\r\n{"id":"%b"}' % mark)
            raise ConnectionError
        case Answer.CLOSING:
            writer.write(good.replace(b"\r\n", b"\r\nconnection: close\r\n", 1))
        case Answer.EXTRA:
            writer.write(good + b"and %b" % mark)
        case Answer.TWICE:
            writer.write(good + good)
        case Answer.STREAM_TWICE:
            writer.write(b"".join(stream + stream))
        case Answer.AFTERTHOUGHT:
            writer.write(good)
            await asyncio.sleep(0.002)
            writer.write(b"%b was not all\r\n\r\n" % mark)
        case Answer.SHORT:
            writer.write(good[:-5])
            raise ConnectionError
        case Answer.CUT:
            writer.write(b"".join(stream)[:-40])
            raise ConnectionError
        case Answer.WRONG_CHUNK:
            writer.write(EVENT_STREAM + b"5\r\n%b\r\n" % event(nonce) + LAST)
        case Answer.NO_HTTP:
            writer.write(b"%b\r\n\r\n" % mark)
        case Answer.SILENT_CLOSE:
            raise ConnectionError
        case Answer.BUSY:
            writer.write(good.replace(b"200 OK", b"503 Busy", 1))
        case Answer.BROKEN:
            writer.write(good.replace(b"200 OK", b"500 Broken", 1))
        case Answer.RESET:
            writer.write(b"".join(stream[:2]))
            await writer.drain()
            writer.transport.abort()
            raise ConnectionError


class RoundRobin(ScriptedService):
    """Each request to the next worker that it has not tried."""

    def __init__(
        self,
        decode: Sequence[WorkerEndpoint],
        prefill: Sequence[WorkerEndpoint] = (),
        shed: Shed | None = None,
    ) -> None:
        super().__init__(decode, prefill, shed)
        self._turn = 0
        self._all = list(decode), list(prefill)

    async def place(
        self,
        flight: Flight,
        exclude: frozenset[WorkerId] = frozenset(),
        prefilled: Leg | None = None,
    ) -> Route | Shed:
        self._turn += 1
        self._decode, self._prefill = (self._next(workers, exclude) for workers in self._all)
        return await super().place(flight, exclude, prefilled)

    def _next(
        self, workers: list[WorkerEndpoint], exclude: frozenset[WorkerId]
    ) -> list[WorkerEndpoint]:
        untried = [worker for worker in workers if worker.id not in exclude] or workers
        return [untried[self._turn % len(untried)]] if untried else []


async def _visit(w: World, asks: Sequence[Ask], first: int) -> None:
    """One client's connection: send, read, perhaps leave; then look at all that came."""
    client = await w.connect()
    got = bytearray()
    sent, left, asked = 0, False, list(asks)
    while asked and not left:
        together = [asked.pop(0)]
        while asked and asked[0].behind:
            together.append(asked.pop(0))
        for ask in together:
            _send(client, ask, f"nonce-{first + sent}")
            sent += 1
        patience = min(
            (a.leave_after_s for a in together if a.leave_after_s is not None), default=None
        )
        if patience is None:
            left = not await _read_until(client, got, sent)
        else:
            await _read_for(client, got, patience)
            left = True
    client.writer.transport.abort()
    _check(bytes(got), [f"nonce-{number}" for number in range(first, first + sent)])


def _send(client: Client, ask: Ask, nonce: str) -> None:
    messages = [{"role": "user", "content": nonce}]
    body = {"model": "m", "messages": messages, "nonce": nonce}
    body |= {"answer": ask.answer.value, "turn": ask.turn, "stream": ask.streaming}
    client.send(body, headers=f"x-request-id: {nonce}\r\n")


async def _read_until(client: Client, got: bytearray, count: int) -> bool:
    """Read until so many responses are complete; False if the server closed before or after."""
    async with asyncio.timeout(_DEADLINE_S):
        while True:
            taken = take_responses(bytes(got), closed=False)
            if len(taken) >= count and taken[-1].complete:
                return taken[-1].headers.get("connection") != "close"
            piece = await _read(client)
            if not piece:
                return False
            got += piece


async def _read(client: Client) -> bytes:
    try:
        return await client.reader.read(65536)
    except ConnectionError:  # the server had closed when the next request came
        return b""


async def _read_for(client: Client, got: bytearray, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            while piece := await _read(client):
                got += piece
    except TimeoutError:
        pass


def _check(got: bytes, nonces: list[str]) -> None:
    taken = take_responses(got, closed=True)
    assert len(taken) <= len(nonces)
    for response, nonce in zip(taken, nonces, strict=False):
        told = set(_NONCE.findall(response.payload)) | set(
            _NONCE.findall(repr(response.headers).encode())
        )
        assert told == {nonce.encode()}, f"{nonce} was answered with {told}"
        assert response.headers["x-request-id"] == nonce


asks = st.builds(
    Ask,
    st.sampled_from(Answer),
    st.sampled_from([1, 1, 2]),
    st.booleans(),
    st.sampled_from([False, False, True]),
    st.sampled_from([None, None, None, 0.0, 0.002, 0.006]),
)
visits = st.lists(st.lists(asks, min_size=1, max_size=5), min_size=2, max_size=5)


WHOLE = Ask(Answer.WHOLE, 1, False, False, None)
GONE = Ask(Answer.LATE, 1, False, False, 0.002)


@given(visits, st.booleans())
@example([[GONE], [WHOLE] * 12, [WHOLE] * 12], False)
@example([[GONE], [WHOLE] * 12, [WHOLE] * 12], True)
@settings(max_examples=60, deadline=None)
async def test_each_client_gets_only_what_was_answered_to_it(
    clients: list[list[Ask]], two_legs: bool
) -> None:
    engines = Engines()
    async with (
        engine(engines.behave, "a") as a,
        engine(engines.behave, "b") as b,
        engine(engines.behave, "p") as p,
        world([a, b], [p] if two_legs else [], service=RoundRobin) as w,
    ):
        await asyncio.gather(
            *(_visit(w, visit, 100 * index) for index, visit in enumerate(clients))
        )
        await _visit(w, [WHOLE], 9_000)
        async with asyncio.timeout(_DEADLINE_S):
            for flight in w.service.flights:
                await flight.done.wait()
        assert w.flight.outcome is Outcome.COMPLETED
