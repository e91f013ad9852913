"""The budget holds at every instant, whatever the network, pools and leaders do."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from globalplanner.core.budget import account, ledger
from globalplanner.core.budget.ledger import Ledger
from tests.simulation.ledger_world import VALID_S, World
from tests.unit.globalplanner.fleets import fleet, pool
from weir.domain.fleet import Fleet, NodeGroup
from weir.domain.ids import PoolId
from weir.domain.record import LedgerRecord

SEEDS = 200
DEFECT_SEEDS = 300
END_S = 240.0

CONTENDED = fleet(
    [
        pool("a", max_replicas=6),
        pool("b", max_replicas=5, node_group="n1"),
        pool("c", max_replicas=3, gpus_per_replica=2, gpu_class="H100"),
        pool("d", max_replicas=2, gpus_per_replica=3, min_replicas=0, gpu_class="H100"),
    ],
    gpus=10,
    by_gpu_class={"H100": 6},
    node_groups=[NodeGroup(name="n1", gpu_class="gpu", gpus=4)],
)


class BudgetExceeded(AssertionError):
    pass


def new_ledger(whole: Fleet, term: int, record: LedgerRecord | None) -> Ledger:
    return Ledger(whole, term=term, valid_s=VALID_S, record=record)


def world(seed: int) -> World:
    return World(CONTENDED, seed, new_ledger=new_ledger)


def check_limits(simulated: World) -> Callable[[], None]:
    def check() -> None:
        running = simulated.running_gpus()
        for limit in simulated.limits:
            if not limit.holds(running):
                raise BudgetExceeded(f"{limit.name} at {simulated.now_s:.1f} s: {running}")

    return check


@pytest.mark.parametrize("seed", range(SEEDS))
def test_gpus_running_never_exceed_a_limit(seed: int) -> None:
    simulated = world(seed)
    simulated.run_until(END_S, check_limits(simulated))
    assert simulated.grants_taken > 10


@pytest.mark.parametrize("seed", range(25))
def test_once_faults_stop_every_pool_gets_what_it_should(seed: int) -> None:
    simulated = world(seed)
    simulated.run_until(120.0, check_limits(simulated))
    simulated.calm()
    simulated.targets = {PoolId("a"): 4, PoolId("b"): 2, PoolId("c"): 2, PoolId("d"): 0}
    simulated.run_until(300.0, check_limits(simulated))
    assert {id: len(p.engines) for id, p in simulated.pools.items()} == simulated.targets


def charge_only_the_newest_grant(monkeypatch: pytest.MonkeyPatch) -> None:
    def issue(self: Any, grant: Any) -> None:
        self.open_grants = [grant]

    monkeypatch.setattr(account.Account, "issue", issue)


def charge_only_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account.Account, "charged", property(lambda self: self.held))


def charge_only_what_is_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account.Account, "charged", property(lambda self: self.granted))


def forget_earlier_leaders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account.Account, "reserved", property(lambda self: self.charged))


def send_before_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    issue = account.Account.issue

    def at_once(self: Any, grant: Any) -> None:
        issue(self, grant)
        self.sendable = grant

    monkeypatch.setattr(account.Account, "issue", at_once)


def begin_without_the_grants_of_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    inherit = account.Account.inherit
    monkeypatch.setattr(
        account.Account,
        "inherit",
        lambda self, line: inherit(self, dataclasses.replace(line, open=())),
    )


def begin_without_the_charges_of_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    inherit = account.Account.inherit
    monkeypatch.setattr(
        account.Account,
        "inherit",
        lambda self, line: inherit(self, dataclasses.replace(line, charged_replicas=0)),
    )


def trust_a_record_that_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    init = ledger.Ledger.__init__

    def known(self: Any, *arguments: Any, **named: Any) -> None:
        init(self, *arguments, **named)
        for each in self.accounts.values():
            each.unknown = 0

    monkeypatch.setattr(ledger.Ledger, "__init__", known)
    monkeypatch.setattr(ledger.Ledger, "_distrust", lambda self, term: None)


def let_late_reports_count(monkeypatch: pytest.MonkeyPatch) -> None:
    report = ledger.Ledger.report

    def late(self: Any, message: Any, wall_s: float, *, growing: bool = True) -> Any:
        known = self.accounts.get(message.pool_id)
        if known is not None:
            known.sequence = min(known.sequence, message.sequence - 1)
        return report(self, message, wall_s, growing=growing)

    monkeypatch.setattr(ledger.Ledger, "report", late)


def charge_a_removed_pool_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "retire", lambda account: True)


@pytest.mark.parametrize(
    "defect",
    [
        charge_only_the_newest_grant,
        charge_only_what_is_held,
        charge_only_what_is_granted,
        forget_earlier_leaders,
        send_before_it_is_written,
        begin_without_the_grants_of_the_record,
        begin_without_the_charges_of_the_record,
        trust_a_record_that_was_lost,
        let_late_reports_count,
        charge_a_removed_pool_nothing,
    ],
)
def test_these_seeds_would_find(
    defect: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    defect(monkeypatch)
    for seed in range(DEFECT_SEEDS):
        simulated = world(seed)
        try:
            simulated.run_until(END_S, check_limits(simulated))
        except BudgetExceeded:
            return
    pytest.fail(f"no seed of {DEFECT_SEEDS} has found it")
