"""A GlobalPlanner: its own service, leadership and publisher, on the simulated store."""

from collections.abc import Callable, Sequence
from typing import cast

from globalplanner.leadership import Leadership, Lease
from globalplanner.metrics import Metrics
from globalplanner.parts import patience_of, rules_of
from globalplanner.publisher import Publisher
from globalplanner.service import SETTLE_WALL_S, GlobalPlanner
from globalplanner.standing import Change
from poolplanner.ports import RefusedError, StaleReportError
from weir.domain.errors import UnavailableError
from weir.domain.fleet import Fleet
from weir.domain.planning import Grant, PoolReport, RoutingPlan
from weir.domain.record import LedgerRecord
from weir.domain.telemetry import TrafficSample
from weir.simulator.process import Process
from weir.simulator.roles.heard import Heard
from weir.simulator.roles.keys import PLAN_KEY, RECORD_KEY
from weir.simulator.roles.plane import Plane
from weir.simulator.roles.stop import VirtualSignal, VirtualStop
from weir.simulator.tasks import Task

__all__ = ["GlobalPlannerRole"]

_TIMEOUT_S = 1.0
_REFRESH_S = 5.0


class GlobalPlannerRole:
    """`fleet` is the document it is started with; another one counts from its next start."""

    def __init__(self, plane: Plane, name: str) -> None:
        self.fleet: Fleet = plane.world.fleet
        self.planner: GlobalPlanner | None = None
        self.process = Process(name, begin=self._begin, forget=self._forget)
        self.on_decision: Callable[[GlobalPlannerRole, Sequence[Change]], None] = _nobody
        """Told what each decision has changed."""
        self.heard = Heard()
        self.newest_term = 0
        """The highest that it has led with, in all of its lives."""
        self._noted = 0
        self._plane = plane
        self._tasks: list[Task] = []
        self._woken = False
        plane.on_traffic.append((self.process, self._on_traffic))

    def report(self, report: PoolReport) -> Grant | None:
        """As the gRPC servicer and its client have it."""
        if self.planner is None:
            raise UnavailableError(f"{self.process.name} is not there")
        try:
            grant = self.planner.report(report)
        except ValueError as error:
            raise RefusedError(str(error)) from None
        newest = self.planner.newest_sequence(report.pool_id)
        if newest > report.sequence:
            raise StaleReportError(sequence=report.sequence, newest=newest)
        if self.planner.wake.is_set() and not self._woken:
            self._woken = True
            self._plane.world.events.after(SETTLE_WALL_S, self._wake, self.process.life)
        return grant

    def _begin(self) -> None:
        plane = self._plane
        events, settings = plane.world.events, plane.world.planner_settings
        clock = plane.clock()
        changed = VirtualSignal(events)
        leadership = Leadership(
            _Records(plane, self),
            clock,
            Lease(),
            owner=f"{self.process.name}/{self.process.life}",
            changed=changed,
            announce=_announce,
        )
        planner = self.planner = GlobalPlanner(
            self.fleet,
            rules_of(settings),
            patience_of(settings, speed=1.0),
            clock,
            Metrics(pool.id for pool in self.fleet.pools),
            may_grow=leadership.sure,
            unwritten=changed.set,
        )
        publisher = Publisher(_Plans(plane, self.process), clock, refresh_s=_REFRESH_S)
        stop = VirtualStop(events)
        self._woken = False
        self._noted = 0
        self.heard = Heard()
        self._tasks = [
            Task(events, leadership.run(planner, stop)),
            Task(events, publisher.run(planner, stop)),
        ]
        self._tick(self.process.life)

    def _forget(self) -> None:
        for task in self._tasks:
            task.cancel()
        self.planner = None

    def _tick(self, life: int) -> None:
        """Decide every interval."""
        world = self._plane.world
        if self.process.life != life or not self.process.alive or world.over:
            return
        self._decide()
        world.events.after(world.planner_settings.interval_s, self._tick, life)

    def _wake(self, life: int) -> None:
        """Decide because what pools hold has changed."""
        if self.process.life == life and self.process.alive:
            self._decide()

    def _decide(self) -> None:
        planner = self.planner
        if planner is not None:
            self._woken = False
            planner.wake.clear()
            planner.decide()
            changes = planner.changes_after(self._noted)
            self._noted += len(changes)
            self.on_decision(self, changes)

    def _on_traffic(self, sample: TrafficSample) -> None:
        if self.planner is not None:
            self.heard.note(sample, self._plane.world.now_s)
            self.planner.on_traffic(sample)


def _nobody(role: GlobalPlannerRole, changes: Sequence[Change]) -> None:
    pass


async def _announce(leading: bool) -> None:
    """Nobody looks: reports find out by asking."""


class _Records:
    """The fleet's record in the simulated store; a `RecordStore`."""

    def __init__(self, plane: Plane, role: GlobalPlannerRole) -> None:
        self._plane = plane
        self._role = role
        self._process = role.process

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
            lambda: plane.store.get(RECORD_KEY),
            timeout_s=_TIMEOUT_S,
        )
        return cast(tuple[LedgerRecord, int], found) if found is not None else (None, 0)

    async def write(self, record: LedgerRecord, revision: int) -> int:
        plane = self._plane
        self._role.newest_term = max(self._role.newest_term, record.term)
        return await plane.network.ask(
            self._process,
            plane.store.process,
            "record",
            lambda: plane.store.update(RECORD_KEY, record, revision),
            timeout_s=_TIMEOUT_S,
        )

    def new_term(self) -> int:
        return self._plane.started_ms()


class _Plans:
    """Where routers look up the routing plan; a `PlanStore`."""

    def __init__(self, plane: Plane, process: Process) -> None:
        self._plane = plane
        self._process = process

    async def put(self, plan: RoutingPlan) -> None:
        plane = self._plane
        await plane.network.ask(
            self._process,
            plane.store.process,
            "plan",
            lambda: plane.store.put(PLAN_KEY, plan),
            timeout_s=_TIMEOUT_S,
        )
