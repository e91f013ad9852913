"""What the bus makes of every answer that a NATS server gives, or does not give."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from tests.unit.runtime.nats_script import (
    HANG_UP,
    NOBODY,
    SILENCE,
    ScriptedServer,
    ack,
    error,
    message,
)
from weir.domain.errors import StaleRevisionError, UnavailableError
from weir.runtime.bus import Bus
from weir.runtime.names import BoundedStream

_KEY = "$KV.b.k"
_GET = "$JS.API.STREAM.MSG.GET.KV_b"
_CREATE = "$JS.API.STREAM.CREATE.KV_b"
_LOG = BoundedStream(name="s", subjects=("s.*",), max_age_s=1.0, max_bytes=1)

_IN_FLIGHT = error(400, 10164, "wrong last sequence")
_AWAY = error(503, 10008, "JetStream system temporarily unavailable")
_NO_MESSAGE = error(404, 10037, "no message found")
_EXISTS = error(400, 10058, "stream name already in use with a different configuration")
_NOT_CLUSTERED = error(500, 10074, "replicas > 1 not supported in non-clustered mode")
_STATE = dict.fromkeys(("messages", "bytes", "first_seq", "last_seq", "consumer_count"), 0)
_MADE = json.dumps({"config": {"name": "KV_b"}, "state": _STATE}).encode()


def newest(revision: int) -> bytes:
    return error(400, 10071, f"wrong last sequence: {revision}")


@asynccontextmanager
async def answered(answers: Iterable[bytes]) -> AsyncIterator[tuple[Bus, ScriptedServer]]:
    async with ScriptedServer(answers).running() as server:
        bus = await Bus.connect(server.url, name="test")
        try:
            yield bus, server
        finally:
            await bus.close()


async def update(*answers: bytes, revision: int = 7) -> tuple[int | str, list[str]]:
    """What the caller is told, and the requests that it took."""
    async with answered(answers) as (bus, server):
        told: int | str
        try:
            told = await bus.kv_update("b", "k", b"v", revision, timeout_s=1.0)
        except StaleRevisionError:
            told = "stale"
        except UnavailableError:
            told = "unavailable"
        return told, server.requests


async def test_a_write_that_is_acknowledged_gives_its_revision_in_one_round_trip() -> None:
    assert await update(ack(9)) == (9, [_KEY])


async def test_a_newer_revision_is_the_only_proof_of_having_lost() -> None:
    assert await update(newest(8)) == ("stale", [_KEY])


async def test_a_server_that_knows_less_than_the_caller_proves_nothing() -> None:
    assert await update(newest(6)) == ("unavailable", [_KEY])
    assert await update(newest(0)) == ("unavailable", [_KEY])


async def test_a_write_in_flight_is_waited_for() -> None:
    assert await update(_IN_FLIGHT, _IN_FLIGHT, newest(8)) == ("stale", [_KEY] * 3)
    assert await update(_IN_FLIGHT, ack(9)) == (9, [_KEY] * 2)


async def test_a_write_in_flight_that_stays_there_leaves_it_open() -> None:
    told, requests = await update(_IN_FLIGHT)
    assert told == "unavailable"
    assert len(requests) > 1


@pytest.mark.parametrize(
    "answer",
    [
        _AWAY,
        error(500, 10118, "stream is offline"),
        error(400, 10077, "maximum messages exceeded"),
        b"not JSON",
        b"{}",
    ],
)
async def test_any_other_answer_leaves_it_open(answer: bytes) -> None:
    assert await update(answer) == ("unavailable", [_KEY])


async def test_a_bucket_is_made_when_nobody_listens_and_the_write_sent_again() -> None:
    assert await update(NOBODY, _MADE, ack(1), revision=0) == (1, [_KEY, _CREATE, _KEY])


async def test_a_lone_server_holds_the_only_copy() -> None:
    told, requests = await update(NOBODY, _NOT_CLUSTERED, _MADE, ack(1), revision=0)
    assert (told, requests) == (1, [_KEY, _CREATE, _CREATE, _KEY])


async def test_a_bucket_without_a_leader_is_waited_for_within_the_deadline() -> None:
    assert await update(NOBODY, _EXISTS, NOBODY, ack(9)) == (9, [_KEY, _CREATE, _KEY, _KEY])
    told, requests = await update(NOBODY, _EXISTS, NOBODY)
    assert told == "unavailable"
    assert requests.count(_CREATE) == 1


async def test_a_key_that_exists_cannot_be_created() -> None:
    told, _ = await update(newest(4), message(_KEY, 4, b"x"), revision=0)
    assert told == "stale"


async def test_a_deleted_key_can_be_created_again_unless_somebody_else_does() -> None:
    deleted = message(_KEY, 4, b"", "KV-Operation: DEL")
    assert await update(newest(4), deleted, ack(5), revision=0) == (5, [_KEY, _GET, _KEY])
    assert (await update(newest(4), deleted, newest(5), revision=0))[0] == "stale"


async def test_a_key_whose_creation_is_in_flight_is_waited_for() -> None:
    told, _ = await update(_IN_FLIGHT, _NO_MESSAGE, ack(1), revision=0)
    assert told == 1


async def test_no_answer_is_unavailable_within_the_deadline_and_costs_nothing_later() -> None:
    async with answered([SILENCE, ack(9)]) as (bus, server):
        began = time.monotonic()
        with pytest.raises(UnavailableError):
            await bus.kv_update("b", "k", b"v", 7, timeout_s=0.2)
        assert 0.2 <= time.monotonic() - began < 2.0
        assert await bus.kv_update("b", "k", b"v", 7) == 9
        assert server.requests == [_KEY, _KEY]


async def test_a_connection_that_breaks_fails_the_calls_under_way_at_once() -> None:
    async with answered([SILENCE, HANG_UP]) as (bus, server):
        first = asyncio.create_task(bus.kv_update("b", "k", b"v", 7, timeout_s=60.0))
        while not server.requests:
            await asyncio.sleep(0.01)
        began = time.monotonic()
        for call in (bus.kv_get("b", "k", timeout_s=60.0), first):
            with pytest.raises(UnavailableError, match="connection broke"):
                await call
        assert time.monotonic() - began < 30.0


async def test_a_read_asks_the_leader_and_tells_what_is_not_there_from_what_is_not_known() -> None:
    async with answered([message(_KEY, 4, b"x"), _NO_MESSAGE, _AWAY]) as (bus, server):
        assert await bus.kv_get("b", "k") == (b"x", 4)
        assert await bus.kv_get("b", "k") is None
        with pytest.raises(UnavailableError):
            await bus.kv_get("b", "k")
        assert server.requests == [_GET] * 3


async def test_a_stream_is_made_when_nobody_listens() -> None:
    async with answered([NOBODY, _MADE, ack(1), ack(2)]) as (bus, server):
        assert await bus.record(_LOG, "s.a", b"1") == 1
        assert await bus.record(_LOG, "s.a", b"2") == 2
        assert server.requests == ["s.a", "$JS.API.STREAM.CREATE.s", "s.a", "s.a"]


async def test_messages_name_the_server_without_its_password() -> None:
    bus = await Bus.connect("nats://me:secret@127.0.0.1:1,nats://127.0.0.1:2", name="t", wait_s=0.0)
    with pytest.raises(UnavailableError, match=r"nats://127\.0\.0\.1:1,nats://127\.0\.0\.1:2 is"):
        await bus.kv_get("b", "k")
    await bus.close()
