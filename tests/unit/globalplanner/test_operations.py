"""What operators change: checked, predicted, applied, durable, or not at all."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from globalplanner.core.operators.proposals import Mode
from globalplanner.core.study.effect import Effect
from globalplanner.operations import Operations
from tests.unit.globalplanner.fleets import CHAT, fleet, pool, request_class
from tests.unit.globalplanner.live import Live
from weir.domain.errors import (
    InfeasibleFloorsError,
    UnavailableError,
    UnknownClassError,
    UnknownPoolError,
    UnknownProposalError,
)
from weir.domain.fleet import Fleet, NodeGroup, Role, Slo, Stage
from weir.domain.ids import ClassName, PoolId
from weir.domain.overrides import ClassTargets, Overrides

A, B = PoolId("a"), PoolId("b")
Call = Callable[[Operations, bool], Awaitable[Effect]]

CHANGES: dict[str, Call] = {
    "budget": lambda o, dry: o.set_budget(6, {"gpu": 5}, dry_run=dry),
    "slo": lambda o, dry: o.set_slo(CHAT, ClassTargets(weight=3.0), dry_run=dry),
    "freeze": lambda o, dry: o.freeze(A, thaw=False, why="w", dry_run=dry),
    "freeze all": lambda o, dry: o.freeze(None, thaw=False, why="w", dry_run=dry),
    "drain": lambda o, dry: o.drain(A, undo=False, why="w", dry_run=dry),
}
SET: dict[str, Overrides] = {
    "budget": Overrides(budget_gpus=6, gpus_by_class={"gpu": 5}),
    "slo": Overrides(targets={CHAT: ClassTargets(weight=3.0)}),
    "freeze": Overrides(frozen={A: "w"}),
    "freeze all": Overrides(frozen={A: "w", B: "w"}),
    "drain": Overrides(drained={A: "w"}),
}


def a_fleet(**changes: int) -> Fleet:
    """Two aggregated pools of up to 4 replicas of one GPU; a budget of 8; a replica carries 5."""
    group = NodeGroup(name="nodes", gpu_class="gpu", gpus=8)
    relaxed = request_class(slo=Slo(ttft_s=2.0, itl_s=0.1))
    pools = [pool("a", **changes), pool("b")]
    return fleet(pools, gpus=8, node_groups=[group], classes=[relaxed])


@pytest.mark.parametrize("name", CHANGES)
async def test_a_dry_run_tells_and_changes_nothing(name: str) -> None:
    live = Live(a_fleet())
    effect = await CHANGES[name](live.operations, True)
    assert not effect.applied and effect.lines
    assert live.overrides == Overrides()
    assert live.planner.fleet == live.planner.document


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_is_in_the_record_when_it_is_answered(name: str) -> None:
    live = Live(a_fleet())
    effect = await CHANGES[name](live.operations, False)
    assert effect.applied and effect.lines
    assert live.overrides == live.record.overrides == SET[name]


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_that_is_not_stored_is_taken_back(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("globalplanner.operations._STORED_S", 0.0)
    live = Live(a_fleet())
    before = live.planner.fleet
    live.stores = False
    with pytest.raises(UnavailableError, match="taken back"):
        await CHANGES[name](live.operations, False)
    assert live.overrides == Overrides()
    assert live.planner.fleet == before


@pytest.mark.parametrize("name", CHANGES)
async def test_one_that_does_not_lead_changes_nothing(name: str) -> None:
    live = Live(a_fleet())
    live.planner.yield_to("another one leads")
    for dry_run in (True, False):
        with pytest.raises(UnavailableError, match="another one leads"):
            await CHANGES[name](live.operations, dry_run)
    assert live.overrides == Overrides()


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_outlives_its_leader(name: str) -> None:
    live = Live(a_fleet())
    await CHANGES[name](live.operations, False)
    assert Live(a_fleet(), record=live.record).overrides == SET[name]


async def test_each_change_keeps_what_others_have_set() -> None:
    live = Live(a_fleet())
    for change in CHANGES.values():
        await change(live.operations, False)
    assert live.overrides == Overrides(
        budget_gpus=6,
        gpus_by_class={"gpu": 5},
        targets={CHAT: ClassTargets(weight=3.0)},
        frozen={A: "w", B: "w"},
        drained={A: "w"},
    )
    await live.operations.set_budget(None, {}, dry_run=False)
    await live.operations.set_slo(CHAT, ClassTargets(), dry_run=False)
    await live.operations.freeze(None, thaw=True, why="", dry_run=False)
    await live.operations.drain(A, undo=True, why="", dry_run=False)
    assert live.overrides == Overrides()
    assert live.planner.fleet == live.planner.document


async def test_a_lowered_budget_makes_pools_shrink_and_a_raised_one_lets_them_grow() -> None:
    live = Live(a_fleet())
    live.run(10, rps=40)
    assert sum(live.targets.values()) == 8
    effect = await live.operations.set_budget(4, {}, dry_run=False)
    assert effect.lines[:2] == (
        "budget: 8 -> 4 GPUs",
        "8 GPUs are charged: 4 have to go, and nobody grows before that",
    )
    assert effect.value_after < effect.value_before
    live.run(4, rps=40)
    assert sum(live.targets.values()) == 4
    await live.operations.set_budget(None, {}, dry_run=False)
    live.run(4, rps=40)
    assert sum(live.targets.values()) == 8


@pytest.mark.parametrize(
    ("gpus", "by_class", "said"),
    [
        (0, {}, "gpus must be 1 to 1000000 GPUs, not 0"),
        (-1, {}, "not -1"),
        (10**9, {}, "not 1000000000"),
        (None, {"gpu": -1}, r"gpus_by_class\[gpu\] must be 0 to 1000000 GPUs, not -1"),
        (None, {"A100": 4}, "no node group has GPU class 'A100'; known: gpu"),
    ],
)
async def test_a_budget_that_makes_no_sense_is_refused(
    gpus: int | None, by_class: dict[str, int], said: str
) -> None:
    live = Live(a_fleet())
    with pytest.raises(ValueError, match=said):
        await live.operations.set_budget(gpus, by_class, dry_run=True)


async def test_a_budget_below_the_floors_is_refused_with_the_numbers() -> None:
    live = Live(a_fleet(floor_replicas=3))
    with pytest.raises(InfeasibleFloorsError, match="floors need 4 GPUs, budget holds 3"):
        await live.operations.set_budget(3, {}, dry_run=False)
    with pytest.raises(InfeasibleFloorsError, match="floors need 4 GPUs, GPU class gpu holds 2"):
        await live.operations.set_budget(None, {"gpu": 2}, dry_run=False)
    assert live.overrides == Overrides()


@pytest.mark.parametrize(
    "targets",
    [
        ClassTargets(ttft_s=0.0),
        ClassTargets(itl_s=-1.0),
        ClassTargets(ttft_s=float("nan")),
        ClassTargets(weight=float("inf")),
        ClassTargets(weight=1e12),
        ClassTargets(priority=1001),
    ],
)
async def test_targets_that_make_no_sense_are_refused(targets: ClassTargets) -> None:
    with pytest.raises(ValueError, match="must be"):
        await Live(a_fleet()).operations.set_slo(CHAT, targets, dry_run=True)


async def test_targets_that_no_pool_meets_are_refused() -> None:
    live = Live(a_fleet())
    with pytest.raises(ValueError, match="class chat: no pool can serve it within its SLO"):
        await live.operations.set_slo(CHAT, ClassTargets(itl_s=0.0001), dry_run=False)
    assert live.overrides == Overrides()


async def test_tighter_targets_are_predicted_to_serve_less() -> None:
    live = Live(a_fleet())
    live.run(10, rps=40)
    effect = await live.operations.set_slo(CHAT, ClassTargets(itl_s=0.02), dry_run=True)
    assert effect.lines[0] == "class chat: itl_s 0.1 -> 0.02"
    assert effect.served_after_rps[CHAT] < effect.served_before_rps[CHAT]


async def test_what_the_fleet_does_not_have_is_not_found() -> None:
    operations = Live(a_fleet()).operations
    nobody = PoolId("nobody")
    with pytest.raises(UnknownClassError):
        await operations.set_slo(ClassName("nobody"), ClassTargets(weight=1.0), dry_run=True)
    for thaw in (False, True):
        with pytest.raises(UnknownPoolError):
            await operations.freeze(nobody, thaw=thaw, why="", dry_run=True)
        with pytest.raises(UnknownPoolError):
            await operations.drain(nobody, undo=thaw, why="", dry_run=True)


async def test_what_the_document_has_no_more_can_still_be_taken_back() -> None:
    live = Live(a_fleet())
    gone, old = PoolId("gone"), ClassName("old")
    left = Overrides(
        frozen={gone: "w"}, drained={gone: "w"}, targets={old: ClassTargets(weight=2.0)}
    )
    live.planner.revise(live.planner.fleet, left)
    await live.operations.freeze(gone, thaw=True, why="", dry_run=False)
    await live.operations.drain(gone, undo=True, why="", dry_run=False)
    await live.operations.set_slo(old, ClassTargets(), dry_run=False)
    assert live.overrides == Overrides()


async def test_a_frozen_pool_keeps_what_it_has_until_it_is_thawed() -> None:
    live = Live(a_fleet())
    live.run(6, rps=1)
    before = live.targets
    await live.operations.freeze(None, thaw=False, why="incident", dry_run=False)
    live.run(20, rps=40)
    assert live.targets == before
    await live.operations.freeze(None, thaw=True, why="", dry_run=False)
    live.run(10, rps=40)
    assert sum(live.targets.values()) == 8


async def test_a_drained_pool_goes_down_to_nothing_and_comes_back() -> None:
    live = Live(a_fleet(min_replicas=2))
    live.run(10, rps=20)
    effect = await live.operations.drain(A, undo=False, why="old", dry_run=False)
    assert not any("NOTHING" in line for line in effect.lines)
    live.run(6, rps=20)
    assert live.targets == {"a": 0, "b": 4}
    await live.operations.drain(A, undo=True, why="", dry_run=False)
    live.run(6, rps=20)
    assert live.targets["a"] >= 2


async def test_draining_the_last_pool_of_a_stage_says_loudly_what_is_lost() -> None:
    pools = [pool("p", Role.PREFILL), pool("d", Role.DECODE), pool("e", Role.DECODE)]
    live = Live(fleet(pools))
    effect = await live.operations.drain(PoolId("d"), undo=False, why="", dry_run=False)
    assert not any("NOTHING" in line for line in effect.lines)
    effect = await live.operations.drain(PoolId("e"), undo=False, why="", dry_run=True)
    assert effect.lines[0] == (
        "NOTHING WILL SERVE MODEL m: no other pool takes the decode stage of e, so all its "
        "requests go unserved"
    )


async def test_a_drain_is_not_undone_if_the_floor_does_not_fit_any_more() -> None:
    live = Live(a_fleet(floor_replicas=3))
    await live.operations.drain(A, undo=False, why="", dry_run=False)
    await live.operations.set_budget(2, {}, dry_run=False)
    with pytest.raises(InfeasibleFloorsError, match="floors need 4 GPUs, budget holds 2"):
        await live.operations.drain(A, undo=True, why="", dry_run=False)
    assert A in live.overrides.drained


async def test_a_proposal_happens_once_it_is_approved() -> None:
    live = Live(a_fleet(), mode=Mode.APPROVE)
    live.run(10, rps=40)
    assert live.targets == {"a": 1, "b": 1}
    (waiting,) = live.planner.standing().proposals
    lines = await live.operations.approve(waiting.proposal.id, reject=False)
    assert all(line.startswith("pool ") for line in lines)
    live.run(4, rps=40)
    wanted = {str(each.pool_id): each.after for each in waiting.proposal.changes}
    assert live.targets == {"a": 1, "b": 1} | wanted
    with pytest.raises(UnknownProposalError):
        await live.operations.approve(waiting.proposal.id, reject=False)


async def test_a_proposal_waits_as_long_as_it_is_wanted() -> None:
    live = Live(a_fleet(), mode=Mode.APPROVE)
    live.run(10, rps=40)
    (first,) = live.planner.standing().proposals
    live.run(120, rps=40)
    (still,) = live.planner.standing().proposals
    assert still.proposal.id == first.proposal.id
    await live.operations.approve(first.proposal.id, reject=True)
    live.run(10, rps=40)
    assert live.planner.standing().proposals == []


async def test_what_has_not_been_needed_for_long_goes_on_waiting_for_approval() -> None:
    live = Live(a_fleet(), dwell_s=80.0)
    live.run(10, rps=40)
    live.gate.switch(Mode.APPROVE)
    before = live.targets
    live.run(200, rps=1)
    seen = set()
    for _ in range(15):
        (waiting,) = live.planner.standing().proposals
        seen.add(waiting.proposal.id)
        live.run(10, rps=1)
    assert len(seen) == 1
    assert live.targets == before


async def test_routers_are_told_of_what_there_is_not_of_what_waits() -> None:
    live = Live(a_fleet(min_replicas=0))
    live.run(10, rps=40)
    live.gate.switch(Mode.APPROVE)
    live.run(100, rps=1)
    (waiting,) = live.planner.standing().proposals
    assert {change.after for change in waiting.proposal.changes if change.pool_id == A} == {0}
    plan = live.planner.plan
    assert plan is not None
    assert plan.shares[CHAT][Stage.PREFILL] == {A: 0.5, B: 0.5}


async def test_a_lowered_budget_does_not_wait_for_approval() -> None:
    live = Live(a_fleet())
    live.run(10, rps=40)
    live.gate.switch(Mode.APPROVE)
    await live.operations.set_budget(6, {}, dry_run=False)
    live.run(4, rps=40)
    assert sum(live.targets.values()) == 6


async def test_advice_changes_nothing_and_gives_routers_no_plan() -> None:
    live = Live(a_fleet(), mode=Mode.ADVISE)
    told: list[int] = []
    live.planner.on_decision.append(lambda made: told.append(made.decision.replicas[A]))
    live.run(20, rps=40)
    assert live.targets == {"a": 1, "b": 1}
    assert live.planner.plan is None
    assert max(told) > 1


async def test_a_change_is_brought_to_its_end_though_who_asked_for_it_has_gone() -> None:
    live = Live(a_fleet())
    asking = asyncio.create_task(live.operations.set_budget(6, {}, dry_run=False))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await live.operations.freeze(A, thaw=False, why="w", dry_run=False)  # comes after it
    assert live.record.overrides == Overrides(budget_gpus=6, frozen={A: "w"})


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (Mode.APPROVE, "what limits and bounds do not force waits for `weir approve`"),
        (Mode.ADVISE, "this GlobalPlanner only advises: pools keep what they have"),
    ],
)
async def test_an_effect_that_does_not_come_by_itself_says_so(mode: Mode, said: str) -> None:
    effect = await Live(a_fleet(), mode=mode).operations.set_budget(6, {}, dry_run=True)
    assert effect.lines[-1] == said


async def test_one_that_does_not_lead_shows_no_proposals_and_approves_none() -> None:
    live = Live(a_fleet(), mode=Mode.APPROVE)
    live.run(10, rps=40)
    (waiting,) = live.planner.standing().proposals
    live.planner.yield_to("another one leads")
    assert live.planner.standing().proposals == []
    for reject in (False, True):
        with pytest.raises(UnavailableError, match="another one leads"):
            await live.operations.approve(waiting.proposal.id, reject=reject)


async def test_a_pool_that_was_never_heard_and_is_in_no_document_is_forgotten_on_request() -> None:
    live = Live(a_fleet())
    live.planner.revise(fleet([pool("a")], gpus=8), Overrides(), document=fleet([pool("a")]))
    assert live.planner.lost_pools == {B}
    assert not (await live.operations.drain(B, undo=False, why="", dry_run=True)).applied
    effect = await live.operations.drain(B, undo=False, why="", dry_run=False)
    assert effect.applied
    assert "pool b: counts no more" in effect.lines[0]
    with pytest.raises(UnknownPoolError):
        await live.operations.drain(B, undo=False, why="", dry_run=False)
