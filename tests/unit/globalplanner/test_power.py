"""A power budget is one more limit: numbers that can be checked by hand."""

from dataclasses import replace

import pytest

from globalplanner.core.arbiter.arbitrate import arbitrate
from globalplanner.core.arbiter.snapshot import Memory, Rules
from globalplanner.core.budget.ledger import Ledger
from globalplanner.core.budget.limits import check_floors, limits_of
from globalplanner.core.operators.effective import effective
from globalplanner.core.study.program import Program
from tests.unit.globalplanner.fleets import CHAT, fleet, pool, report, snapshot, view
from weir.domain.errors import InfeasibleFloorsError
from weir.domain.fleet import NodeGroup
from weir.domain.ids import PoolId
from weir.domain.overrides import Overrides
from weir.domain.record import LedgerRecord
from weir.domain.schedule import BudgetWindow, TimeZone

A, B = PoolId("a"), PoolId("b")
RULES = Rules()


def test_watts_are_a_limit_of_the_fleet_and_of_its_node_groups() -> None:
    group = NodeGroup(name="nodes", gpu_class="gpu", gpus=8, power_w=3000)
    pools = [pool("a", power_w_per_gpu=700), pool("b", node_group="else", power_w_per_gpu=300)]
    power, of_group = limits_of(fleet(pools, node_groups=[group], power_w=5000))[-2:]
    assert (power.name, power.most, power.unit) == ("power", 5000, "W")
    assert power.used({A: 2, B: 4}) == 2 * 700 + 4 * 300
    assert (of_group.name, of_group.most) == ("power of node group nodes", 3000)
    assert of_group.used({A: 2, B: 4}) == 2 * 700


def test_floors_must_fit_the_power() -> None:
    pools = [pool("a", min_replicas=2, gpus_per_replica=2, power_w_per_gpu=700)]
    check_floors(fleet(pools, power_w=2800))
    with pytest.raises(InfeasibleFloorsError, match="floors need 2800 W, power holds 2799"):
        check_floors(fleet(pools, power_w=2799))


def test_growth_ends_where_the_power_does() -> None:
    whole = fleet([pool("a", max_replicas=8, power_w_per_gpu=700)], power_w=2500)
    now = snapshot([view(whole.pools[0], 1)], {"chat": 30.0}, whole=whole)
    decision = arbitrate(now, RULES, Memory())
    assert decision.replicas == {A: 3}
    assert decision.reasons[A].endswith("more would help, the power is used up")
    assert decision.class_reasons[CHAT].endswith("the power is used up (power)")
    assert decision.prices["power"] == pytest.approx(5.0 / 700)
    assert decision.prices["budget"] == 0.0


def test_where_power_is_short_it_goes_to_who_does_most_with_a_watt() -> None:
    # A replica of a serves 5 rps with 700 W, one of b 3 with 200 W; GPUs are there for all.
    whole = fleet(
        [
            pool("a", min_replicas=0, max_replicas=8, power_w_per_gpu=700),
            pool("b", min_replicas=0, max_replicas=8, power_w_per_gpu=200),
        ],
        gpus=16,
        power_w=1500,
    )
    views = [view(whole.pools[0]), view(whole.pools[1], capacity_rps={CHAT: 3.0})]
    decision = arbitrate(snapshot(views, {"chat": 60.0}, whole=whole), RULES, Memory())
    assert decision.replicas == {A: 0, B: 7}


def test_a_lowered_power_budget_takes_replicas_at_once() -> None:
    whole = fleet([pool("a", power_w_per_gpu=700)], power_w=1500)
    now = snapshot([view(whole.pools[0], 4)], {"chat": 30.0}, whole=whole)
    assert arbitrate(now, RULES, Memory()).replicas == {A: 2}
    unknown = replace(now, loads=None)
    assert arbitrate(unknown, RULES, Memory()).replicas == {A: 2}


def test_the_study_keeps_the_power_and_knows_what_a_watt_is_worth() -> None:
    whole = fleet([pool("a", max_replicas=8, power_w_per_gpu=700)], power_w=2500)
    now = snapshot([view(whole.pools[0], 1)], {"chat": 30.0}, whole=whole)
    program = Program(now, RULES)
    best, priced = program.best(), program.best(whole=False)
    assert best is not None and best.replicas == {A: 3}
    assert priced is not None and priced.price_by_limit is not None
    assert priced.price_by_limit["power"] == pytest.approx(5.0 / 700, rel=0.01)


def test_watts_of_replicas_that_are_terminating_are_charged() -> None:
    whole = fleet(
        [pool("a", power_w_per_gpu=700), pool("b", min_replicas=0, power_w_per_gpu=700)],
        power_w=2800,
    )
    ledger = Ledger(whole, term=1, valid_s=15.0)
    power = ledger.limits[-1]

    def hear(id: PoolId, sequence: int, acted: int | None, **state: int) -> None:
        numbers = (0, 0, 0) if acted is None else (1, ledger.epoch, acted)
        ledger.report(report(id, sequence, acted=numbers, **state), 0.0)
        ledger.written(ledger.epoch)

    hear(A, 1, None, ready=4)
    hear(A, 2, 4, ready=4)
    hear(B, 1, None)
    hear(B, 2, 0)
    ledger.aim({A: 2, B: 2}, {})
    hear(A, 3, 2, ready=2, terminating=2)
    assert ledger.accounts[A].charged == 4
    assert ledger.accounts[B].granted == 0
    hear(A, 4, 2, ready=2, terminating=1)
    assert ledger.accounts[B].granted == 1
    hear(A, 5, 2, ready=2)
    gpus = {id: a.charged for id, a in ledger.accounts.items()}
    assert ledger.accounts[B].granted == 2
    assert power.used(gpus) == 2800
    assert ledger.violations == 0


def test_what_a_pool_draws_is_remembered_when_the_document_has_it_no_more() -> None:
    whole = fleet([pool("a", power_w_per_gpu=700), pool("b", power_w_per_gpu=300)], power_w=4000)
    ledger = Ledger(whole, term=1, valid_s=15.0)
    ledger.report(report("a", 1, ready=3), 0.0)
    record = LedgerRecord(term=1, owner="x", serial=1, pools=ledger.lines())
    without = replace(whole, pools=whole.pools[1:])
    power = Ledger(without, term=2, valid_s=15.0, record=record).limits[-1]
    assert power.used({A: 3}) == 2100


def test_a_window_has_its_own_power() -> None:
    night = BudgetWindow(
        name="night",
        days=frozenset(range(7)),
        from_s=0,
        to_s=3600,
        zone=TimeZone(name="UTC"),
        power_w=1000,
    )
    whole = fleet([pool("a", power_w_per_gpu=700)], power_w=3000)
    whole = replace(whole, budget=replace(whole.budget, windows=(night,)))
    assert effective(whole, Overrides(), 1800.0).budget.power_w == 1000
    assert effective(whole, Overrides(), 7200.0).budget.power_w == 3000
