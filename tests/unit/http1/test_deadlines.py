import asyncio
from math import inf

from weir.http1.deadlines import Connections


class Member:
    def __init__(self, open_connections: "Connections[Member]", deadline: float) -> None:
        self.deadline = deadline
        self.expired_at: float | None = None
        self._open = open_connections
        open_connections.add(self)

    def expire(self) -> None:
        self.expired_at = asyncio.get_running_loop().time()
        self._open.discard(self)


async def test_members_expire_a_little_after_their_deadline_and_never_before() -> None:
    loop = asyncio.get_running_loop()
    connections: Connections[Member] = Connections(loop)
    connections.watch_for(0.1)
    soon, never = Member(connections, loop.time() + 0.05), Member(connections, inf)
    async with asyncio.timeout(30.0):
        while soon.expired_at is None:
            await asyncio.sleep(0.01)
    assert soon.expired_at >= soon.deadline
    assert never.expired_at is None
    assert list(connections) == [never]


async def test_waiting_until_all_have_left_has_a_limit() -> None:
    loop = asyncio.get_running_loop()
    connections: Connections[Member] = Connections(loop)
    assert await connections.empty(0.01)
    member = Member(connections, inf)
    assert not await connections.empty(0.01)
    loop.call_later(0.02, connections.discard, member)
    assert await connections.empty(30.0)
