"""What holds for every sequence of reports and targets."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from globalplanner.core.budget.ledger import Ledger
from tests.unit.globalplanner.fleets import fleet, pool, report
from weir.domain.fleet import NodeGroup
from weir.domain.ids import PoolId
from weir.domain.planning import PoolReport

FLEET = fleet(
    [
        pool("a", max_replicas=5, power_w_per_gpu=300),
        pool("b", gpus_per_replica=2, gpu_class="H100", max_replicas=3, power_w_per_gpu=500),
        pool("c", min_replicas=0, node_group="n1", power_w_per_gpu=700),
    ],
    gpus=8,
    by_gpu_class={"H100": 4},
    node_groups=[NodeGroup(name="n1", gpu_class="gpu", gpus=3, power_w=1500)],
    power_w=2600,
)
IDS = [spec.id for spec in FLEET.pools]


@dataclass(frozen=True)
class Report:
    """A pool that has taken over its newest grant, or not, and runs within what it acts on."""

    pool_id: PoolId
    hears: bool
    held: int


@dataclass(frozen=True)
class Aim:
    replicas: tuple[int, int, int]
    growing: bool


@dataclass(frozen=True)
class Edit:
    """Somebody starts replicas by hand."""

    pool_id: PoolId
    held: int


reports = st.builds(Report, st.sampled_from(IDS), st.booleans(), st.integers(0, 5))
aims = st.builds(Aim, st.tuples(*[st.integers(0, 5)] * 3), st.booleans())
edits = st.builds(Edit, st.sampled_from(IDS), st.integers(0, 6))


class Run:
    def __init__(self, term: int) -> None:
        self.ledger = Ledger(FLEET, term=term, valid_s=1.0)
        self.acted: dict[PoolId, tuple[int, int, int]] = {}
        self.sequence = 0
        self.last: PoolReport | None = None

    def step(self, event: Report | Aim | Edit) -> None:
        if isinstance(event, Aim):
            targets = dict(zip(IDS, event.replicas, strict=True))
            self.ledger.aim(targets, {}, growing=event.growing)
            return
        acted = self.acted.get(event.pool_id, (0, 0, 0))
        held = event.held if isinstance(event, Edit) else min(event.held, acted[2])
        self.sequence += 1
        self.last = report(event.pool_id, self.sequence, ready=held, acted=acted)
        self.ledger.report(self.last, 0.0)
        self.ledger.written(self.ledger.epoch)
        grant = self.ledger.accounts[event.pool_id].sendable
        if grant is not None and (isinstance(event, Edit) or event.hears):
            self.acted[event.pool_id] = (grant.term, grant.epoch, grant.replicas)

    def state(self) -> list[tuple[int, int, int, bool]]:
        accounts = self.ledger.accounts.values()
        return [(a.charged, a.reserved, a.granted, a.known) for a in accounts]

    def gpus(self) -> dict[PoolId, int]:
        accounts = self.ledger.accounts.items()
        return {id: a.charged * a.spec.gpus_per_replica for id, a in accounts}


quick = settings(max_examples=80, deadline=None)


@quick
@given(st.sampled_from([1, 2]), st.lists(reports | aims, max_size=40))
def test_charges_stay_within_every_limit(term: int, events: list[Report | Aim]) -> None:
    run = Run(term)
    for event in events:
        run.step(event)
        assert all(limit.holds(run.gpus()) for limit in run.ledger.limits)
    assert run.ledger.violations == 0
    assert run.ledger.peak_charged_gpus <= FLEET.budget.gpus


@quick
@given(st.lists(reports | aims | edits, max_size=40))
def test_above_a_limit_nothing_it_covers_is_granted_more(
    events: list[Report | Aim | Edit],
) -> None:
    run = Run(1)
    for event in events:
        over = [limit for limit in run.ledger.limits if not limit.holds(run.gpus())]
        before = {id: a.granted for id, a in run.ledger.accounts.items()}
        run.step(event)
        for limit in over:
            if not limit.holds(run.gpus()):
                for id in limit.pools:
                    assert run.ledger.accounts[id].granted <= before[id] or before[id] == 0


@quick
@given(st.lists(reports | aims | edits, max_size=40))
def test_a_repeated_report_changes_nothing(events: list[Report | Aim | Edit]) -> None:
    run = Run(2)
    for event in events:
        run.step(event)
        if run.last is not None:
            before = run.state()
            run.ledger.report(run.last, 0.0)
            assert run.state() == before


@quick
@given(st.lists(reports | aims, max_size=40))
def test_grants_are_numbered_upwards(events: list[Report | Aim]) -> None:
    run, newest = Run(1), dict.fromkeys(IDS, 0)
    for event in events:
        run.step(event)
        for id, account in run.ledger.accounts.items():
            if account.newest is not None:
                assert account.newest.epoch >= newest[id]
                newest[id] = account.newest.epoch
                replicas = [grant.replicas for grant in account.open_grants]
                assert replicas == sorted(set(replicas), reverse=True)
