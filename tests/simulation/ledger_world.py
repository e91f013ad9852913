"""A world for the ledger: pools with real GPUs, a network that fails, leaders that come and go.

One seed, virtual time. The pools are simple pool planners: they report every two seconds, act
only inside their newest grant, start one replica at a time and take a while to stop one. The
network loses, delays, doubles and reorders. Pools, engines and leaders crash and come back; a
leader keeps nothing but the number of its term, and an old one may live on beside a new one.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from globalplanner.core.ledger import Ledger
from globalplanner.core.limits import limits_of
from weir.domain.errors import StaleTermError
from weir.domain.fleet import Fleet
from weir.domain.ids import PoolId
from weir.domain.planning import Grant, PoolReport, PoolState

REPORT_S = 2.0
DEADLINE_S = 2.0
VALID_S = 15.0


@dataclass(slots=True)
class Engine:
    state: str = "starting"


@dataclass(slots=True)
class Pool:
    """Engines outlive their planner; everything else is lost when it crashes."""

    id: PoolId
    engines: list[Engine] = field(default_factory=list)
    incarnation: int = 0
    alive: bool = True
    grant: Grant | None = None
    expires_at_s: float = 0.0
    call: int = 0

    def state(self) -> PoolState:
        states = [engine.state for engine in self.engines]
        return PoolState(
            ready=states.count("ready"),
            starting=states.count("starting"),
            terminating=states.count("terminating"),
        )


@dataclass(slots=True)
class Leader:
    ledger: Ledger
    deposed: bool = False
    alive: bool = True


class World:
    """Run with `run_until`; `check` is called after every event."""

    def __init__(
        self, fleet: Fleet, seed: int, *, new_ledger: Callable[[Fleet, int], Ledger]
    ) -> None:
        self.fleet = fleet
        self.limits = limits_of(fleet)
        self.random = random.Random(seed)
        self.now_s = 0.0
        self.pools = {spec.id: Pool(spec.id) for spec in fleet.pools}
        self.leaders: list[Leader] = []
        self.faulty = True
        self.targets: dict[PoolId, int] | None = None
        """What every leader aims at; None: something else every few seconds."""
        self.grants_taken = 0
        self._new_ledger = new_ledger
        self._term = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._sequence = count(1)
        self._elect()
        for pool in self.pools.values():
            self.later(self.random.uniform(0.0, REPORT_S), lambda pool=pool: self._tick(pool, 0))
        self.later(self.random.uniform(2.0, 6.0), self._aim)
        self.later(self.random.uniform(5.0, 20.0), self._fail)

    def later(self, delay_s: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now_s + delay_s, next(self._order), event))

    def run_until(self, end_s: float, check: Callable[[], None]) -> None:
        while self._events and self._events[0][0] <= end_s:
            self.now_s, _, event = heapq.heappop(self._events)
            event()
            check()
        self.now_s = end_s

    def running_gpus(self) -> dict[PoolId, int]:
        return {
            spec.id: len(self.pools[spec.id].engines) * spec.gpus_per_replica
            for spec in self.fleet.pools
        }

    # --- leaders -------------------------------------------------------------------------

    def _elect(self) -> None:
        for leader in self.leaders:
            leader.deposed = True
        self._term += 1
        self.leaders.append(Leader(self._new_ledger(self.fleet, self._term)))

    def _lead(self) -> Leader | None:
        """Whom a call reaches: the newest mostly, or one that does not know it is deposed."""
        alive = [leader for leader in self.leaders if leader.alive]
        if len(alive) > 1 and self.random.random() < 0.3:
            return self.random.choice(alive)
        return alive[-1] if alive else None

    def _aim(self) -> None:
        """Some allocation that fits, whatever for."""
        self.later(self.random.uniform(1.0, 8.0), self._aim)
        targets = {spec.id: spec.min_replicas for spec in self.fleet.pools}
        for spec in self.random.sample(self.fleet.pools, len(self.fleet.pools)):
            for _ in range(self.random.randint(0, spec.max_replicas)):
                more = {**targets, spec.id: min(targets[spec.id] + 1, spec.max_replicas)}
                if all(limit.holds(self._gpus(more)) for limit in self.limits):
                    targets = more
        targets = self.targets or targets
        for leader in self.leaders:
            if leader.alive:
                leader.ledger.aim(targets, {}, growing=not leader.deposed)

    def _gpus(self, replicas: dict[PoolId, int]) -> dict[PoolId, int]:
        return {spec.id: replicas[spec.id] * spec.gpus_per_replica for spec in self.fleet.pools}

    # --- pools ---------------------------------------------------------------------------

    def _tick(self, pool: Pool, incarnation: int) -> None:
        if not pool.alive or pool.incarnation != incarnation:
            return
        self.later(REPORT_S, lambda: self._tick(pool, incarnation))
        self._act(pool)
        self._report(pool)

    def _report(self, pool: Pool) -> None:
        """One call at a time: answers to earlier ones are not listened to any more."""
        pool.call += 1
        call, incarnation, sent_at_s = pool.call, pool.incarnation, self.now_s
        grant = pool.grant
        report = PoolReport(
            pool_id=pool.id,
            sequence=next(self._sequence),
            acted_term=grant.term if grant else 0,
            acted_epoch=grant.epoch if grant else 0,
            acted_replicas=grant.replicas if grant else 0,
            state=pool.state(),
            capacity_rps={},
            capacity_rel_std=0.0,
        )

        def answered(grant: Grant) -> None:
            same = pool.alive and (pool.incarnation, pool.call) == (incarnation, call)
            if same and self.now_s - sent_at_s <= DEADLINE_S:
                self._take(pool, grant, sent_at_s)

        def arrived() -> None:
            leader = self._lead()
            if leader is None:
                return
            try:
                receipt = leader.ledger.report(report, self.now_s, growing=not leader.deposed)
            except StaleTermError:
                return
            if receipt.grant is not None:
                answer = receipt.grant
                self._send(lambda: answered(answer))

        self._send(arrived)

    def _send(self, deliver: Callable[[], None]) -> None:
        """Lost, late, doubled, in any order."""
        if not self.faulty:
            self.later(0.01, deliver)
            return
        for _ in range(self.random.choices([0, 1, 2], weights=[0.2, 0.65, 0.15])[0]):
            slow = self.random.random() < 0.2
            self.later(self.random.uniform(0.1, 8.0) if slow else 0.01, deliver)

    def _take(self, pool: Pool, grant: Grant, sent_at_s: float) -> None:
        known = pool.grant
        if known is not None and (grant.term, grant.epoch) < (known.term, known.epoch):
            return
        self.grants_taken += known != grant
        pool.grant, pool.expires_at_s = grant, sent_at_s + grant.valid_s
        self._act(pool)

    def _act(self, pool: Pool) -> None:
        if pool.grant is None or self.now_s >= pool.expires_at_s:
            return
        live = [engine for engine in pool.engines if engine.state != "terminating"]
        for engine in live[pool.grant.replicas :]:
            engine.state = "terminating"
            self.later(self.random.uniform(0.5, 30.0), lambda e=engine: self._gone(pool, e))
        if len(pool.engines) < pool.grant.replicas:
            engine = Engine()
            pool.engines.append(engine)
            self.later(self.random.uniform(1.0, 10.0), lambda: self._ready(engine))

    def _ready(self, engine: Engine) -> None:
        if engine.state == "starting":
            engine.state = "ready"

    def _gone(self, pool: Pool, engine: Engine) -> None:
        if engine in pool.engines:
            pool.engines.remove(engine)

    # --- faults --------------------------------------------------------------------------

    def _fail(self) -> None:
        if not self.faulty:
            return
        self.later(self.random.uniform(3.0, 20.0), self._fail)
        pool = self.random.choice(list(self.pools.values()))
        kind = self.random.choice(["pool", "engine", "leader", "second leader", "quiet"])
        if kind == "pool" and pool.alive:
            pool.alive = False
            self.later(self.random.uniform(0.5, 30.0), lambda: self._revive(pool))
        elif kind == "engine" and pool.engines:
            pool.engines.remove(self.random.choice(pool.engines))
        elif kind == "leader":
            for leader in self.leaders:
                leader.alive = False
            self.later(self.random.uniform(0.1, 10.0), self._elect)
        elif kind == "second leader":
            old = self.leaders[-1]
            self._elect()
            self.later(self.random.uniform(5.0, 40.0), lambda: self._end(old))

    def _end(self, leader: Leader) -> None:
        leader.alive = False

    def _revive(self, pool: Pool) -> None:
        pool.alive, pool.grant, pool.expires_at_s = True, None, 0.0
        pool.incarnation += 1
        self._tick(pool, pool.incarnation)
