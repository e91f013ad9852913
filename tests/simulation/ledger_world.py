"""A world for the ledger: pools with real GPUs, a network that fails, leaders that come and go.

One seed, virtual time. The pools are simple pool planners: they report every two seconds, act
only inside their newest grant, start one replica at a time and take a while to stop one. The
network loses, delays, doubles and reorders. Pools, engines and leaders crash and come back. A
leader keeps nothing but the record, which it writes by compare-and-set: writes and their answers
are lost or late, the store is away for a while or loses everything. An old leader may live on
beside a new one, until it finds out by a write.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count

from globalplanner.core.budget.ledger import Ledger
from globalplanner.core.budget.limits import limits_of
from weir.domain.errors import StaleTermError, UnknownPoolError
from weir.domain.fleet import Fleet
from weir.domain.ids import PoolId
from weir.domain.planning import Grant, PoolReport, PoolState
from weir.domain.record import LedgerRecord

REPORT_S = 2.0
LOOK_S = 0.5
RENEW_S = 1.0
LEASE_S = 4.0
DEADLINE_S = 2.0
VALID_S = 15.0
KINDS = ("pool", "engine", "leader", "second leader", "store away", "withdrawal")
RARE_KINDS = ("store lost", "document")
"""A world has one of them: of a pool that the document has no more, only the record tells."""


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
    withdrawn_at: int | None = None
    """It has said that it starts no more than this."""

    @property
    def most(self) -> int:
        """What it may run of its grant."""
        granted = self.grant.replicas if self.grant is not None else 0
        return granted if self.withdrawn_at is None else min(granted, self.withdrawn_at)

    def state(self) -> PoolState:
        states = [engine.state for engine in self.engines]
        return PoolState(
            ready=states.count("ready"),
            starting=states.count("starting"),
            terminating=states.count("terminating"),
        )


@dataclass(slots=True)
class Leader:
    """`revision` is the record's as far as it knows; `asked` numbers its writes."""

    ledger: Ledger
    revision: int
    alive: bool = True
    cut_until_s: float = 0.0
    writing: bool = False
    asked: int = 0


@dataclass(slots=True)
class Store:
    record: LedgerRecord | None = None
    revision: int = 0
    written_at_s: float = -LEASE_S
    away_until_s: float = 0.0

    def update(self, record: LedgerRecord, revision: int, now_s: float) -> bool:
        if revision != self.revision:
            return False
        self.record, self.revision, self.written_at_s = record, self.revision + 1, now_s
        return True


