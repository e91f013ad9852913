"""All processes of one public port: started, watched, started again, and asked as one."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Sequence

from prometheus_client import Metric

from router.config import RouterConfig
from router.core.merged import Merged
from router.processes.member import START_S, Member, sampled
from router.processes.sums import Ended, Family, add_up
from router.processes.table import SLOTS, Table
from weir.api.v1 import router_pb2
from weir.domain.errors import UnavailableError
from weir.domain.telemetry import TrafficSample
from weir.runtime.lifecycle import Stop

__all__ = ["Host"]

_log = logging.getLogger("weir.router.processes")
_BEFORE = -1
"""Number of the router that was here before."""
_LOOK_S = 0.5
_COUNT_S = 2.0
"""What a process has counted in so long is lost if it is killed."""
_ROUTE_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 8.0
_LIVED_S = 10.0
"""Who has lived so long is started again soon, others twice as late each time."""
_LATE_S = 5.0
"""Beyond the time that requests have to end; then a process is killed."""


class Host:
    """`start`, `listen`, and in the end `drain`. `keep` and `look` run in between.

    `taken` are the slots of `table` that the router before has; `adopt` it to count it in until it
    has ended. `metrics` renders those of all processes, for the process that is asked for them.
    """

    def __init__(
        self,
        config: RouterConfig,
        listeners: Sequence[socket.socket],
        table: Table,
        count: int,
        metrics: Callable[[], bytes],
        taken: frozenset[int] = frozenset(),
    ) -> None:
        self._config = config
        self._listeners = list(listeners)
        self._table = table
        self._count = count
        self._metrics = metrics
        free = (slot for slot in range(SLOTS) if slot not in taken)
        self._slots = {number: next(free) for number in range(count)}
        self._before: Member | None = None
        self._before_slots = taken
        self._members = {number: self._member(number) for number in range(count)}
        self._merged = Merged(config.router_id)
        self._ended = Ended()
        self._draining = False
        self._turn = 0
        self.restarts = 0

    async def start(self, stop: Stop) -> None:
        """Returns when all can be told to listen, or at a stop.

        Raises `UnavailableError` if one does not come so far.
        """
        starting = asyncio.gather(*map(self._start, self._members.values()))
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
        finally:
            starting.cancel()
            stopping.cancel()

    async def listen(self) -> None:
        """Take connections. Raises `UnavailableError`."""
        await asyncio.gather(*(member.listen() for member in self._members.values()))

    async def adopt(self, link: socket.socket) -> Member:
        """Count in the router that was here before, at the far end of the link, to its end."""
        self._before = self._member(_BEFORE)
        await self._before.adopt(link)
        return self._before

    def follow(self, sequence: int) -> None:
        """The router before has published samples up to this."""
        self._merged.sequence = sequence

    async def see_out(self) -> None:
        """Wait for the end of the router before."""
        before = self._before
        if before is None:
            return
        await before.ended.wait()
        self._ended.add(before.families)
        self._merged.left(str(_BEFORE))
        self._before, self._before_slots = None, frozenset()
        _log.info("the router before has ended")

    async def keep(self) -> None:
        """Start again whoever ends, until it is time for all to end."""
        await asyncio.gather(*map(self._keep, range(self._count)))

    async def look(self) -> None:
        """Know how all are, and what they have counted, for ever."""
        last_count_s = self._config.clock.wall_s()
        while True:
            await self.look_once()
            if self._config.clock.wall_s() >= last_count_s + _COUNT_S:
                await asyncio.gather(*(member.count() for member in self._all().values()))
                last_count_s = self._config.clock.wall_s()
            await asyncio.sleep(_LOOK_S)

    async def look_once(self) -> None:
        await asyncio.gather(*(member.look() for member in list(self._members.values())))

    async def drain(self, *, replaced: bool = False) -> None:
        """Let all finish what runs, and end. Those that do not in time are killed.

        `replaced`: others take what is new.
        """
        self._draining = True
        self._close()
        members = list(self._members.values())
        await asyncio.gather(*(member.drain(replaced=replaced) for member in members))
        config = self._config
        last_s = config.drain_notice_s + config.drain_timeout_s + _LATE_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(last_s):
                await asyncio.gather(*(member.ended.wait() for member in members))
        for number, member in list(self._members.items()):
            if not member.ended.is_set():
                _log.error("process %d did not end in time and is killed", number)
        self.kill()
        await asyncio.gather(*(member.ended.wait() for member in members))
        for number in list(self._members):
            self._bury(number)

    def kill(self) -> None:
        """End what still runs, at once."""
        self._draining = True
        self._close()
        for member in self._members.values():
            member.kill()

    # What all are together.

    def ready(self) -> str | None:
        """None if all are; what is missing, and where."""
        if self._draining:
            return "draining"
        for number, member in self._members.items():
            if member.missing is not None:
                return f"process {number}: {member.missing}"
        return None

    async def count(self, own: Sequence[Family]) -> list[Metric]:
        """Metrics of all processes, those that have ended included, and `own` of this one."""
        await asyncio.gather(*(member.count() for member in self._all().values()))
        running = [member.families for member in self._all().values()]
        return add_up([own, *running], self._ended.families)

    async def sample(self, window_s: float) -> TrafficSample | None:
        """What went through all since it was asked last, `window_s` ago."""
        members = self._all()
        samples = await asyncio.gather(*(member.sample() for member in members.values()))
        for (number, member), sample in zip(members.items(), samples, strict=True):
            if sample is not None and self._all().get(number) is member:
                self._merged.add(str(number), sample)
        return self._merged.close(window_s)

    @property
    def sequence(self) -> int:
        """Of the last sample."""
        return self._merged.sequence

    @property
    def slots(self) -> frozenset[int]:
        """In use."""
        return self._before_slots | frozenset(self._slots.values())

    async def route(self, request: router_pb2.RouteRequest) -> router_pb2.RouteResponse:
        """As one of them decides, each in its turn. Raises as `Answer` of the gRPC adapter."""
        members = [m for m in self._members.values() if m.up.is_set() and not m.ended.is_set()]
        if not members:
            raise UnavailableError("no process runs")
        self._turn += 1
        link = members[self._turn % len(members)].link
        answer = await link.ask("route", request.SerializeToString(), timeout_s=_ROUTE_S)
        return router_pb2.RouteResponse.FromString(answer)

    @property
    def running(self) -> int:
        return sum(m.up.is_set() and not m.ended.is_set() for m in self._members.values())

    # Inside.

    def _all(self) -> dict[int, Member]:
        before = {} if self._before is None else {_BEFORE: self._before}
        return {**self._members, **before}

    def _member(self, number: int) -> Member:
        async def metrics() -> bytes:
            return await asyncio.to_thread(self._metrics)

        def last(data: bytes) -> None:
            self._merged.add(str(number), sampled(data))

        return Member(number, metrics, last)

    async def _start(self, member: Member) -> None:
        """Raises `UnavailableError` if it does not come up."""
        number = member.number
        listeners = self._listeners[number :: self._count]
        await member.start(self._config, listeners, self._table, self._slots[number])
        waits = [asyncio.create_task(event.wait()) for event in (member.up, member.ended)]
        await asyncio.wait(waits, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if not member.up.is_set():
            why = "it was not ready to start in time"
            if member.exit_code is not None:
                why = f"it ended at its start, code {member.exit_code}; its log says why"
            raise UnavailableError(f"process {member.number}: {why}")

    async def _keep(self, number: int) -> None:
        pause_s, began_s = _FIRST_PAUSE_S, self._config.clock.wall_s()
        while True:
            member = self._members[number]
            await member.ended.wait()
            if self._draining:
                return
            self._bury(number)
            self._members[number] = again = self._member(number)
            code = member.exit_code
            _log.error(
                "process %d ended, code %s; starting it again in %g s", number, code, pause_s
            )
            await asyncio.sleep(pause_s)
            if self._draining:
                return
            if self._config.clock.wall_s() - began_s > _LIVED_S:
                pause_s = _FIRST_PAUSE_S
            else:
                pause_s = min(_LONGEST_PAUSE_S, 2.0 * pause_s)
            began_s = self._config.clock.wall_s()
            self.restarts += 1
            try:
                await self._start(again)
                await again.listen()
            except UnavailableError as error:
                _log.error("%s", error)
                again.kill()

    def _bury(self, number: int) -> None:
        """What it has counted stays, what it had at engines has gone."""
        member = self._members.pop(number)
        self._table.write(self._slots[number], b"")
        self._ended.add(member.families)
        self._merged.left(str(number))

    def _close(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners = []
