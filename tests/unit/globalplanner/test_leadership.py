"""Who leads, on a store that fails as it likes. A step is a second."""

from globalplanner.core.arbiter.snapshot import Rules
from globalplanner.leadership import Leadership, Lease
from globalplanner.metrics import Metrics
from globalplanner.service import GlobalPlanner, Patience
from tests.unit.globalplanner.fleets import fleet, pool, report
from weir.domain.errors import StaleRevisionError, UnavailableError
from weir.domain.ids import PoolId
from weir.domain.record import LedgerRecord
from weir.runtime.clock import Clock
from weir.runtime.lifecycle import Stop

FIRST_TERM = 1000


class Store:
    """`deaf`: writes happen and nobody hears so. `held`: a write that comes later."""

    def __init__(self) -> None:
        self.record: LedgerRecord | None = None
        self.revision = 0
        self.connected = True
        self.deaf = False
        self.holds = False
        self.held: tuple[LedgerRecord, int] | None = None

    async def read(self) -> tuple[LedgerRecord | None, int]:
        self._check()
        return self.record, self.revision

    async def write(self, record: LedgerRecord, revision: int) -> int:
        self._check()
        if self.holds:
            self.held = (record, revision)
            raise UnavailableError("no answer in time")
        self.update(record, revision)
        if self.deaf:
            raise UnavailableError("no answer in time")
        return self.revision

    def update(self, record: LedgerRecord, revision: int) -> None:
        if revision != self.revision:
            raise StaleRevisionError("somebody was first")
        self.record, self.revision = record, revision + 1

    def new_term(self) -> int:
        return FIRST_TERM

    def _check(self) -> None:
        if not self.connected:
            raise UnavailableError("the store is away")


class Time(Clock):
    at_s = 100.0

    def now_s(self) -> float:
        return Time.at_s

    @staticmethod
    def wall_s() -> float:
        return Time.at_s


class _OneRound(Stop):
    """Ends the loop after one round, without a release."""

    async def sleep(self, wall_s: float) -> bool:
        raise _Over

    def set(self) -> None:
        pass

    async def wait(self, timeout_s: float = 0.0) -> None:
        raise _Over


class _Over(Exception):
    pass


class Candidate:
    def __init__(self, store: Store, owner: str) -> None:
        self.announced: list[bool] = []
        whole = fleet([pool("a", max_replicas=8), pool("b", max_replicas=8)], gpus=8)
        self.round = _OneRound()
        self.leadership = Leadership(
            store, Time(), Lease(lease_s=4.0), owner=owner, changed=self.round,
            announce=self._announce,
        )  # fmt: skip
        patience = Patience(interval_s=1.0, stale_s=15.0, grant_valid_s=15.0, silent_s=15.0)
        self.planner = GlobalPlanner(
            whole, Rules(), patience, Time(), Metrics(spec.id for spec in whole.pools),
            may_grow=self.leadership.sure,
        )  # fmt: skip

    @property
    def term(self) -> int:
        return self.planner.term

    async def step(self, seconds: float = 1.0) -> None:
        Time.at_s += seconds
        try:
            await self.leadership.run(self.planner, self.round)
        except _Over:
            return

    async def end(self) -> None:
        stop = Stop()
        stop.set()
        await self.leadership.run(self.planner, stop)

    async def _announce(self, leading: bool) -> None:
        self.announced.append(leading)


async def test_without_a_record_it_leads_at_once_and_is_sure_while_it_can_write() -> None:
    store = Store()
    first = Candidate(store, "first")
    await first.step()
    assert (first.term, first.leadership.sure(), first.announced) == (FIRST_TERM, True, [True])
    assert store.record is not None
    assert [line.unknown_replicas for line in store.record.pools] == [8, 8]
    store.connected = False
    await first.step()
    assert (first.term, first.leadership.sure()) == (FIRST_TERM, False)


async def test_another_stands_by_while_the_record_is_written_and_then_takes_it_over() -> None:
    store = Store()
    first, second = Candidate(store, "first"), Candidate(store, "second")
    for _ in range(10):
        await first.step()
        await second.step(0.0)
    assert (first.term, second.term) == (FIRST_TERM, 0)
    assert "stands by, first leads" in (second.planner.not_ready() or "")
    for _ in range(5):
        await second.step()
    assert second.term == FIRST_TERM + 1
    await first.step()
    assert first.term == 0
    assert "second has it now" in (first.planner.not_ready() or "")


async def test_one_that_ends_in_good_order_is_followed_at_once() -> None:
    store = Store()
    first, second = Candidate(store, "first"), Candidate(store, "second")
    await first.step()
    await second.step(0.1)
    await first.end()
    await second.step(0.1)
    assert (first.term, second.term) == (0, FIRST_TERM + 1)


async def test_what_is_granted_is_sent_only_after_a_write() -> None:
    store = Store()
    first = Candidate(store, "first")
    await first.step()
    a = PoolId("a")
    for id in ("a", "b"):
        first.planner.report(report(id, 1))
    await first.step()
    for sequence in (2, 3):
        for id in ("a", "b"):
            grant = first.planner.grant_of(PoolId(id))
            acted = (grant.term, grant.epoch, grant.replicas) if grant else (0, 0, 0)
            first.planner.report(report(id, sequence, acted=acted))
    assert first.planner.pending(a)
    sent = first.planner.grant_of(a)
    assert sent is not None
    assert sent.replicas == 0
    store.connected = False
    await first.step()
    assert first.planner.pending(a), "the store is away"
    store.connected = True
    await first.step()
    sent = first.planner.grant_of(a)
    assert sent is not None
    assert sent.replicas == 1


async def test_a_write_that_was_not_answered_is_looked_up_and_not_repeated() -> None:
    store = Store()
    first = Candidate(store, "first")
    await first.step()
    store.deaf = True
    await first.step()
    assert store.revision == 2
    store.deaf = False
    await first.step()
    assert (first.term, store.revision) == (FIRST_TERM, 3)


async def test_a_write_that_comes_late_does_not_depose_its_own_leader() -> None:
    store = Store()
    first = Candidate(store, "first")
    await first.step()
    store.holds = True
    await first.step()
    store.holds = False
    late = store.held
    assert late is not None
    store.update(*late)
    await first.step()
    await first.step()
    assert (first.term, first.leadership.sure()) == (FIRST_TERM, True)


async def test_a_lost_record_is_not_led_on() -> None:
    # A later leader may have been lost with it, whose grants this one knows nothing of.
    store = Store()
    first = Candidate(store, "first")
    await first.step()
    store.record, store.revision = None, 0
    await first.step()
    assert first.term == 0
    assert "it is lost" in (first.planner.not_ready() or "")
    await first.step()
    assert first.term == FIRST_TERM + 1
    assert first.planner.ledger is not None
    assert first.planner.ledger.unsettled == ("a", "b")


async def test_a_pool_that_has_seen_a_later_term_makes_it_take_a_higher_one() -> None:
    store = Store()
    first = Candidate(store, "first")
    await first.step()
    first.planner.seen_term = 5000
    first.planner.yield_to("pool a acts on a grant of term 5000")
    await first.step()
    assert first.term == 5001
