"""Reports and plans over streams: answers in order, grants pushed, clean ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import grpc
import pytest

from globalplanner.adapters import pools
from globalplanner.edge import Edge
from tests.integration.edge_world import Client, EdgeWorld, client, report_of
from weir.api.v1 import planner_pb2
from weir.domain.fleet import Stage
from weir.domain.ids import ClassName, PoolId
from weir.domain.planning import RoutingPlan
from weir.runtime.clock import Clock

DEADLINE_S = 20.0


@pytest.fixture
def world() -> EdgeWorld:
    return EdgeWorld()


@pytest.fixture
async def edge(world: EdgeWorld) -> AsyncIterator[Edge]:
    async with world.serving() as edge:
        yield edge


@pytest.fixture
async def caller(edge: Edge) -> AsyncIterator[Client]:
    async with client(edge) as caller:
        yield caller


def acting_on(answer: planner_pb2.ReportResponse, sequence: int) -> planner_pb2.ReportRequest:
    """The next report of a pool that has taken over what it was granted."""
    grant = answer.grant
    return report_of(
        answer.pool_id, sequence,
        acted_term=grant.term, acted_epoch=grant.epoch, acted_replicas=grant.replicas,
        state=planner_pb2.PoolState(ready=grant.replicas),
    )  # fmt: skip


async def granted(stream: grpc.aio.StreamStreamCall) -> planner_pb2.ReportResponse:
    """The next answer with a grant; the first ones have none, it is not written yet."""
    while True:
        answer: planner_pb2.ReportResponse = await stream.read()
        if answer.HasField("grant"):
            return answer


async def settled(stream: grpc.aio.StreamStreamCall, pool_id: str) -> planner_pb2.ReportResponse:
    """A pool that acts on its grant of this term."""
    await stream.write(report_of(pool_id, 1))
    await stream.write(acting_on(await granted(stream), 2))
    while (answer := await granted(stream)).newest_sequence < 2:
        pass
    return answer


async def test_each_report_is_answered_in_order_and_pools_share_a_stream(caller: Client) -> None:
    stream = caller.stream("ReportStream")
    for sequence, pool_id in ((1, "a"), (1, "b"), (2, "a")):
        await stream.write(report_of(pool_id, sequence))
        answer = await granted(stream)
        assert (answer.pool_id, answer.newest_sequence) == (pool_id, sequence)
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF
    assert await stream.code() is grpc.StatusCode.OK


async def test_a_new_grant_is_pushed_without_another_report(
    world: EdgeWorld, caller: Client
) -> None:
    stream = caller.stream("ReportStream")
    for pool_id in ("a", "b", "c"):
        await settled(stream, pool_id)
    world.aim(a=3)
    async with asyncio.timeout(DEADLINE_S):
        answer = await stream.read()
    assert (answer.pool_id, answer.grant.replicas, answer.newest_sequence) == ("a", 3, 2)


async def test_growth_is_pushed_only_once_it_is_written(world: EdgeWorld, caller: Client) -> None:
    stream = caller.stream("ReportStream")
    for pool_id in ("a", "b", "c"):
        await settled(stream, pool_id)
    world.writes = False
    world.aim(a=3)
    reading = asyncio.ensure_future(stream.read())
    await asyncio.sleep(0.3)
    assert not reading.done()
    world.write()
    async with asyncio.timeout(DEADLINE_S):
        assert (await reading).grant.replicas == 3


async def test_a_unary_report_waits_for_the_write_but_not_for_long(
    world: EdgeWorld, caller: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = caller.stream("ReportStream")
    for pool_id in ("a", "b", "c"):
        last = await settled(stream, pool_id)
    world.writes = False
    world.aim(c=3)
    monkeypatch.setattr(pools, "_WRITE_WAIT_S", 1000.0)
    asyncio.get_running_loop().call_later(0.1, world.write)
    answer = await caller.call("Report", acting_on(last, 3))
    assert answer.grant.replicas == 3
    monkeypatch.setattr(pools, "_WRITE_WAIT_S", 0.2)
    world.aim(c=4)
    began_s = Clock.wall_s()
    answer = await caller.call("Report", acting_on(answer, 4))
    assert answer.grant.replicas == 3
    assert Clock.wall_s() - began_s >= 0.2


async def test_a_report_that_cannot_be_true_ends_the_stream_with_the_reason(
    world: EdgeWorld, caller: Client
) -> None:
    stream = caller.stream("ReportStream")
    await stream.write(report_of("a", 1, start_up_s=-1.0))
    assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT
    details = await stream.details() or ""
    assert "start_up_s" in details
    assert "pool 'a'" in details
    assert world.refused("invalid") == 1


async def test_streams_end_when_it_ceases_to_lead(world: EdgeWorld, caller: Client) -> None:
    reports, plans = (
        caller.stream("ReportStream"),
        caller.stream("WatchPlan", planner_pb2.WatchPlanRequest()),
    )
    await settled(reports, "a")
    world.planner.yield_to("a later GlobalPlanner leads")
    async with asyncio.timeout(DEADLINE_S):
        for stream in (reports, plans):
            assert await stream.code() is grpc.StatusCode.UNAVAILABLE
            assert "a later GlobalPlanner leads" in (await stream.details() or "")


async def test_streams_end_with_the_process(world: EdgeWorld) -> None:
    async with AsyncExitStack() as stack:
        async with world.serving() as edge:
            caller = await stack.enter_async_context(client(edge))
            stream = caller.stream("ReportStream")
            await settled(stream, "a")
        assert await stream.code() is grpc.StatusCode.UNAVAILABLE
        assert "ending" in (await stream.details() or "")


async def test_one_that_does_not_lead_opens_no_stream(world: EdgeWorld, caller: Client) -> None:
    world.planner.yield_to("test")
    for stream in (
        caller.stream("ReportStream"),
        caller.stream("WatchPlan", planner_pb2.WatchPlanRequest()),
    ):
        assert await stream.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_watcher_gets_the_plan_and_each_newer_one(world: EdgeWorld, caller: Client) -> None:
    world.planner.plan = RoutingPlan(term=7, version=1)
    stream = caller.stream("WatchPlan", planner_pb2.WatchPlanRequest())
    assert (await stream.read()).version == 1
    for version in (2, 3, 4):
        world.planner.plan = RoutingPlan(term=7, version=version)
        if version != 3:  # nobody was told of it in time
            world.write()
            assert (await stream.read()).version == version


async def test_a_client_that_goes_away_leaves_nothing_behind(world: EdgeWorld, edge: Edge) -> None:
    before = len(asyncio.all_tasks())
    async with client(edge) as caller:
        stream = caller.stream("ReportStream")
        await settled(stream, "a")
        watch = caller.stream("WatchPlan", planner_pb2.WatchPlanRequest())
        await asyncio.sleep(0.1)
        assert len(asyncio.all_tasks()) > before
        stream.cancel()
        watch.cancel()
    async with asyncio.timeout(DEADLINE_S):
        while len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.02)


async def test_many_streams_are_served_side_by_side(world: EdgeWorld, caller: Client) -> None:
    many = [caller.stream("ReportStream") for _ in range(50)]
    for sequence, stream in enumerate(many, 1):
        await stream.write(report_of("a", sequence))
    answers = await asyncio.gather(*map(granted, many))
    assert all(answer.grant.term == 7 for answer in answers)


def large_plan(version: int) -> RoutingPlan:
    """A megabyte: a connection holds only some of them."""
    shares = {ClassName("chat"): {Stage.PREFILL: {PoolId("x" * 1_000_000): 1.0}}}
    return RoutingPlan(term=7, version=version, shares=shares)


async def test_a_slow_watcher_gets_only_the_newest_plans(world: EdgeWorld, caller: Client) -> None:
    stream = caller.stream("WatchPlan", planner_pb2.WatchPlanRequest())
    for version in range(1, 41):
        world.planner.plan = large_plan(version)
        world.write()
        await asyncio.sleep(0.005)
    seen = []
    async with asyncio.timeout(DEADLINE_S):
        while not seen or seen[-1] < 40:
            seen.append((await stream.read()).version)
    assert seen == sorted(set(seen))
    assert len(seen) < 40
