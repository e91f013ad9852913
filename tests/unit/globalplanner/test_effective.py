"""The document, what operators changed, and the budget window of the moment, put together."""

from dataclasses import replace

import pytest

from globalplanner.core.budget.limits import check_floors
from globalplanner.core.operators.effective import check_always, effective, left_out
from tests.unit.globalplanner.fleets import fleet, pool, request_class
from weir.domain.errors import InfeasibleFloorsError
from weir.domain.fleet import Budget, Fleet, NodeGroup
from weir.domain.ids import ClassName, PoolId
from weir.domain.overrides import ClassTargets, Overrides
from weir.domain.schedule import BudgetWindow, TimeZone

A, B = PoolId("a"), PoolId("b")
CHAT = ClassName("chat")
H100 = NodeGroup(name="nodes", gpu_class="gpu", gpus=16)
MORNING = BudgetWindow(
    name="morning",
    days=frozenset(range(7)),
    from_s=6 * 3600,
    to_s=12 * 3600,
    zone=TimeZone(name="UTC"),
    gpus=4,
    by_gpu_class={"gpu": 3},
)
AT_0600, AT_1300 = 6 * 3600.0, 13 * 3600.0


def a_fleet(**changes: object) -> Fleet:
    """Pools a and b, one replica each as a floor; 8 GPUs of 16, in the morning 4."""
    whole = fleet([pool("a"), pool("b")], gpus=8, node_groups=[H100])
    budget = Budget(gpus=8, by_gpu_class={"gpu": 8}, windows=(MORNING,))
    return replace(whole, budget=budget, **changes)


def test_without_changes_and_windows_the_document_counts() -> None:
    whole = fleet([pool("a"), pool("b")], node_groups=[H100])
    assert effective(whole, Overrides(), 0.0) == whole


def test_in_a_window_its_budget_counts() -> None:
    assert effective(a_fleet(), Overrides(), AT_0600).budget.gpus == 4
    assert effective(a_fleet(), Overrides(), AT_0600).budget.by_gpu_class == {"gpu": 3}
    assert effective(a_fleet(), Overrides(), AT_1300).budget.gpus == 8


def test_a_budget_set_live_counts_before_document_and_windows() -> None:
    six = Overrides(budget_gpus=6)
    assert effective(a_fleet(), six, AT_0600).budget.gpus == 6
    assert effective(a_fleet(), six, AT_0600).budget.by_gpu_class == {"gpu": 3}
    assert effective(a_fleet(), six, AT_1300).budget.gpus == 6
    two = Overrides(gpus_by_class={"gpu": 2})
    assert effective(a_fleet(), two, AT_0600).budget.by_gpu_class == {"gpu": 2}


def test_targets_set_live_replace_those_of_the_class_and_leave_the_rest() -> None:
    changed = Overrides(targets={CHAT: ClassTargets(ttft_s=0.5, priority=3)})
    (item,) = effective(a_fleet(), changed, AT_1300).classes
    before = request_class()
    assert (item.slo.ttft_s, item.priority) == (0.5, 3)
    assert (item.slo.itl_s, item.slo.percentile, item.weight) == (0.05, 0.95, before.weight)


def test_nothing_is_set_aside_for_a_drained_pool() -> None:
    whole = fleet([pool("a", min_replicas=2, floor_replicas=3, lend_replicas=0), pool("b")])
    drained = effective(whole, Overrides(drained={A: "old"}), 0.0).pool(A)
    assert (drained.min_replicas, drained.floor_replicas, drained.guarantee_replicas) == (0, 0, 0)
    assert drained.aside_replicas == 0


def test_without_node_groups_and_maxima_pools_grow_into_a_budget_set_live() -> None:
    implied = NodeGroup(name="nodes", gpu_class="gpu", gpus=8, implied=True)
    pools = [pool("a", gpus_per_replica=2, max_implied=True), pool("b", max_replicas=4)]
    found = effective(fleet(pools, node_groups=[implied]), Overrides(budget_gpus=20), 0.0)
    assert found.pool(A).max_replicas == 10
    assert found.pool(B).max_replicas == 4
    assert found.node_groups[0].gpus == 20


def test_an_implied_maximum_stays_within_the_node_group() -> None:
    group = NodeGroup(name="nodes", gpu_class="gpu", gpus=10)
    found = effective(
        fleet([pool("a", max_implied=True)], node_groups=[group]), Overrides(budget_gpus=20), 0.0
    )
    assert found.pool(A).max_replicas == 10


def test_what_the_document_has_no_more_is_left_out_and_told() -> None:
    stale = Overrides(
        gpus_by_class={"A100": 1},
        targets={ClassName("gone"): ClassTargets(weight=2.0)},
        frozen={PoolId("x"): "why"},
        drained={PoolId("y"): "why"},
    )
    assert effective(a_fleet(), stale, AT_1300) == effective(a_fleet(), Overrides(), AT_1300)
    assert list(left_out(a_fleet(), stale)) == [
        "the freeze of pool x: the document has no such pool",
        "the drain of pool y: the document has no such pool",
        "the targets of class gone: the document has no such class",
        "the budget of GPU class A100: no node group has it",
    ]
    assert list(left_out(a_fleet(), Overrides(budget_gpus=2, frozen={A: "why"}))) == []


def test_a_budget_below_the_floors_of_a_newer_document_counts_as_what_they_need() -> None:
    whole = fleet([pool("a", min_replicas=3), pool("b", min_replicas=2)], node_groups=[H100])
    stored = Overrides(budget_gpus=4, gpus_by_class={"gpu": 1})
    found = effective(replace(whole, budget=Budget(gpus=8)), stored, 0.0)
    check_floors(found)
    assert (found.budget.gpus, found.budget.by_gpu_class) == (5, {"gpu": 5})
    assert list(left_out(whole, stored)) == [
        "the budget of 4 GPUs: the floors need 5, which count",
        "the budget of 1 gpu GPUs: the floors need 5, which count",
    ]


def test_floors_have_to_fit_at_all_times_of_the_week() -> None:
    check_always(a_fleet(), Overrides())
    check_always(a_fleet(), Overrides(budget_gpus=2))
    with pytest.raises(InfeasibleFloorsError, match="floors need 2 GPUs, budget holds 1"):
        check_always(a_fleet(), Overrides(budget_gpus=1))
    tight = a_fleet(pools=(pool("a", min_replicas=3), pool("b", min_replicas=2)))
    with pytest.raises(InfeasibleFloorsError, match="5 GPUs, budget in the window morning holds 4"):
        check_always(tight, Overrides())
    check_always(tight, Overrides(drained={A: "old"}))
