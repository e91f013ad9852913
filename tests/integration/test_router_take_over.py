"""`weir router --take-over`: the next router gets the port without anybody losing a request."""

import asyncio
from dataclasses import dataclass, field

import psutil
import pytest

from tests.integration.frontend.world import CHAT, STREAM, Client, answers, engine, whole
from tests.integration.ports import free_port
from tests.integration.router_process import WEIR, Process, held_stream, process, workers
from tests.integration.test_router_processes import all_ready, ended, metrics_show

pytestmark = pytest.mark.timeout(400)  # two routers of several processes each
WHOLE = answers(whole(b'{"choices":[]}'))


@dataclass
class Load:
    """Clients that ask again and again: on new connections, or on those that they have."""

    weir: Process
    statuses: list[int] = field(default_factory=list)
    lost: list[BaseException] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, clients: int) -> None:
        await asyncio.gather(*(self._ask(kept=i % 2 == 0) for i in range(clients)))

    async def more(self, count: int) -> None:
        """Returns when so many more have been answered."""
        goal = len(self.statuses) + count
        async with asyncio.timeout(150.0):
            while len(self.statuses) < goal and not self.lost:
                await asyncio.sleep(0.02)

    async def _ask(self, *, kept: bool) -> None:
        client: Client | None = None
        try:
            while not self.over.is_set():
                client = client or await self.weir.connect()
                client.send(CHAT)
                reply = await client.reply()
                self.statuses.append(reply.status)
                if not kept or reply.headers.get("connection") == "close":
                    client.close()
                    client = None
                await asyncio.sleep(0.05)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            self.lost.append(error)


async def test_no_request_is_lost_and_counts_go_on() -> None:
    control = f"127.0.0.1:{free_port()}"
    arguments = ("--model", "m", "--workers", "2", "--take-over", "--control", control)
    async with (
        engine(WHOLE) as one,
        process(*arguments, *workers(one), port=free_port()) as before,
    ):
        await all_ready(before)
        load = Load(before)
        loading = asyncio.create_task(load.run(6))
        await load.more(50)
        async with process(*arguments, *workers(one), port=before.public.port) as after:
            await load.more(50)
            assert await before.exit_code() == 0, await before.ended
            await load.more(50)
            load.over.set()
            await loading
            assert load.lost == []
            assert set(load.statuses) == {200}
            await all_ready(after)
            arrivals = {'arrivals_total{class="default"}': len(load.statuses), "processes": 2.0}
            found = await metrics_show(after, **arrivals)
            assert ended(found)["completed"] == len(load.statuses)


async def test_a_stream_ends_where_it_began_and_is_counted_by_the_next_router() -> None:
    go_on = asyncio.Event()
    arguments = ("--model", "m", "--workers", "1", "--take-over")
    async with (
        engine(held_stream(go_on)) as one,
        process(*arguments, *workers(one), port=free_port()) as before,
    ):
        stream = await before.connect()
        stream.send(STREAM)
        assert (await stream.head()).status == 200
        async with process(*arguments, *workers(one), port=before.public.port) as after:
            await metrics_show(after, **{'in_flight{class="default"}': 1.0})
            assert before.child.returncode is None
            go_on.set()
            assert (await stream.chunks()).count(b"choices") == 200
            stream.close()
            assert await before.exit_code() == 0
            found = await metrics_show(after, **{'in_flight{class="default"}': 0.0})
            assert ended(found)["completed"] == 1.0


async def test_a_router_that_is_stopped_before_it_is_ready_takes_nothing() -> None:
    arguments = ("--model", "m", "--workers", "1", "--take-over")
    without_workers = ("--fleet", "examples/fleets/agg.yaml", "--nats", "nats://127.0.0.1:1")
    async with (
        engine(WHOLE) as one,
        process(*arguments, *workers(one), port=free_port()) as before,
    ):
        await all_ready(before)
        command = [*WEIR, "--listen", str(before.public), *arguments[2:], *without_workers]
        child = await asyncio.create_subprocess_exec(*command)
        async with asyncio.timeout(150.0):
            while not psutil.Process(child.pid).children():
                await asyncio.sleep(0.05)
            for _ in range(20):  # each on a connection of its own
                assert (await before.post(CHAT)).status == 200
            child.terminate()
            assert await child.wait() == 0
        for _ in range(20):
            assert (await before.post(CHAT)).status == 200
        await metrics_show(before, **{'arrivals_total{class="default"}': 40.0})


async def test_taking_over_from_nobody_is_a_start_like_any_other() -> None:
    arguments = ("--model", "m", "--workers", "1", "--take-over")
    async with (
        engine(WHOLE) as one,
        process(*arguments, *workers(one), port=free_port()) as weir,
    ):
        assert (await weir.post(CHAT)).status == 200
