"""The bus on a real NATS cluster whose nodes are killed and frozen."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

import nats
import pytest
import pytest_asyncio

from tests.integration.nats_cluster import Cluster
from tests.integration.nats_process import eventually
from weir.domain.errors import StaleRevisionError, UnavailableError
from weir.runtime.bus import Bus
from weir.runtime.names import BoundedStream

_ELECTION_S = 40.0
"""Nodes call for an election 4 to 9 s after they last heard of their leader, and may need two.

Twice that where the machine is busy.
"""
_FOLLOWERS_ANSWER_S = 3.0
"""After that long the followers of a new stream answer direct gets, each of which one node gets."""

Connect = Callable[..., Awaitable[Bus]]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    yield from Cluster.running(tmp_path_factory.mktemp("nats"))


@pytest.fixture
def cluster(running: Cluster) -> Iterator[Cluster]:
    """One for all tests, each of which finds it whole."""
    yield running
    running.mend()


@pytest.fixture
def bucket(request: pytest.FixtureRequest) -> str:
    """One that no other test has."""
    return f"b{abs(hash(request.node.name)):x}"


@pytest_asyncio.fixture
async def connect() -> AsyncIterator[Connect]:
    """Connects buses that the test's end closes."""
    async with AsyncExitStack() as ending:

        async def connected(url: str, name: str = "test") -> Bus:
            bus = await Bus.connect(url, name=name)
            ending.push_async_callback(bus.close)
            return bus

        yield connected


async def until(call: Callable[[], Awaitable[int]], timeout_s: float = _ELECTION_S) -> int:
    async with asyncio.timeout(timeout_s):
        while True:
            try:
                return await call()
            except UnavailableError:
                await asyncio.sleep(0.05)


async def test_what_the_bus_makes_in_a_cluster_has_three_copies(
    cluster: Cluster, bucket: str, connect: Connect
) -> None:
    bus = await connect(cluster.urls)
    stream = BoundedStream(name="s", subjects=("s.*",), max_age_s=60.0, max_bytes=2**20)
    await until(lambda: bus.kv_put(bucket, "k", b"1"))
    await until(lambda: bus.record(stream, "s.a", b"1"))
    client = await nats.connect(cluster.url("n1"))
    for name in (f"KV_{bucket}", "s"):
        config = (await client.jetstream().stream_info(name)).config
        assert config.num_replicas == 3
        assert not config.allow_direct
    await client.close()


async def test_a_read_shows_what_was_acknowledged_through_another_node(
    cluster: Cluster, bucket: str, connect: Connect
) -> None:
    writer, reader = await connect(cluster.url("n1")), await connect(cluster.url("n2"))
    await until(lambda: writer.kv_put(bucket, "k", b"0"))
    for number in range(200):
        revision = await writer.kv_put(bucket, "k", b"%d" % number)
        assert await reader.kv_get(bucket, "k") == (b"%d" % number, revision)


async def test_only_the_leader_answers_reads_even_where_the_bucket_allows_others(
    cluster: Cluster, bucket: str, connect: Connect
) -> None:
    raw = await nats.connect(cluster.url("n1"))
    await raw.jetstream().create_key_value(bucket=bucket, replicas=3, direct=True)
    await raw.close()
    leader = cluster.until_led(f"KV_{bucket}")
    other, follower = cluster.others(leader)
    reader = await connect(cluster.url(follower))
    newest = await until(lambda: reader.kv_put(bucket, "k", b"1"))
    await asyncio.sleep(_FOLLOWERS_ANSWER_S)

    async def answered() -> bool:
        try:
            return await reader.kv_get(bucket, "k", timeout_s=0.3) is not None
        except UnavailableError:
            return False

    for name in (leader, other):
        cluster.freeze(name)
    assert not any(await asyncio.gather(*(answered() for _ in range(30))))
    for name in (leader, other):
        cluster.thaw(name)
    assert await reader.kv_get(bucket, "k") == (b"1", newest)


async def test_a_write_without_a_majority_is_not_called_lost_and_happens_once(
    cluster: Cluster, bucket: str, connect: Connect
) -> None:
    bus = await connect(cluster.urls)
    first = await until(lambda: bus.kv_put(bucket, "k", b"first"))
    leader = cluster.until_led(f"KV_{bucket}")
    bus = await connect(cluster.url(leader))
    for follower in cluster.others(leader):
        cluster.freeze(follower)
    with pytest.raises(UnavailableError):
        await bus.kv_update(bucket, "k", b"second", first, timeout_s=0.5)
    assert await bus.kv_get(bucket, "k") == (b"first", first)
    with pytest.raises(UnavailableError, match="ahead"):
        await bus.kv_update(bucket, "k", b"third", first)
    for follower in cluster.others(leader):
        cluster.thaw(follower)

    with pytest.raises(StaleRevisionError):
        await until(lambda: bus.kv_update(bucket, "k", b"third", first))
    assert await bus.kv_get(bucket, "k") == (b"second", first + 1)


