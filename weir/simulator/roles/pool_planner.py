"""One pool's planner: its own service, on a simulated actuator, GlobalPlanner and store."""

from collections.abc import Sequence
from math import inf

from poolplanner.core.pace import Pace
from poolplanner.core.replicas import Replica, ReplicaState
from poolplanner.core.report import Reporter
from poolplanner.metrics import Metrics
from poolplanner.parts import pace_of, reporter_of, schedule_of
from poolplanner.ports import RefusedError
from poolplanner.service import Origin, PoolPlanner
from weir.domain.fleet import PoolSpec
from weir.domain.ids import WorkerId
from weir.domain.planning import Grant, PoolMembers
from weir.domain.telemetry import ForwardPassSample, TrafficSample
from weir.simulator.process import Process
from weir.simulator.replica import Phase
from weir.simulator.roles.heard import Heard
from weir.simulator.roles.keys import members_key
from weir.simulator.roles.plane import Plane
from weir.simulator.roles.report_link import Find, ReportLink
from weir.simulator.roles.stop import VirtualSignal, VirtualStop
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
        self.clock = plane.clock()
        self.began_s = 0.0
        self.heard = Heard()
        self.expires_at_s: dict[tuple[int, int], float] = {}
        """When grants do that it has been given in this life, as its own clock tells it."""
        self._task: Task | None = None
        plane.on_traffic.append((self.process, self._on_traffic))
        plane.on_forward_pass[spec.id] = (self.process, self._on_forward_pass)

    def _begin(self) -> None:
        plane, spec, process = self._plane, self.spec, self.process
        loaded, events = plane.world.scenario.loaded, plane.world.events
        self.clock = plane.clock()
        self.began_s = plane.world.now_s
        self.heard = Heard()
        self.expires_at_s = {}
        started_ms = plane.started_ms()
        self.reporter = reporter_of(spec, loaded, speed=1.0)
        self.pace = pace_of(spec, settle_s=_SETTLE_S, unsettled_s=_UNSETTLED_S)
        wake = VirtualSignal(events)
        link = ReportLink(
            plane,
            process,
            self._find,
            pushed=wake.set,
            answered=self._answered,
            clock_s=self.clock.now_s,
        )
        self.planner = PoolPlanner(
            reporter=self.reporter,
            pace=self.pace,
            actuator=_Actuator(plane, self),
            planner=link,
            members=_Members(plane, process, spec),
            clock=self.clock,
            metrics=Metrics(spec.id),
            schedule=schedule_of(loaded.planner, unsettled_s=_UNSETTLED_S),
            origin=Origin(sequence=started_ms, version=started_ms),
            wake=wake,
        )
        self._task = Task(events, self.planner.run(VirtualStop(events)))

    def _forget(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self.planner = self.pace = self.reporter = None

    def _on_traffic(self, sample: TrafficSample) -> None:
        if self.reporter is not None:
            self.heard.note(sample, self._plane.world.now_s)
            self.reporter.telemetry.on_traffic(sample, self.clock.now_s())

    def _on_forward_pass(self, sample: ForwardPassSample) -> None:
        if self.reporter is not None:
            self.reporter.telemetry.on_forward_pass(sample, self.clock.now_s())

    def _answered(self, grant: Grant, sent_at_s: float) -> None:
        """A report that was sent at `sent_at_s`, by its own clock, has this answer."""
        pair, expires_at_s = (grant.term, grant.epoch), sent_at_s + grant.valid_s
        self.expires_at_s[pair] = max(expires_at_s, self.expires_at_s.get(pair, -inf))
        self._plane.world.invariants.budget.answered(self.spec.id)


class _Actuator:
    """Replicas through the cluster's API; an `Actuator`."""

    def __init__(self, plane: Plane, role: PoolPlannerRole) -> None:
        self._plane = plane
        self._role = role
        self._process = role.process
        self._spec = role.spec

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
        budget = self._plane.world.invariants.budget
        order = budget.start_ordered(self._role, grant)

        def started() -> WorkerId:
            budget.start_arrived(self._spec.id, order)
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
        self._plane.world.invariants.drains.stop_ordered(self._spec.id, worker_id)

        def stopped() -> None:
            replica = cluster.pools[self._spec.id].replicas.get(worker_id)
            if replica is not None:
                cluster.stop(replica, drain_s)

        await self._plane.network.ask(
            self._process, self._plane.cluster, "actuator", stopped, timeout_s=_RPC_TIMEOUT_S
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
        plane, life = self._plane, self._process.life

        def put() -> None:
            plane.world.invariants.drains.announced(members, life)
            plane.store.put(self._key, members)

        await plane.network.ask(
            self._process, plane.store.process, "members", put, timeout_s=_STORE_TIMEOUT_S
        )
