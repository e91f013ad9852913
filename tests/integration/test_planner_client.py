"""A pool planner's way to the GlobalPlanner: leader and standby, stream and single calls."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from globalplanner.edge import Edge
from poolplanner.adapters import planner_link
from poolplanner.adapters.global_planner import GlobalPlannerClient
from poolplanner.ports import Answer, RefusedError, StaleReportError
from tests.integration.edge_world import EdgeWorld, digest
from tests.integration.pki import Pki
from tests.integration.planner_neighbours import FakeGlobalPlanner
from tests.unit.globalplanner.fleets import report
from weir.api.v1 import planner_pb2, planner_pb2_grpc
from weir.domain.errors import UnavailableError
from weir.domain.overrides import ClassTargets, Overrides
from weir.local.ports import Ports
from weir.runtime import rpc
from weir.runtime.clock import Clock
from weir.runtime.credentials import ClientCredentials

TIMEOUT_S = 20.0
SHARE_S = TIMEOUT_S / 2.0
"""What one of two addresses that does not answer would cost."""


class Pool:
    """Reports of pool `name` that act on what the last answer has granted."""

    def __init__(self, client: GlobalPlannerClient, name: str = "a") -> None:
        self.client = client
        self.name = name
        self.sequence = 0
        self.acted = (0, 0, 0)
        self.pushes = 0

    async def report(self, **changes: Any) -> Answer:
        self.sequence += 1
        answer = await self.client.report(
            report(self.name, self.sequence, acted=self.acted, ready=1, **changes)
        )
        if answer.grant is not None:
            grant = answer.grant
            self.acted = (grant.term, grant.epoch, grant.replicas)
        return answer


@asynccontextmanager
async def pool_of(
    *targets: str, name: str = "a", timeout_s: float = TIMEOUT_S, **files: Path
) -> AsyncIterator[Pool]:
    client = GlobalPlannerClient(
        targets,
        ClientCredentials(**files),
        timeout_s=timeout_s,
        pushed=lambda: _count(pool),
    )
    pool = Pool(client, name)
    try:
        yield pool
    finally:
        await client.close()


def _count(pool: Pool) -> None:
    pool.pushes += 1


def target(edge: Edge) -> str:
    return f"127.0.0.1:{edge.port}"


async def settle(pools: Sequence[Pool]) -> None:
    """Everybody acts on a grant of the term, so all GPUs are known."""
    for _ in range(3):
        for pool in pools:
            await pool.report()


async def until(condition: Any, timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
def world() -> EdgeWorld:
    return EdgeWorld()


async def test_a_pushed_grant_is_known_before_the_next_report(world: EdgeWorld) -> None:
    async with AsyncExitStack() as stack:
        edge = await stack.enter_async_context(world.serving())
        pools = [await stack.enter_async_context(pool_of(target(edge), name=n)) for n in "abc"]
        await settle(pools)
        before = [pool.pushes for pool in pools]
        world.aim(a=3)
        await until(lambda: pools[0].pushes > before[0])
        answer = await pools[0].report()
        assert answer.grant is not None
        assert answer.grant.replicas == 3
        assert [pool.pushes for pool in pools[1:]] == before[1:]


async def test_an_answer_carries_what_classes_are_to_meet(world: EdgeWorld) -> None:
    targets = ClassTargets(ttft_s=0.5, priority=3)
    async with world.serving() as edge, pool_of(target(edge)) as pool:
        world.planner.revise(world.fleet, Overrides(targets={world.fleet.classes[0].name: targets}))
        assert (await pool.report()).targets == {"chat": targets}


async def test_the_standby_is_asked_when_the_leader_is_none_any_more(world: EdgeWorld) -> None:
    other = EdgeWorld()
    other.planner.yield_to("it waits for its turn")
    async with AsyncExitStack() as stack:
        standby = await stack.enter_async_context(other.serving())
        leader = await stack.enter_async_context(world.serving())
        pool = await stack.enter_async_context(pool_of(target(standby), target(leader)))
        assert (await pool.report()).grant is not None
        world.planner.yield_to("test")
        other.lead(9)
        began_s = Clock.wall_s()
        answer = await pool.report()
        assert Clock.wall_s() - began_s < SHARE_S
        assert answer.grant is not None
        assert answer.grant.term == 9


async def test_a_leader_that_is_gone_costs_a_moment_only(world: EdgeWorld) -> None:
    nobody = f"127.0.0.1:{Ports().take()}"
    async with world.serving() as edge, pool_of(nobody, target(edge)) as pool:
        began_s = Clock.wall_s()
        assert (await pool.report()).grant is not None
        assert Clock.wall_s() - began_s < SHARE_S


async def test_a_leader_that_hangs_costs_its_share_of_the_deadline(world: EdgeWorld) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    deaf = await asyncio.start_server(hang, "127.0.0.1", 0)
    address = f"127.0.0.1:{deaf.sockets[0].getsockname()[1]}"
    async with world.serving() as edge, pool_of(address, target(edge), timeout_s=4.0) as pool:
        began_s = Clock.wall_s()
        assert (await pool.report()).grant is not None
        assert Clock.wall_s() - began_s < 4.0
    deaf.close()


async def test_when_nobody_answers_every_address_is_named(world: EdgeWorld) -> None:
    ports = Ports()
    nobody, nowhere = (f"127.0.0.1:{ports.take()}" for _ in range(2))
    async with pool_of(nobody, nowhere, timeout_s=1.0) as pool:
        with pytest.raises(UnavailableError) as caught:
            await pool.report()
    assert nobody in str(caught.value)
    assert nowhere in str(caught.value)


async def test_a_restart_is_survived_on_the_same_address(world: EdgeWorld) -> None:
    listen = f"127.0.0.1:{Ports().take()}"
    async with pool_of(listen) as pool:
        async with world.serving(listen=listen):
            await pool.report()
        with pytest.raises(UnavailableError):
            await pool.report()
        async with world.serving(listen=listen):
            async with asyncio.timeout(30.0):
                while True:
                    try:
                        await pool.report()
                    except UnavailableError:
                        await asyncio.sleep(0.05)
                    else:
                        break
            pushes = pool.pushes
            await settle([pool])
            world.aim(a=0)
            await until(lambda: pool.pushes > pushes)


async def test_what_cannot_be_true_is_refused_and_the_next_report_is_not(
    world: EdgeWorld,
) -> None:
    async with world.serving() as edge, pool_of(target(edge)) as pool:
        await pool.report()
        with pytest.raises(RefusedError, match="start_up_s"):
            await pool.report(start_up_s=1e30)
        await pool.report()
        assert world.planner.newest_sequence("a") == 3  # type: ignore[arg-type]


async def test_a_planner_that_counts_from_below_learns_the_newest_sequence(
    world: EdgeWorld,
) -> None:
    async with world.serving() as edge, pool_of(target(edge)) as pool:
        pool.sequence = 100
        await pool.report()
        pool.sequence = 5
        with pytest.raises(StaleReportError) as caught:
            await pool.report()
        assert caught.value.newest == 101


async def test_without_streams_single_calls_do() -> None:
    fake = FakeGlobalPlanner()
    fake.grant(2)
    server = await rpc.serve(
        "127.0.0.1:0",
        lambda grpc_server: planner_pb2_grpc.add_GlobalPlannerServicer_to_server(fake, grpc_server),
    )
    try:
        async with pool_of(f"127.0.0.1:{server.port}") as pool:
            for _ in range(3):
                answer = await pool.report()
                assert answer.grant is not None
                assert answer.grant.replicas == 2
        assert [each.sequence for each in fake.reports] == [1, 2, 3]
    finally:
        await server.close(0.0)


class Deaf(FakeGlobalPlanner):
    """Takes streams and never answers on them."""

    streams = 0

    async def ReportStream(self, requests: Any, context: Any) -> None:
        self.streams += 1
        await asyncio.Event().wait()


async def test_a_stream_that_is_not_answered_is_given_up_for_single_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planner_link, "_FIRST_RETRY_S", 60.0)
    fake = Deaf()
    fake.grant(2)
    server = await rpc.serve(
        "127.0.0.1:0",
        lambda grpc_server: planner_pb2_grpc.add_GlobalPlannerServicer_to_server(fake, grpc_server),
    )
    try:
        async with pool_of(f"127.0.0.1:{server.port}", timeout_s=2.0) as pool:
            for streams in (1, 2, 2):
                assert (await pool.report()).grant is not None
                assert fake.streams == streams
    finally:
        await server.close(0.0)


@pytest.mark.needs("openssl")
async def test_it_shows_its_certificate_and_its_token(world: EdgeWorld, tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    server, mine = pki.pair("server", san="IP:127.0.0.1"), pki.pair("a", san="DNS:planner-a")
    identities, token = tmp_path / "identities.yaml", tmp_path / "token"
    token.write_text("of-b\n")
    identities.write_text(
        "- {name: a, subject: planner-a, pools: [a]}\n"
        f"- {{name: b, token_sha256: {digest('of-b')}, pools: [b]}}\n"
    )
    settings = {
        "tls_cert": str(server.cert),
        "tls_key": str(server.key),
        "client_ca": str(pki.ca),
        "identities": str(identities),
    }
    files = {"ca": pki.ca, "cert": mine.cert, "key": mine.key}
    async with world.serving(**settings) as edge:
        async with pool_of(target(edge), name="a", **files) as pool:
            assert (await pool.report()).grant is not None
        async with pool_of(target(edge), name="b", token_file=token, **files) as pool:
            assert (await pool.report()).grant is not None
        async with pool_of(target(edge), name="b", **files) as pool:
            with pytest.raises(RefusedError, match="may not report for pool 'b'"):
                await pool.report()


@pytest.mark.needs("openssl")
async def test_renewed_certificates_count_when_it_connects_again(
    world: EdgeWorld, tmp_path: Path
) -> None:
    listen = f"127.0.0.1:{Ports().take()}"
    files = {name: tmp_path / f"mine-{name}.pem" for name in ("ca", "cert", "key")}

    def issue(name: str) -> dict[str, str]:
        """All certificates anew, from another authority."""
        pki = Pki(tmp_path, name)
        server, mine = pki.pair("server", san="IP:127.0.0.1"), pki.pair("a", san="DNS:planner-a")
        for file, source in zip(files.values(), (pki.ca, mine.cert, mine.key), strict=True):
            file.write_bytes(source.read_bytes())
        return {
            "tls_cert": str(server.cert),
            "tls_key": str(server.key),
            "client_ca": str(pki.ca),
            "listen": listen,
        }

    first = issue("first")
    async with pool_of(listen, **files) as pool:
        async with world.serving(**first):
            await pool.report()
        async with world.serving(**issue("second")), asyncio.timeout(30.0):
            while True:
                try:
                    await pool.report()
                except UnavailableError:
                    await asyncio.sleep(0.05)
                else:
                    break


async def test_any_message_is_an_answer_or_an_error_of_ours(world: EdgeWorld) -> None:
    class Odd(FakeGlobalPlanner):
        async def Report(self, request: Any, context: Any) -> planner_pb2.ReportResponse:
            return planner_pb2.ReportResponse(grant=planner_pb2.Grant(pool_id="a", replicas=-1))

    server = await rpc.serve(
        "127.0.0.1:0",
        lambda grpc_server: planner_pb2_grpc.add_GlobalPlannerServicer_to_server(
            Odd(), grpc_server
        ),
    )
    try:
        async with pool_of(f"127.0.0.1:{server.port}") as pool:
            with pytest.raises(UnavailableError, match="bad answer: replicas"):
                await pool.report()
    finally:
        await server.close(0.0)
