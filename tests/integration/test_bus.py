"""The bus against a real NATS server that is killed and started again."""

import asyncio
from collections.abc import Awaitable, Callable

import nats
import pytest

import weir.runtime.watch
from tests.integration.nats_process import Server, eventually
from weir.domain.errors import StaleRevisionError, UnavailableError
from weir.runtime.bus import Bus
from weir.runtime.names import BoundedStream


@pytest.fixture
def server(nats: Server) -> Server:
    return nats


async def retried(call: Callable[[], Awaitable[int]], timeout_s: float = 30.0) -> int:
    async with asyncio.timeout(timeout_s):
        while True:
            try:
                return await call()
            except UnavailableError:
                await asyncio.sleep(0.05)


async def test_published_payloads_reach_subscribers(server: Server) -> None:
    bus = await Bus.connect(server.url, name="test")
    got: list[bytes] = []
    await bus.subscribe("a.*", got.append)
    bus.publish("a.b", b"1")
    await eventually(lambda: got == [b"1"])
    await bus.close()


async def test_compare_and_set_refuses_a_stale_revision(server: Server) -> None:
    bus = await Bus.connect(server.url, name="test")
    assert await bus.kv_get("t", "k") is None
    first = await bus.kv_update("t", "k", b"1", 0)
    assert await bus.kv_get("t", "k") == (b"1", first)
    second = await bus.kv_update("t", "k", b"2", first)
    with pytest.raises(StaleRevisionError):
        await bus.kv_update("t", "k", b"3", first)
    with pytest.raises(StaleRevisionError):
        await bus.kv_update("t", "k", b"3", 0)
    assert await bus.kv_get("t", "k") == (b"2", second)
    await bus.close()


async def test_a_late_write_fits_nothing_in_a_bucket_that_was_lost_since(server: Server) -> None:
    bus = await Bus.connect(server.url, name="test")
    before = await bus.kv_update("t", "k", b"mine", 0)
    other = await nats.connect(server.url)
    await other.jetstream().delete_key_value("t")
    await other.close()
    assert await retried(lambda: bus.kv_update("t", "k", b"another's", 0)) > before
    with pytest.raises(StaleRevisionError):
        await bus.kv_update("t", "k", b"mine, late", before)
    await bus.close()


async def test_who_makes_a_bucket_at_once_with_others_finds_it_made(server: Server) -> None:
    buses = [await Bus.connect(server.url, name=f"test-{i}") for i in range(4)]
    for bucket in "abcdefgh":
        puts = (bus.kv_put(bucket, f"k{i}", b"1") for i, bus in enumerate(buses))
        assert len({*await asyncio.gather(*puts)}) == 4
    for bus in buses:
        await bus.close()


async def test_everything_works_again_after_the_server_was_killed(server: Server) -> None:
    bus = await Bus.connect(server.url, name="test")
    messages: list[bytes] = []
    values: dict[str, bytes | None] = {}
    await bus.subscribe("s", messages.append)
    await bus.kv_put("b", "kept", b"1")
    await bus.kv_watch("b", values.__setitem__)
    await eventually(lambda: values == {"kept": b"1"})

    server.kill()
    await eventually(lambda: not bus.connected)
    bus.publish("s", b"lost")
    assert bus.dropped == 1
    with pytest.raises(UnavailableError):
        await bus.kv_put("b", "k", b"x", timeout_s=0.5)

    server.start()
    await retried(lambda: bus.kv_put("b", "new", b"2"))
    await eventually(lambda: values == {"kept": b"1", "new": b"2"})
    bus.publish("s", b"back")
    await eventually(lambda: messages == [b"back"])
    await bus.close()


async def test_a_watch_outlives_its_bucket(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weir.runtime.watch, "_ANEW_S", 0.5)
    bus = await Bus.connect(server.url, name="test")
    values: dict[str, bytes | None] = {}
    for value in (b"1", b"2", b"3"):
        await bus.kv_put("b", "k", value)
    await bus.kv_watch("b", values.__setitem__)
    await eventually(lambda: values == {"k": b"3"})
    other = await nats.connect(server.url)
    await other.jetstream().delete_key_value("b")
    await other.close()
    await retried(lambda: bus.kv_put("b", "k", b"new"))
    await eventually(lambda: values == {"k": b"new"})
    await bus.close()


async def test_connect_returns_while_the_server_is_away_and_connects_later(
    server: Server,
) -> None:
    server.kill()
    bus = await Bus.connect(server.url, name="test", wait_s=0.1)
    messages: list[bytes] = []
    values: dict[str, bytes | None] = {}
    await bus.subscribe("s", messages.append)
    await bus.kv_watch("b", values.__setitem__)
    assert not bus.connected
    server.start()
    await eventually(lambda: bus.connected)
    await retried(lambda: bus.kv_put("b", "k", b"v"))
    await eventually(lambda: values == {"k": b"v"})
    bus.publish("s", b"1")
    await eventually(lambda: messages == [b"1"])
    await bus.close()


async def test_the_newest_records_are_recalled_however_sparse_they_are(server: Server) -> None:
    bus = await Bus.connect(server.url, name="test")
    log = BoundedStream(name="log", subjects=("log.*",), max_age_s=60.0, max_bytes=2**20)
    assert await bus.recall(log, "log.*", 5) == []
    rare = {3, 4, 5, 40, 260, 261}
    for number in range(300):
        kind = "rare" if number in rare else "often"
        await bus.record(log, f"log.{kind}", b"%d" % number)

    def last(count: int, numbers: list[int]) -> list[bytes]:
        return [b"%d" % number for number in numbers[-count:]]

    for count in (1, 2, 3, 4, 6, 7, 50):
        assert await bus.recall(log, "log.rare", count) == last(count, sorted(rare))
    for count in (1, 7, 299, 300, 1000):
        assert await bus.recall(log, "log.*", count) == last(count, list(range(300)))
    assert await bus.recall(log, "log.none", 3) == []
    await bus.close()


async def test_a_stream_keeps_no_more_than_its_bytes(server: Server) -> None:
    bus = await Bus.connect(server.url, name="test")
    log = BoundedStream(name="log", subjects=("log.*",), max_age_s=60.0, max_bytes=10_000)
    for number in range(30):
        await bus.record(log, "log.a", b"%4d" % number + bytes(1000))
    kept = [int(payload[:4]) for payload in await bus.recall(log, "log.a", 100)]
    assert 5 < len(kept) < 10
    assert kept == list(range(30))[-len(kept) :]
    await bus.close()
