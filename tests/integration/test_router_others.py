"""Routers that are processes of their own tell each other over NATS what they have at engines."""

import asyncio
import re

import pytest

from router.adapters.load import SharedLoad, decode
from router.core.elsewhere import Told
from router.core.workers.worker import Load
from tests.integration.frontend.world import STREAM, Client, engine
from tests.integration.nats_process import Server, eventually
from tests.integration.router_process import Process, held_stream, process
from tests.integration.router_world import FLEETS
from weir.api.v1 import load_pb2
from weir.domain.ids import PoolId, RouterId, WorkerId
from weir.runtime import names
from weir.runtime.bus import Bus

pytestmark = pytest.mark.timeout(400)
_DEADLINE_S = 150.0
_HEARD = re.compile(r"^weir_router_others_heard (\S+)$", re.MULTILINE)


async def _hears(weir: Process, others: int) -> None:
    """Wait until the load of so many processes of other routers counts there."""
    async with asyncio.timeout(_DEADLINE_S):
        while True:
            reply = await weir.get("/metrics", control=True)
            found = _HEARD.search(reply.body.decode())
            if found is not None and float(found[1]) == others:
                return
            await asyncio.sleep(0.1)


async def _stream(weir: Process) -> Client:
    client = await weir.connect()
    client.send(STREAM | {"model": "demo-model"})
    assert (await client.head()).status == 200
    return client


async def test_the_load_of_a_router_counts_at_the_others_until_it_is_killed(nats: Server) -> None:
    go_on = asyncio.Event()
    async with engine(held_stream(go_on)) as one:
        at = f"agg=http://127.0.0.1:{one.worker.port}"
        fleet = str(FLEETS / "agg.yaml")
        options = ("--fleet", fleet, "--nats", nats.url, "--worker", at)
        async with (
            process(*options, "--id", "a") as a,
            process(*options, "--id", "b") as b,
        ):
            await _hears(b, 0)
            held = [await _stream(a), await _stream(b)]
            await _hears(b, 1)
            await _hears(a, 1)
            a.child.kill()
            await _hears(b, 0)
            nats.kill()
            held.append(await _stream(b))
            go_on.set()
            for client in held[1:]:
                assert (await asyncio.wait_for(client.chunks(), _DEADLINE_S)).count(b"[DONE]") == 1


def _told(in_flight: int) -> Told:
    return Told(loads={PoolId("p"): {WorkerId("w"): Load(in_flight, 100)}})


class _Sender:
    """Hears what others tell, of one fleet."""

    def __init__(
        self, bus: Bus, fleet: str, name: str, own: Told, process: str = "1", *, alone: bool = True
    ) -> None:
        self.heard: dict[str, Told | None] = {}
        self.own = own
        self.shared = SharedLoad(
            bus,
            fleet,
            RouterId(name),
            process,
            alone=alone,
            load=lambda: self.own,
            told=self._told,
            admit=lambda: None,
        )

    def _told(self, process: str, told: Told | None) -> bool:
        self.heard[process] = told
        return False


async def test_fleets_do_not_mix_and_what_cannot_be_true_is_dropped(nats: Server) -> None:
    bus = await Bus.connect(nats.url, name="test")
    a = _Sender(bus, "one", "a", _told(3))
    b = _Sender(bus, "one", "b", Told())
    c = _Sender(bus, "two", "c", _told(9))
    running = [asyncio.create_task(each.shared.run()) for each in (a, b, c)]
    try:
        await eventually(lambda: b.heard.get("a/1") == _told(3))
        a.own = Told()
        await eventually(lambda: b.heard["a/1"] is None)
        bad = load_pb2.PoolLoad(pool_id="p", worker_ids=["w", "v"], in_flight=[1])
        message = load_pb2.RouterLoad(router_id="x", process="1", sequence=1, pools=[bad])
        bus.publish(names.load_subject("one", "x"), message.SerializeToString())
        bus.publish(names.load_subject("one", "x"), b"\xff")
        await eventually(lambda: b.shared.misunderstood == 2)
        assert set(b.heard) == {"a/1"}
        assert not a.heard and not c.heard
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await bus.close()


async def test_processes_of_one_router_count_once_where_they_know_of_each_other(
    nats: Server,
) -> None:
    bus = await Bus.connect(nats.url, name="test")
    a = _Sender(bus, "one", "a", _told(1))
    of_b = [_Sender(bus, "one", "b", _told(2), process, alone=False) for process in ("1", "2")]
    running = [asyncio.create_task(each.shared.run()) for each in (a, *of_b)]
    try:
        await eventually(lambda: set(a.heard) == {"b/1", "b/2"})
        await eventually(lambda: all(set(b.heard) == {"a/1"} for b in of_b))
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await bus.close()


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_load_below_zero_or_without_end_is_refused(value: float) -> None:
    bad = load_pb2.PoolLoad(pool_id="p", worker_ids=["w"], prompts_s=[value])
    with pytest.raises(ValueError, match="prompts_s"):
        decode(load_pb2.RouterLoad(pools=[bad]))