class World:
    """Run with `run_until`; `check` is called after every event."""

    def __init__(
        self,
        fleet: Fleet,
        seed: int,
        *,
        new_ledger: Callable[[Fleet, int, LedgerRecord | None], Ledger],
    ) -> None:
        self.fleet = self.whole = fleet
        self.limits = limits_of(fleet)
        self.random = random.Random(seed)
        self.now_s = 0.0
        self.pools = {spec.id: Pool(spec.id) for spec in fleet.pools}
        self.leaders: list[Leader] = []
        self.store = Store()
        self.faulty = True
        self.targets: dict[PoolId, int] | None = None
        """What every leader aims at; None: something else every few seconds."""
        self.grants_taken = 0
        self._new_ledger = new_ledger
        self._terms = 0
        self._kinds = (*KINDS, RARE_KINDS[seed % 2])
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._sequence = count(1)
        self._stand_by()
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

    def calm(self) -> None:
        """No more faults, and the whole document again."""
        self.faulty = False
        self.fleet = self.whole
        for pool in self.pools.values():
            pool.withdrawn_at = None
        for leader in self.leaders:
            self._read(leader)

    def running_gpus(self) -> dict[PoolId, int]:
        return {
            spec.id: len(self.pools[spec.id].engines) * spec.gpus_per_replica
            for spec in self.whole.pools
        }

    # --- leaders -------------------------------------------------------------------------

    def _stand_by(self) -> None:
        """Take over a record that nobody writes. The old leader may not know it yet."""
        self.later(LOOK_S, self._stand_by)
        store = self.store
        if self.now_s < store.away_until_s or self.now_s - store.written_at_s < LEASE_S:
            return
        self._terms += 1
        record = store.record
        term = record.term + 1 if record is not None else 1000 * self._terms
        ledger = self._new_ledger(self.fleet, term, record)
        begun = LedgerRecord(term=term, owner=f"{term}", serial=0, pools=ledger.lines())
        store.update(begun, store.revision, self.now_s)
        self.leaders.append(Leader(ledger, store.revision))
        self._renew(self.leaders[-1])

    def _renew(self, leader: Leader) -> None:
        if leader.alive:
            self._write(leader)
            self.later(RENEW_S, lambda: self._renew(leader))

    def _write(self, leader: Leader) -> None:
        """Write the record; one write at a time."""
        ledger = leader.ledger
        if leader.writing or not leader.alive:
            return
        leader.writing, leader.asked = True, leader.asked + 1
        asked, epoch, revision = leader.asked, ledger.epoch, leader.revision
        record = LedgerRecord(
            term=ledger.term, owner=f"{ledger.term}", serial=asked, pools=ledger.lines()
        )

        def arrived() -> None:
            if self.now_s < max(self.store.away_until_s, leader.cut_until_s):
                return
            if self.store.update(record, revision, self.now_s):
                self._send(answered)
            elif leader.revision == revision and leader.asked == asked:
                self._send(lambda: self._look(leader))

        def answered() -> None:
            if leader.writing and leader.asked == asked:
                leader.writing, leader.revision = False, revision + 1
                ledger.written(epoch)
                if ledger.unwritten:
                    self._write(leader)

        def late() -> None:
            if leader.writing and leader.asked == asked:
                self._look(leader)

        self._send(arrived)
        self.later(DEADLINE_S, late)

    def _write_if_needed(self, leader: Leader) -> None:
        if leader.ledger.unwritten:
            self._write(leader)

    def _look(self, leader: Leader) -> None:
        """What has become of a write: a look at the record, which answers truly or not at all."""
        away_until_s = max(self.store.away_until_s, leader.cut_until_s)
        if self.now_s < away_until_s or (self.faulty and self.random.random() < 0.2):
            self.later(1.0, lambda: self._look(leader))
            return
        record, revision = self.store.record, self.store.revision
        own = record is not None and record.term == leader.ledger.term
        if own or revision == leader.revision:
            leader.revision, leader.writing = revision, False
            self._write(leader)
        else:
            leader.alive = False

    def _lead(self) -> Leader | None:
        """Whom a call reaches: the newest mostly, or one that does not know it is deposed."""
        alive = [leader for leader in self.leaders if leader.alive]
        if len(alive) > 1 and self.random.random() < 0.3:
            return self.random.choice(alive)
        return alive[-1] if alive else None

    def _aim(self) -> None:
        """Some allocation that fits, whatever for."""
        self.later(self.random.uniform(1.0, 8.0), self._aim)
        targets = {spec.id: spec.min_replicas for spec in self.whole.pools}
        for spec in self.random.sample(self.fleet.pools, len(self.fleet.pools)):
            for _ in range(self.random.randint(0, spec.max_replicas)):
                more = {**targets, spec.id: min(targets[spec.id] + 1, spec.max_replicas)}
                if all(limit.holds(self._gpus(more)) for limit in self.limits):
                    targets = more
        targets = self.targets or targets
        for leader in self.leaders:
            if leader.alive:
                there = leader.ledger.accounts
                leader.ledger.aim({id: n for id, n in targets.items() if id in there}, {})
                self._write_if_needed(leader)

    def _gpus(self, replicas: dict[PoolId, int]) -> dict[PoolId, int]:
        return {spec.id: replicas[spec.id] * spec.gpus_per_replica for spec in self.whole.pools}

    def _revise(self) -> None:
        """A pool leaves the document, or comes back; leaders learn it one after the other."""
        pool = self.random.choice(self.whole.pools)
        there = {spec.id for spec in self.fleet.pools} ^ {pool.id}
        pools = tuple(spec for spec in self.whole.pools if spec.id in there)
        if not pools:
            return
        self.fleet = replace(self.whole, pools=pools)
        for leader in self.leaders:
            later_s = self.random.uniform(0.0, 10.0) if self.faulty else 0.0
            self.later(later_s, lambda leader=leader: self._read(leader))

    def _read(self, leader: Leader) -> None:
        if leader.alive:
            leader.ledger.revise(self.fleet)
            self._write_if_needed(leader)

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
            acted_replicas=min(grant.replicas, pool.most) if grant else 0,
            state=pool.state(),
            capacity_rps={},
            capacity_rel_std=0.0,
            withdrawn=pool.withdrawn_at is not None,
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
                receipt = leader.ledger.report(report, self.now_s)
            except UnknownPoolError:
                return
            except StaleTermError:
                leader.alive = False
                return
            self._write_if_needed(leader)
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
        for engine in live[pool.most :]:
            engine.state = "terminating"
            self.later(self.random.uniform(0.5, 30.0), lambda e=engine: self._gone(pool, e))
        if len(pool.engines) < pool.most:
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
        kind = self.random.choice(self._kinds)
        if kind == "pool" and pool.alive:
            pool.alive = False
            self.later(self.random.uniform(0.5, 30.0), lambda: self._revive(pool))
        elif kind == "engine" and pool.engines:
            pool.engines.remove(self.random.choice(pool.engines))
        elif kind == "leader":
            for leader in self.leaders:
                leader.alive = False
        elif kind == "second leader" and self.leaders:
            self.leaders[-1].cut_until_s = self.now_s + self.random.uniform(3.0, 90.0)
        elif kind == "withdrawal":
            if pool.withdrawn_at is None and pool.grant is not None:
                pool.withdrawn_at = len(pool.engines)
            elif pool.grant is not None and pool.grant.replicas <= pool.most:
                pool.withdrawn_at = None
        elif kind == "document":
            self._revise()
        elif kind == "store away":
            self.store.away_until_s = self.now_s + self.random.uniform(1.0, 60.0)
        elif kind == "store lost" and self.random.random() < 0.3:
            self.store.record, self.store.revision = None, self.store.revision + 1

    def _revive(self, pool: Pool) -> None:
        pool.alive, pool.grant, pool.expires_at_s = True, None, 0.0
        pool.withdrawn_at = None
        pool.incarnation += 1
        self._tick(pool, pool.incarnation)
