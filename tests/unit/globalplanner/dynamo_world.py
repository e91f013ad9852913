"""GlobalPlanners that Dynamo planners ask, in virtual time: the services' own code, no processes.

Each has its leadership on one simulated store, its ledger and its arbiter. Pools do what they are
granted, one report a second; a replica takes three seconds to start and three to leave. Pools
without a Dynamo planner serve a class of their own name, five requests a second by replica.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

from globalplanner.access.identity import Identity
from globalplanner.adapters.scale_messages import decode_scale_request
from globalplanner.core.arbiter.snapshot import Rules
from globalplanner.core.dynamo.scale_request import ScaleReply, ScaleStatus
from globalplanner.leadership import Leadership, Lease
from globalplanner.metrics import Metrics
from globalplanner.scale_requests import ScaleRequests, Taken
from globalplanner.service import GlobalPlanner, Patience
from tests.unit.globalplanner.fleets import fleet, pool, report, request_class
from weir.domain.dynamo import DynamoDeployment, DynamoRules
from weir.domain.errors import UnavailableError, UnknownPoolError
from weir.domain.fleet import Fleet, PoolSpec, Role
from weir.domain.ids import ClassName, RouterId
from weir.domain.planning import Grant
from weir.domain.record import LedgerRecord
from weir.domain.telemetry import ClassTraffic, TrafficSample
from weir.simulator.events import EventHeap
from weir.simulator.network import Network
from weir.simulator.process import SkewedClock
from weir.simulator.roles.stop import VirtualSignal, VirtualStop
from weir.simulator.store import Store
from weir.simulator.tasks import Task

__all__ = ["World", "owned", "sized"]

_PATIENCE = Patience(interval_s=2.0, stale_s=15.0, grant_valid_s=15.0, silent_s=15.0)
_LEAVES_S = _STARTS_S = 3.0
_SETTLED_S = 12.0


def sized(name: str, role: Role = Role.DECODE, *, of: str = "", **changes: Any) -> PoolSpec:
    """A pool that a Dynamo planner sizes, of the deployment `of`, by default one of its own name.

    1 to 16 replicas with a GPU each, unless `changes` say otherwise.
    """
    known = DynamoDeployment(
        k8s_namespace="k8s", name=of or name, caller_namespace=f"k8s-{of or name}"
    )
    fields: dict[str, Any] = {"dynamo": known, "max_replicas": 16, "model": name}
    return pool(name, role, **(fields | changes))


def owned(name: str, **changes: Any) -> PoolSpec:
    """A pool that weir sizes, from what is offered of the class of its name."""
    return pool(name, **({"max_replicas": 16} | changes))


@dataclass(slots=True)
class Pool:
    """What runs, and the grant it acts on. `broken`: nothing starts. `gone`: nobody reports.

    `reports_to`: the instance that it asks first.
    """

    spec: PoolSpec
    ready: int
    starting: list[float] = field(default_factory=list)
    leaving: list[float] = field(default_factory=list)
    grant: Grant | None = None
    broken: bool = False
    gone: bool = False
    reports_to: int = 0

    @property
    def present(self) -> int:
        return self.ready + len(self.starting)

    @property
    def gpus(self) -> int:
        return (self.present + len(self.leaving)) * self.spec.gpus_per_replica

    def act(self, now_s: float) -> None:
        self.leaving = [until_s for until_s in self.leaving if until_s > now_s]
        self.ready += sum(until_s <= now_s for until_s in self.starting)
        self.starting = [until_s for until_s in self.starting if until_s > now_s]
        if self.grant is None:
            return
        while self.present > self.grant.replicas:
            if self.starting:
                self.starting.pop()
            else:
                self.ready -= 1
            self.leaving.append(now_s + _LEAVES_S)
        while self.present + len(self.leaving) < self.grant.replicas and not self.broken:
            self.starting.append(now_s + _STARTS_S)


class Instance:
    """One GlobalPlanner process. `cut`: it cannot reach the store."""

    def __init__(self, world: "World", whole: Fleet, name: str) -> None:
        self.cut = False
        clock = SkewedClock(events=world.events)
        changed = VirtualSignal(world.events)
        leadership = Leadership(
            _Records(world, self), clock, Lease(), owner=name, changed=changed, announce=_nobody
        )
        metrics = Metrics(spec.id for spec in whole.pools)
        self.planner = GlobalPlanner(
            whole, Rules(), _PATIENCE, clock, metrics,
            may_grow=leadership.sure, unwritten=changed.set,
        )  # fmt: skip
        self.requests = ScaleRequests(self.planner, clock, metrics)
        self.planner.wishes = self.requests.wishes
        Task(world.events, leadership.run(self.planner, VirtualStop(world.events)))


class World:
    """`gpus` is the ceiling, `least` the floor. Pools begin with `has`, settled and granted."""

    def __init__(
        self,
        *specs: PoolSpec,
        gpus: int,
        least: int | None = None,
        has: dict[str, int] | None = None,
        gone: Sequence[str] = (),
        instances: int = 1,
    ) -> None:
        whole = dataclasses.replace(
            fleet(specs, gpus=gpus, classes=[request_class(spec.id) for spec in specs]),
            dynamo=DynamoRules(min_total_gpus=least),
        )
        self.offered_rps: dict[str, int] = {}
        """By class."""
        self.gpus = gpus
        self.events = EventHeap(1000.0)
        self.store = Store(Network(self.events, Random(0), delay_s=0.0))
        self.pools = {
            spec.id: Pool(spec, (has or {}).get(spec.id, spec.min_replicas), gone=spec.id in gone)
            for spec in specs
        }
        self.instances = [Instance(self, whole, f"gp-{number}") for number in range(instances)]
        self.most_gpus = 0
        """That all pools held at once since they had settled."""
        self._sequence = count(1)
        self._tick(None)
        self.run(30)
        self.most_gpus = self.held_gpus

    @property
    def now_s(self) -> float:
        return self.events.now_s

    @property
    def held_gpus(self) -> int:
        return sum(pool.gpus for pool in self.pools.values())

    @property
    def ready(self) -> dict[str, int]:
        return {str(id): pool.ready for id, pool in self.pools.items()}

    @property
    def leader(self) -> Instance:
        (leading,) = [each for each in self.instances if each.planner.term]
        return leading

    def why(self, name: str) -> str:
        """What the status says of the pool."""
        pools = self.leader.planner.standing().pools
        return next(pool.reason for pool in pools if pool.pool_id == name)

    def run(self, seconds: float) -> None:
        self.events.run_until(self.now_s + seconds, self._check)
        self.events.now_s = max(self.events.now_s, self.now_s)

    def send(
        self,
        deployment: str,
        *,
        at: Instance | None = None,
        blocking: bool = False,
        **replicas: int,
    ) -> Taken | ScaleReply:
        """A Dynamo planner's message, as it comes: taken in, or refused at once."""
        message = {
            "caller_namespace": f"k8s-{deployment}",
            "graph_deployment_name": deployment,
            "k8s_namespace": "k8s",
            "target_replicas": [
                {"sub_component_type": component, "desired_replicas": number}
                for component, number in replicas.items()
            ],
            "blocking": blocking,
        }
        try:
            request = decode_scale_request(json.dumps(message))
        except ValueError as error:
            return ScaleReply(status=ScaleStatus.ERROR, message=str(error), current_replicas={})
        identity = Identity(name=deployment, pools=None)
        return (at or self.leader).requests.take(request, identity)

    def ask(self, deployment: str, *, blocking: bool = False, **replicas: int) -> ScaleReply:
        """The answer, a second later."""
        return self.answer(self.send(deployment, blocking=blocking, **replicas), after_s=1.0)

    def answer(self, taken: Taken | ScaleReply, *, after_s: float = _SETTLED_S) -> ScaleReply:
        """What has become of it some time later, when by default replicas have come and gone."""
        self.run(after_s)
        return taken if isinstance(taken, ScaleReply) else self.leader.requests.reply(taken)

    def _tick(self, _: object) -> None:
        for instance in self.instances:
            if instance.planner.wake.is_set() or self.now_s % 2.0 == 0.0:
                instance.planner.wake.clear()
                instance.planner.decide()
        if self.now_s % 1.0 == 0.0:
            self._offer()
            for pool in self.pools.values():
                pool.act(self.now_s)
                if not pool.gone:
                    self._report(pool)
                pool.act(self.now_s)
        self.events.after(0.25, self._tick)

    def _offer(self) -> None:
        if not self.offered_rps:
            return
        classes = tuple(
            ClassTraffic(name=ClassName(name), arrivals=rps, isl_tokens=rps * 1000)
            for name, rps in self.offered_rps.items()
        )
        sample = TrafficSample(
            router_id=RouterId("r"), sequence=int(self.now_s), window_s=1.0, classes=classes
        )
        for instance in self.instances:
            instance.planner.on_traffic(sample)

    def _report(self, pool: Pool) -> None:
        acted, is_sized = pool.grant, pool.spec.dynamo is not None
        message = report(
            pool.spec.id,
            next(self._sequence),
            ready=pool.ready,
            starting=len(pool.starting),
            terminating=len(pool.leaving),
            acted=(acted.term, acted.epoch, acted.replicas) if acted else (0, 0, 0),
            capacity_rps={} if is_sized else {ClassName(pool.spec.id): 5.0},
            backlog_replica_s=None if is_sized else 0.0,
            telemetry_age_s=None if is_sized else 0.5,
        )
        first = pool.reports_to
        for instance in (*self.instances[first:], *self.instances[:first]):
            try:
                grant = instance.planner.report(message)
            except (UnavailableError, UnknownPoolError):
                continue
            if grant is not None and (acted is None or grant.number >= acted.number):
                pool.grant = grant
            return

    def _check(self) -> None:
        self.most_gpus = max(self.most_gpus, self.held_gpus)


class _Records:
    """The record in the simulated store; a `RecordStore`."""

    def __init__(self, world: World, instance: Instance) -> None:
        self._world = world
        self._instance = instance

    @property
    def connected(self) -> bool:
        return not self._instance.cut

    async def read(self) -> tuple[LedgerRecord | None, int]:
        self._reach()
        found: Any = self._world.store.get("record")
        return found if found is not None else (None, 0)

    async def write(self, record: LedgerRecord, revision: int) -> int:
        self._reach()
        return self._world.store.update("record", record, revision)

    def new_term(self) -> int:
        return int(self._world.now_s)

    def _reach(self) -> None:
        if self._instance.cut:
            raise UnavailableError("the store is away")


async def _nobody(leading: bool) -> None:
    """Nobody is told."""
