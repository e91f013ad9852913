"""The machines: replicas that start, serve, drain and die, and the GPUs they hold.

Invariant: `held_gpus` = GPUs of all replicas that are not gone, at every instant; each of them
was started by `start` or `place`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from random import Random

from weir.domain.fleet import Fleet, PoolSpec
from weir.domain.ids import PoolId, WorkerId
from weir.domain.profile import EngineProfile
from weir.fleet.settings import SimulationSettings
from weir.simulator.events import EventHeap
from weir.simulator.replica import Listener, Phase, Replica

__all__ = ["Cluster", "PoolOfReplicas", "StartPlan"]


@dataclass(slots=True, kw_only=True)
class StartPlan:
    """How one start goes; a fault may change it."""

    delay_s: float
    fails: bool = False


@dataclass(slots=True, kw_only=True)
class PoolOfReplicas:
    """One pool. `profile` is what its engines really do, before noise among them."""

    spec: PoolSpec
    profile: EngineProfile
    listener: Listener
    replicas: dict[WorkerId, Replica] = field(default_factory=dict)
    ready: list[Replica] = field(default_factory=list)
    """Those that serve, oldest first."""
    started: int = 0
    stopped: int = 0
    ready_s: float = 0.0
    """Seconds that replicas have been ready, in the counted time."""
    gpu_s: float = 0.0
    """Seconds that GPUs were held, in the counted time."""
    gone_busy_s: float = 0.0
    """Seconds that engines of replicas which are gone have computed, in all of their lives."""
    fewest_ready: int | None = None
    """Of the counted time, as is `most_ready`; None before it."""
    most_ready: int | None = None
    accounted_s: float = -inf
    """Up to when the counters of time are right."""

    @property
    def gpus(self) -> int:
        return len(self.replicas) * self.spec.gpus_per_replica

    @property
    def staying(self) -> int:
        """Ready or starting."""
        return sum(r.phase is not Phase.TERMINATING for r in self.replicas.values())

    def phase_count(self, phase: Phase) -> int:
        return sum(replica.phase is phase for replica in self.replicas.values())

    def busy_s(self, now_s: float) -> float:
        """Seconds that its engines have computed so far."""
        living = (replica.run.totals(now_s).busy_s for replica in self.replicas.values())
        return self.gone_busy_s + sum(living)


class Cluster:
    """`counted`: from when to when GPU time counts. `on_change` hears of every changed pool."""

    def __init__(
        self,
        fleet: Fleet,
        profiles: Mapping[PoolId, EngineProfile],
        listeners: Mapping[PoolId, Listener],
        settings: SimulationSettings,
        events: EventHeap,
        rng: Random,
        *,
        counted: tuple[float, float],
    ) -> None:
        self.fleet = fleet
        self.pools = {
            spec.id: PoolOfReplicas(
                spec=spec, profile=profiles[spec.id], listener=listeners[spec.id]
            )
            for spec in fleet.pools
        }
        self.held_gpus = 0
        self.peak_gpus = 0
        self.foreign_gpus: dict[str, int] = {}
        """What others hold, by node group."""
        self.on_change: list[Callable[[PoolOfReplicas], None]] = []
        self.on_remove: list[Callable[[Replica], None]] = []
        """Hears of replicas that end as planned, before the calls on them are lost."""
        self.on_start: list[Callable[[PoolSpec, StartPlan], None]] = []
        """A fault's chance to make a start slow or fail."""
        self.on_stop: list[Callable[[Replica, float], float | None]] = []
        """A fault's chance to keep a pod: seconds until it goes, whatever is on it."""
        self._settings = settings
        self._events = events
        self._rng = rng
        self._counted = counted
        self._numbers = 0
        self._stuck: set[WorkerId] = set()
        for pool in self.pools.values():
            pool.listener.emptied = self._emptied

    # --- commands ------------------------------------------------------------------------

    def place(self, pool_id: PoolId, count: int) -> None:
        """Replicas that are there and ready from the start."""
        for _ in range(count):
            replica = self._add(self.pools[pool_id])
            self._became_ready(replica)

    def start(self, pool_id: PoolId) -> Replica | None:
        """Order a replica; None if the nodes have no GPUs left for it."""
        pool = self.pools[pool_id]
        if pool.spec.gpus_per_replica > self.free_gpus(pool.spec):
            return None
        spread = self._settings.start_up_spread
        delay_s = pool.spec.start_up_s * self._rng.uniform(1.0 - spread, 1.0 + spread)
        plan = StartPlan(delay_s=delay_s)
        for spoil in self.on_start:
            spoil(pool.spec, plan)
        replica = self._add(pool)
        pool.started += 1
        self._events.after(plan.delay_s, self._failed if plan.fails else self._started, replica)
        self._changed(pool)
        return replica

    def stop(self, replica: Replica, drain_s: float) -> None:
        """Take it out of service; it goes when its calls have ended or `drain_s` are over."""
        if replica.phase in (Phase.TERMINATING, Phase.GONE):
            return
        pool = self.pools[replica.pool_id]
        self._account(pool)
        serving = replica.phase is Phase.READY
        replica.phase = Phase.TERMINATING
        replica.drained_by_s = self._events.now_s + drain_s
        pool.stopped += 1
        if serving:
            pool.ready.remove(replica)
        self._changed(pool)
        stays_s = [stay_s for keep in self.on_stop if (stay_s := keep(replica, drain_s))]
        if stays_s:
            self._stuck.add(replica.id)
            self._events.after(max(stays_s), self.remove, replica)
        elif replica.in_flight == 0:
            self.remove(replica)
        else:
            self._events.after(drain_s, self.remove, replica)

    def remove(self, replica: Replica) -> None:
        """End it as planned; calls on it are lost. Doing it twice changes nothing."""
        if replica.phase is not Phase.GONE:
            for hear in self.on_remove:
                hear(replica)
            self.kill(replica)

    def kill(self, replica: Replica) -> None:
        """It dies, planned or not, and the calls on it are lost."""
        if replica.phase is Phase.GONE:
            return
        pool = self.pools[replica.pool_id]
        self._account(pool)
        if replica.phase is Phase.READY:
            pool.ready.remove(replica)
        del pool.replicas[replica.id]
        pool.gone_busy_s += replica.run.totals(self._events.now_s).busy_s
        self.held_gpus -= replica.gpus
        replica.die()
        self._changed(pool)

    # --- views ---------------------------------------------------------------------------

    def free_gpus(self, spec: PoolSpec) -> int:
        """GPUs of the pool's nodes that nobody holds."""
        group = next(g for g in self.fleet.node_groups if g.name == spec.node_group)
        used = sum(p.gpus for p in self.pools.values() if p.spec.node_group == spec.node_group)
        return group.gpus - used - self.foreign_gpus.get(group.name, 0)

    def settle(self) -> None:
        """Bring the time counters up to now."""
        for pool in self.pools.values():
            self._account(pool)

    # --- life ----------------------------------------------------------------------------

    def _add(self, pool: PoolOfReplicas) -> Replica:
        self._account(pool)
        self._numbers += 1
        noise = max(0.5, self._rng.gauss(1.0, self._settings.speed_noise))
        profile = replace(pool.profile, speed=pool.profile.speed * noise)
        replica = Replica(
            WorkerId(f"{pool.spec.id}-{self._numbers}"),
            pool.spec.id,
            profile,
            pool.spec.gpus_per_replica,
            self._events,
            pool.listener,
        )
        pool.replicas[replica.id] = replica
        self.held_gpus += replica.gpus
        self.peak_gpus = max(self.peak_gpus, self.held_gpus)
        return replica

    def _started(self, replica: Replica) -> None:
        if replica.phase is Phase.STARTING:
            self._became_ready(replica)

    def _became_ready(self, replica: Replica) -> None:
        pool = self.pools[replica.pool_id]
        self._account(pool)
        replica.phase = Phase.READY
        replica.ready_at_s = self._events.now_s
        pool.ready.append(replica)
        self._changed(pool)

    def _failed(self, replica: Replica) -> None:
        if replica.phase is Phase.STARTING:
            self.remove(replica)

    def _emptied(self, replica: Replica) -> None:
        """The last call of a leaving replica has ended: it goes, unless it is stuck."""
        if replica.id not in self._stuck:
            self._events.after(0.0, self.remove, replica)

    def _changed(self, pool: PoolOfReplicas) -> None:
        for hear in self.on_change:
            hear(pool)

    def _account(self, pool: PoolOfReplicas) -> None:
        """Before the pool changes: what it has been since it last did."""
        now_s = self._events.now_s
        begin_s, end_s = self._counted
        span_s = min(now_s, end_s) - max(pool.accounted_s, begin_s)
        pool.accounted_s = now_s
        if span_s <= 0.0:
            return
        ready = len(pool.ready)
        pool.gpu_s += span_s * pool.gpus
        pool.ready_s += span_s * ready
        pool.fewest_ready = ready if pool.fewest_ready is None else min(pool.fewest_ready, ready)
        pool.most_ready = max(pool.most_ready or 0, ready)
