"""What happens between the planners of a simulated fleet is what happens in reality."""

import logging
from collections.abc import Callable, Iterator

import pytest

from globalplanner.core.operators.proposals import Mode
from globalplanner.service import GlobalPlanner
from tests.simulation.fleet_world import Run, run
from weir.domain.overrides import Overrides
from weir.simulator.world import World


@pytest.fixture(autouse=True)
def _no_log() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def planners(world: World) -> list[GlobalPlanner]:
    assert world.roles is not None
    return [role.planner for role in world.roles.global_planners if role.planner is not None]


def test_growth_is_pushed_when_it_is_written_and_waits_for_no_report() -> None:
    # Pools report every 2 s; the store answers within some milliseconds.
    waits_s: list[float] = []

    def watch(world: World) -> None:
        decided: dict[str, tuple[float, int]] = {}

        def look() -> None:
            for id, (at_s, wanted) in list(decided.items()):
                if world.invariants.budget.granted(world.cluster.pools[id].spec.id) == wanted:
                    waits_s.append(world.now_s - at_s)
                    del decided[id]

        def step(each: object) -> None:
            if each.after > each.before:
                decided[each.pool_id] = each.at_s, each.after

        world.journal.on_step.append(step)
        world.every(0.02, look)

    run(3, names=[], watch=watch)
    assert len(waits_s) >= 3
    assert sorted(waits_s)[len(waits_s) // 2] < 0.2


def _overrides(changed: Callable[[Overrides], object]) -> Callable[[World], bool]:
    return lambda world: any(changed(planner.overrides) for planner in planners(world))


def _document(world: World) -> bool:
    """A GlobalPlanner that was never started again goes by another budget."""
    assert world.roles is not None
    return any(
        role.process.life == 1
        and role.planner is not None
        and role.planner.fleet.budget.gpus != world.scenario.fleet.budget.gpus
        for role in world.roles.global_planners
    )


def _account(found: Callable[[object], object]) -> Callable[[World], bool]:
    def look(world: World) -> bool:
        ledgers = [planner.ledger for planner in planners(world) if planner.ledger is not None]
        return any(found(account) for ledger in ledgers for account in ledger.accounts.values())

    return look


def _foreign(world: World) -> bool:
    ledgers = [planner.ledger for planner in planners(world) if planner.ledger is not None]
    return any(
        limit.most < 12
        for ledger in ledgers
        for limit in ledger.limits
        if limit.name.startswith("node group")
    )


def _refused(world: World) -> bool:
    """The pool planner's reports are: the document there has another size of replica."""
    return any(
        pool.gpus_per_replica != world.scenario.fleet.pool(pool.id).gpus_per_replica
        for planner in planners(world)
        for pool in planner.fleet.pools
    )


def _approves(world: World) -> bool:
    return any(
        planner.gate.mode == Mode.APPROVE and planner.gate.waiting for planner in planners(world)
    )


SEEN: dict[str, Callable[[World], bool]] = {
    "budget": _document,
    "removed-pools": _account(lambda account: account.leaving),
    "misfit": _refused,
    "foreign-gpus": _foreign,
    "occupied-nodes": _account(lambda account: account.report and account.report.withdrawn),
    "live-budget": _overrides(lambda overrides: overrides.budget_gpus),
    "live-targets": _overrides(lambda overrides: overrides.targets),
    "freeze": _overrides(lambda overrides: overrides.frozen),
    "drain": _overrides(lambda overrides: overrides.drained),
    "approval": _approves,
    "wiped-store": lambda world: world.roles is not None and world.roles.plane.store.wipes > 0,
    "split-store": lambda world: world.roles is not None and world.roles.plane.store.is_split,
    "lost-answers": lambda world: any(
        planner.term and not planner.health().growing for planner in planners(world)
    ),
}


@pytest.mark.parametrize("name", SEEN)
def test_each_fault_is_felt_by_the_planners(name: str) -> None:
    felt: list[float] = []

    def watch(world: World) -> None:
        def look() -> None:
            if world.now_s > 10.0 and SEEN[name](world):
                felt.append(world.now_s)

        world.every(0.5, look)

    for seed in range(1, 9):
        run(seed, names=[name], end_s=120.0, watch=watch)
        if felt:
            return
    pytest.fail("nobody has felt it")


def approvals(result: Run) -> set[str]:
    return {str(event["what"]) for event in result.happened("approval")}


def test_of_what_waits_a_person_approves_some_and_rejects_some() -> None:
    told: set[str] = set()
    for seed in range(6):
        told |= approvals(run(seed, names=["approval"], end_s=120.0))
        if {"approved", "rejected"} <= told:
            return
    pytest.fail(f"only {told}")
