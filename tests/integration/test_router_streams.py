"""Many streams at once through a router whose engines come, go and die; and very many requests.

Nothing here looks at the clock: a busy machine makes it slower, and it still holds.
"""

import asyncio
import random
from pathlib import Path

import pytest

from tests.integration.nats_process import Server
from tests.integration.streams.clients import Tally
from tests.integration.streams.world import PATIENCE_S, World, outcomes, world

STREAMS = 2000
CLIENTS = 2
"""Processes, which share the streams."""
ENGINES = 4
PAUSE_S = 4.0
"""Between two things that happen to engines."""
MOST_RSS_BYTES = 100 * 2**20
SEED = 1
NATS_TASKS = 20
"""So many more may be there at some moment: watches are made anew now and then."""


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(30, marks=pytest.mark.timeout(4 * PATIENCE_S)),
        pytest.param(
            300, marks=[pytest.mark.slow, pytest.mark.timeout(300 + 4 * PATIENCE_S)], id="soak"
        ),
    ],
)
async def test_two_thousand_streams_while_engines_come_and_go(
    seconds: int, nats: Server, tmp_path: Path
) -> None:
    async with world(nats, tmp_path) as w:
        await w.start_engines(ENGINES)
        await w.announce()
        await w.router.ready(PATIENCE_S)
        before, tasks = await w.footing(), (await w.metrics())["weir_router_tasks"]
        clients = [await w.start_clients(STREAMS // CLIENTS, SEED + n) for n in range(CLIENTS)]
        await w.until(lambda m: m["weir_router_in_flight"] >= 0.9 * STREAMS, "all at once")
        dice = random.Random(SEED)
        for turn in range(round(seconds / PAUSE_S)):
            await asyncio.sleep(PAUSE_S)
            await (_lose_one(w, dice) if turn % 2 else _let_one_go(w, dice))
        tallies = await asyncio.gather(*(each.stop() for each in clients))
        await w.regained(before)
        peak_bytes = w.peak_rss_bytes()
        metrics = await w.metrics()
        _agree(tallies, metrics)
        assert metrics["weir_router_tasks"] <= tasks + NATS_TASKS
        print(f"\n{peak_bytes / 2**20:.1f} MiB at most, {tallies}")
        assert peak_bytes <= MOST_RSS_BYTES
        for engine in w.engines:
            assert await engine.running() == 0


async def _lose_one(w: World, dice: random.Random) -> None:
    """One is killed; it takes a while until the router is told, and another one comes."""
    victim = dice.choice([engine for engine in w.engines if not engine.draining])
    await victim.kill()
    w.engines.remove(victim)
    await w.start_engines(1)
    await w.announce()


async def _let_one_go(w: World, dice: random.Random) -> None:
    """Another one comes and one begins to drain. Those that have drained are removed."""
    for engine in [engine for engine in w.engines if engine.draining]:
        if not await engine.running():
            w.engines.remove(engine)
            await engine.kill()
    await w.start_engines(1)
    dice.choice([engine for engine in w.engines if not engine.draining]).draining = True
    await w.announce()


@pytest.mark.parametrize(
    ("requests", "most_bytes"),
    [
        pytest.param(60_000, 100, marks=pytest.mark.timeout(3600)),
        pytest.param(200_000, 10, marks=[pytest.mark.slow, pytest.mark.timeout(3600)], id="soak"),
    ],
)
async def test_requests_leave_nothing_behind(
    requests: int, most_bytes: int, nats: Server, tmp_path: Path
) -> None:
    """`most_bytes`: by which a router may grow per request, in the mean of the second half."""
    async with world(nats, tmp_path) as w:
        await w.start_engines(2)
        await w.announce()
        await w.router.ready(PATIENCE_S)
        before, tasks = await w.footing(), (await w.metrics())["weir_router_tasks"]
        tallies, sizes = [], []
        for seed in range(2):
            clients = await w.start_clients(64, SEED + seed, requests // 2)
            tallies.append(await clients.tally(1800.0))
            await w.regained(before)
            sizes.append(w.rss_bytes())
        metrics = await w.metrics()
        _agree(tallies, metrics)
        assert metrics["weir_router_tasks"] <= tasks + NATS_TASKS
        print(f"\n{[size / 2**20 for size in sizes]} MiB, {tallies}")
        assert (sizes[1] - sizes[0]) / (requests / 2) <= most_bytes


def _agree(tallies: list[Tally], metrics: dict[str, float]) -> None:
    """Each request has ended in one way, and in the same one for its client and the router.

    Of a client that leaves, the router may have seen the end before it saw it leave.
    """
    assert [tally.wrong for tally in tallies] == [[] for _ in tallies]

    def told(name: str) -> int:
        return sum(getattr(tally, name) for tally in tallies)

    ended = outcomes(metrics)
    asked = told("asked") - told("rejected")
    assert asked == told("completed") + told("failed") + told("shed") + told("left")
    assert metrics["weir_router_arrivals_total"] == sum(ended.values()) == asked
    assert metrics['weir_router_rejected_total{status="404"}'] == told("rejected")
    for how in ("completed", "failed", "shed"):
        assert told(how) <= ended[how], (ended, tallies)
    assert 0 < ended["cancelled"] <= told("left")
    assert told("completed") >= asked / 2