async def test_a_call_under_way_fails_at_once_when_its_node_dies_and_the_next_finds_another(
    cluster: Cluster, bucket: str, connect: Connect
) -> None:
    bus = await connect(cluster.urls, "victim")
    heard: list[bytes] = []
    await bus.subscribe("s", heard.append)
    await until(lambda: bus.kv_put(bucket, "k", b"1"))
    node = cluster.node_of("victim")
    assert node is not None
    cluster.freeze(node)
    call = asyncio.create_task(bus.kv_get(bucket, "k", timeout_s=60.0))
    await asyncio.sleep(0.1)
    began = time.monotonic()
    cluster.kill(node)
    with pytest.raises(UnavailableError, match="connection broke"):
        await call
    assert time.monotonic() - began < 30.0
    await until(lambda: bus.kv_put(bucket, "k", b"2"))
    bus.publish("s", b"back")
    await eventually(lambda: heard == [b"back"])


async def test_a_node_that_hangs_is_left_within_seconds(
    cluster: Cluster, bucket: str, connect: Connect
) -> None:
    first = await connect(cluster.urls)
    await until(lambda: first.kv_put(bucket, "k", b"1"))
    leader = cluster.until_led(f"KV_{bucket}")
    bus = await connect(",".join(cluster.url(name) for name in cluster.others(leader)), "victim")
    node = cluster.node_of("victim")
    assert node is not None and node != leader
    cluster.freeze(node)
    with pytest.raises(UnavailableError):
        await bus.kv_put(bucket, "k", b"2", timeout_s=0.2)
    await until(lambda: bus.kv_put(bucket, "k", b"2", timeout_s=0.2), timeout_s=30.0)


class Writer:
    """Adds its marks to a list kept under one key, by compare-and-set, against others."""

    def __init__(self, bus: Bus, bucket: str, name: str) -> None:
        self._bus = bus
        self._bucket = bucket
        self._name = name
        self.acknowledged: list[str] = []
        self.won: list[int] = []
        """Revisions that it has replaced."""
        self.stale = 0
        self.longest_gap_s = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        number, last_s = 0, time.monotonic()
        while not stop.is_set():
            number += 1
            mark = f"{self._name}{number}"
            try:
                value, revision = await self._bus.kv_get(self._bucket, "k", timeout_s=1.0) or (
                    b"",
                    0,
                )
                value += f" {mark}".encode()
                await self._bus.kv_update(self._bucket, "k", value, revision, timeout_s=1.0)
            except StaleRevisionError:
                self.stale += 1
            except UnavailableError:
                await asyncio.sleep(0.1)
            else:
                self.acknowledged.append(mark)
                self.won.append(revision)
                self.longest_gap_s = max(self.longest_gap_s, time.monotonic() - last_s)
                last_s = time.monotonic()
                await asyncio.sleep(0.003)


async def test_no_acknowledged_write_is_lost_when_the_leader_dies(
    cluster: Cluster, bucket: str, connect: Connect
) -> None:
    bus = await connect(cluster.urls)
    await until(lambda: bus.kv_put(bucket, "k", b""))
    leader = cluster.until_led(f"KV_{bucket}")
    survivors = cluster.others(leader)
    writers = [Writer(await connect(cluster.url(name)), bucket, name) for name in survivors]
    heard: list[dict[str, bytes | None]] = [{} for _ in range(6)]
    for values in heard:
        await (await connect(cluster.url(survivors[0]))).kv_watch(bucket, values.__setitem__)
    stop = asyncio.Event()
    running = [asyncio.create_task(writer.run(stop)) for writer in writers]

    async def until_each_has_written(count: int) -> None:
        enough = [len(writer.acknowledged) + count for writer in writers]
        await eventually(
            lambda: all(len(w.acknowledged) >= n for w, n in zip(writers, enough, strict=True)),
            timeout_s=_ELECTION_S,
        )

    await until_each_has_written(30)
    cluster.kill(leader)
    await until_each_has_written(30)
    await eventually(lambda: any(w.stale for w in writers), timeout_s=_ELECTION_S)  # they race
    stop.set()
    await asyncio.gather(*running)

    value, revision = await bus.kv_get(bucket, "k") or (b"", 0)
    # Watches on the node that died go on elsewhere.
    await eventually(lambda: all(values["k"] == value for values in heard))

    cluster.restart(leader)
    cluster.until_healthy()
    late = await connect(cluster.url(leader))
    assert await late.kv_get(bucket, "k") == (value, revision)
    marks = value.decode().split()
    assert len(set(marks)) == len(marks)
    for writer in writers:
        assert [mark for mark in marks if mark in set(writer.acknowledged)] == writer.acknowledged
        assert writer.longest_gap_s < _ELECTION_S
    won = [*writers[0].won, *writers[1].won]
    assert len(set(won)) == len(won)
    assert revision > max(won)
