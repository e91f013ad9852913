"""One pool's planner: its own service, on a simulated actuator, GlobalPlanner and store."""

from collections.abc import Callable, Sequence

from poolplanner.core.pace import Pace
from poolplanner.core.replicas import Replica, ReplicaState
from poolplanner.core.report import Reporter
from poolplanner.metrics import Metrics
from poolplanner.parts import pace_of, reporter_of, schedule_of
from poolplanner.ports import RefusedError
from poolplanner.service import Origin, PoolPlanner
from weir.domain.errors import UnavailableError
from weir.domain.fleet import PoolSpec
from weir.domain.ids import WorkerId
from weir.domain.planning import Grant, PoolMembers, PoolReport
from weir.domain.telemetry import ForwardPassSample, TrafficSample
from weir.simulator.process import Process
from weir.simulator.replica import Phase
from weir.simulator.roles.global_planner import GlobalPlannerRole
from weir.simulator.roles.keys import members_key
from weir.simulator.roles.plane import Plane
from weir.simulator.roles.stop import VirtualStop
from weir.simulator.tasks import Task

__all__ = ["PoolPlannerRole"]

_RPC_TIMEOUT_S = 2.0
_STORE_TIMEOUT_S = 1.0
_SETTLE_S = 1.0
_UNSETTLED_S = 10.0
_PORT = 8000

_STATES = {
    Phase.STARTING: ReplicaState.STARTING,
    Phase.READY: ReplicaState.READY,
    Phase.TERMINATING: ReplicaState.TERMINATING,
}

Find = Callable[[], GlobalPlannerRole | None]


class PoolPlannerRole:
    """`find` names the GlobalPlanner that a report reaches now, None if there is none."""

    def __init__(self, plane: Plane, spec: PoolSpec, find: Find) -> None:
        self.spec = spec
        self.planner: PoolPlanner | None = None
        self.pace: Pace | None = None
        self.reporter: Reporter | None = None
        self.process = Process(f"pool-planner-{spec.id}", begin=self._begin, forget=self._forget)
        self._plane = plane
        self._find = find
        self._clock = plane.clock()
        self._task: Task | None = None
        plane.on_traffic.append((self.process, self._on_traffic))
        plane.on_forward_pass[spec.id] = (self.process, self._on_forward_pass)

    def _begin(self) -> None:
        plane, spec, process = self._plane, self.spec, self.process
        loaded, events = plane.world.scenario.loaded, plane.world.events
        self._clock = plane.clock()
        started_ms = plane.started_ms()
        self.reporter = reporter_of(spec, loaded, speed=1.0)
        self.pace = pace_of(spec, settle_s=_SETTLE_S, unsettled_s=_UNSETTLED_S)
        self.planner = PoolPlanner(
            reporter=self.reporter,
            pace=self.pace,
            actuator=_Actuator(plane, process, spec),
            planner=_Grants(plane, process, self._find),
            members=_Members(plane, process, spec),
            clock=self._clock,
            metrics=Metrics(spec.id),
            schedule=schedule_of(loaded.planner),
            origin=Origin(sequence=started_ms, version=started_ms),
        )
        self._task = Task(events, self.planner.run(VirtualStop(events)))

    def _forget(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self.planner = self.pace = self.reporter = None

    def _on_traffic(self, sample: TrafficSample) -> None:
        if self.reporter is not None:
            self.reporter.telemetry.on_traffic(sample, self._clock.now_s())

    def _on_forward_pass(self, sample: ForwardPassSample) -> None:
        if self.reporter is not None:
            self.reporter.telemetry.on_forward_pass(sample, self._clock.now_s())


class _Actuator:
    """Replicas through the cluster's API; an `Actuator`."""

    def __init__(self, plane: Plane, process: Process, spec: PoolSpec) -> None:
        self._plane = plane
        self._process = process
        self._spec = spec
        self._newest = (0, 0)

    async def list(self) -> Sequence[Replica]:
        pool = self._plane.world.cluster.pools[self._spec.id]

        def listed() -> list[Replica]:
            return [
                Replica(
                    id=replica.id,
                    state=_STATES[replica.phase],
                    host="replica",
                    port=_PORT,
                    in_flight=replica.in_flight,
                )
                for replica in pool.replicas.values()
            ]

        return await self._plane.network.ask(
            self._process, self._plane.cluster, "actuator", listed, timeout_s=_RPC_TIMEOUT_S
        )

    async def start(self, grant: Grant) -> WorkerId:
        cluster = self._plane.world.cluster

        def started() -> WorkerId:
            replica = cluster.start(self._spec.id)
            if replica is None:
                raise RefusedError(f"the nodes have no GPUs left for pool {self._spec.id}")
            return replica.id

        return await self._plane.network.ask(
            self._process,
            self._plane.cluster,
            "actuator",
            started,
            timeout_s=_RPC_TIMEOUT_S,
            once=True,
        )

    async def stop(self, worker_id: WorkerId, *, drain_s: float) -> None:
        cluster = self._plane.world.cluster

        def stopped() -> None:
            replica = cluster.pools[self._spec.id].replicas.get(worker_id)
            if replica is not None:
                cluster.stop(replica, drain_s)

        await self._plane.network.ask(
            self._process, self._plane.cluster, "actuator", stopped, timeout_s=_RPC_TIMEOUT_S
        )


class _Grants:
    """The GlobalPlanner by RPC; a `GrantSource`."""

    def __init__(self, plane: Plane, process: Process, find: Find) -> None:
        self._plane = plane
        self._process = process
        self._find = find

    async def report(self, report: PoolReport) -> Grant | None:
        target = self._find()
        if target is None:
            raise UnavailableError("no GlobalPlanner is there")
        return await self._plane.network.ask(
            self._process,
            target.process,
            "report",
            lambda: target.report(report),
            timeout_s=_RPC_TIMEOUT_S,
        )


class _Members:
    """The pool's members in the store; a `MembersStore`."""

    def __init__(self, plane: Plane, process: Process, spec: PoolSpec) -> None:
        self._plane = plane
        self._process = process
        self._key = members_key(spec.id)

    async def newest_version(self) -> int:
        store = self._plane.store

        def version() -> int:
            found = store.get(self._key)
            members = found[0] if found is not None else None
            return members.version if isinstance(members, PoolMembers) else 0

        return await self._plane.network.ask(
            self._process, store.process, "members", version, timeout_s=_STORE_TIMEOUT_S
        )

    async def put(self, members: PoolMembers) -> None:
        store = self._plane.store
        await self._plane.network.ask(
            self._process,
            store.process,
            "members",
            lambda: store.put(self._key, members),
            timeout_s=_STORE_TIMEOUT_S,
        )
