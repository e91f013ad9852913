"""What a simulated GlobalPlanner keeps in the store: the record, and the plan for routers."""

from typing import cast

from weir.domain.planning import RoutingPlan
from weir.domain.record import LedgerRecord
from weir.simulator.process import Process
from weir.simulator.roles.keys import PLAN_KEY, RECORD_KEY
from weir.simulator.roles.plane import Plane

__all__ = ["Plans", "Records"]

_TIMEOUT_S = 1.0


class Records:
    """The fleet's record in the simulated store; a `RecordStore`."""

    def __init__(self, plane: Plane, process: Process) -> None:
        self._plane = plane
        self._process = process

    @property
    def connected(self) -> bool:
        """As a client's connection has it: it breaks when the store dies or is cut off."""
        store = self._plane.store.process
        pair = frozenset((self._process.name, store.name))
        return store.alive and pair not in self._plane.network.weather.cut

    async def read(self) -> tuple[LedgerRecord | None, int]:
        plane = self._plane
        found = await plane.network.ask(
            self._process,
            plane.store.process,
            "record",
            lambda: plane.store.get(RECORD_KEY, self._process.name),
            timeout_s=_TIMEOUT_S,
        )
        return cast(tuple[LedgerRecord, int], found) if found is not None else (None, 0)

    async def write(self, record: LedgerRecord, revision: int) -> int:
        plane = self._plane
        store, grants = plane.store, plane.world.invariants.grants

        def written() -> int:
            before = store.get(RECORD_KEY)
            new_revision = store.update(RECORD_KEY, record, revision, self._process.name)
            grants.written(record, cast(LedgerRecord, before[0]) if before is not None else None)
            return new_revision

        return await plane.network.ask(
            self._process, store.process, "record", written, timeout_s=_TIMEOUT_S
        )

    def new_term(self) -> int:
        return self._plane.started_ms()


class Plans:
    """Where routers look up the routing plan; a `PlanStore`."""

    def __init__(self, plane: Plane, process: Process) -> None:
        self._plane = plane
        self._process = process

    async def put(self, plan: RoutingPlan) -> None:
        plane, writer = self._plane, self._process.name
        await plane.network.ask(
            self._process,
            plane.store.process,
            "plan",
            lambda: plane.store.put(PLAN_KEY, plan, writer),
            timeout_s=_TIMEOUT_S,
        )
