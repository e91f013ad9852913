"""A GlobalPlanner: its own service, leadership and publisher, on the simulated store."""

from collections.abc import Callable, Sequence

from globalplanner.core.operators.effective import check_always, effective
from globalplanner.core.operators.proposals import Gate, Mode
from globalplanner.leadership import Leadership, Lease
from globalplanner.metrics import Metrics
from globalplanner.parts import patience_of, predicted_of, rules_of
from globalplanner.publisher import Publisher
from globalplanner.service import SETTLE_WALL_S, GlobalPlanner
from globalplanner.standing import Change
from weir.domain.errors import InfeasibleFloorsError
from weir.domain.fleet import Fleet
from weir.domain.telemetry import TrafficSample
from weir.simulator.process import Process
from weir.simulator.roles.desk import Desk
from weir.simulator.roles.heard import Heard
from weir.simulator.roles.plane import Plane
from weir.simulator.roles.stop import VirtualSignal, VirtualStop
from weir.simulator.roles.stored import Plans, Records
from weir.simulator.tasks import Task

__all__ = ["GlobalPlannerRole"]

_REFRESH_S = 5.0
_READ_AGAIN_S = 1.0


class GlobalPlannerRole:
    def __init__(self, plane: Plane, name: str) -> None:
        self.has_read: Fleet = plane.world.fleet
        """The document as it was when it looked last."""
        self.mode = Mode.ACT
        """Who lets decisions happen; a fault changes it."""
        self.planner: GlobalPlanner | None = None
        self.gate = Gate()
        self.desk: Desk | None = None
        """Where it takes reports in."""
        self.process = Process(name, begin=self._begin, forget=self._forget)
        self.on_decision: Callable[[GlobalPlannerRole, Sequence[Change]], None] = _nobody
        """Told what each decision has changed."""
        self.heard = Heard()
        self._noted = 0
        self._plane = plane
        self._tasks: list[Task] = []
        self._woken = False
        plane.on_traffic.append((self.process, self._on_traffic))

    def read(self) -> None:
        """Take over the document as it is now, as `Reload` does: in one piece or not yet."""
        world, planner = self._plane.world, self.planner
        if planner is None:
            return
        document, overrides = world.fleet, planner.overrides
        try:
            check_always(document, overrides)
            planner.revise(
                effective(document, overrides, world.now_s), overrides, document=document
            )
        except InfeasibleFloorsError:
            world.events.after(_READ_AGAIN_S, lambda _: self.read())
            return
        self.has_read = document
        self._wake_soon()

    def _wake_soon(self) -> None:
        """Decide soon if there is anything new."""
        if self.planner is not None and self.planner.wake.is_set() and not self._woken:
            self._woken = True
            self._plane.world.events.after(SETTLE_WALL_S, self._wake, self.process.life)

    def _begin(self) -> None:
        plane = self._plane
        events, settings = plane.world.events, plane.world.planner_settings
        clock = plane.clock()
        changed = VirtualSignal(events)
        leadership = Leadership(
            Records(plane, self.process),
            clock,
            Lease(),
            owner=f"{self.process.name}/{self.process.life}",
            changed=changed,
            announce=_announce,
        )
        self.has_read = plane.world.fleet
        self.gate = Gate(self.mode)
        planner = self.planner = GlobalPlanner(
            self.has_read,
            rules_of(settings),
            patience_of(settings, speed=1.0),
            clock,
            Metrics(pool.id for pool in self.has_read.pools),
            may_grow=leadership.sure,
            unwritten=changed.set,
            effective=lambda document, overrides: effective(document, overrides, events.now_s),
            gate=self.gate,
            predicted=predicted_of(self.has_read, settings),
        )
        self.desk = Desk(plane, self.process, planner, self._wake_soon)
        publisher = Publisher(Plans(plane, self.process), clock, refresh_s=_REFRESH_S)
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
        self.planner = self.desk = None

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
