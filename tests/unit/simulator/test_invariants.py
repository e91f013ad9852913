"""Each rule sees what breaks it, in a world that a script breaks, and nothing else.

The fleet has 16 GPUs; a prefill replica takes one, a decode replica two, one of each is there.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.simulator.worlds import Scripted, scenario
from weir.domain.ids import PoolId
from weir.simulator.call import End
from weir.simulator.journal import Step
from weir.simulator.world import World

PREFILL, DECODE = PoolId("prefill"), PoolId("decode")
Act = Callable[[World], object]


@pytest.fixture
def violations(tmp_path: Path) -> Callable[..., list[str]]:
    def run(
        *script: tuple[float, Act], calls: tuple[tuple[float, int, int], ...] = ()
    ) -> list[str]:
        rows = calls or ((1.0, 500, 11),)
        world = World(scenario(tmp_path, rows, to_s=200.0), Scripted(*script))
        world.run()
        return world.invariants.violations

    return run


def start(pool_id: PoolId, count: int) -> Act:
    return lambda world: [world.cluster.start(pool_id) for _ in range(count)]


def stop(pool_id: PoolId, drain_s: float) -> Act:
    return lambda world: world.cluster.stop(world.cluster.pools[pool_id].ready[0], drain_s)


def with_budget(gpus: int) -> Act:
    def act(world: World) -> None:
        fleet = world.fleet
        world.change_document(replace(fleet, budget=replace(fleet.budget, gpus=gpus)))

    return act


def test_a_world_in_which_nothing_is_wrong_breaks_no_rule(violations) -> None:
    assert violations((5.0, start(DECODE, 6)), (50.0, stop(DECODE, 10.0))) == []


def test_b1_more_gpus_than_the_budget(violations) -> None:
    # 1 + 2 are there, 3 x 2 fit into 9, a fourth does not.
    found = violations((4.0, with_budget(9)), (5.0, start(DECODE, 3)), (6.0, start(DECODE, 1)))
    assert found == [
        "B1 at 6.000 s: budget: 11 GPUs may be running of 9: decode holds 5 and may run 10 GPUs; "
        "prefill holds 1 and may run 1 GPUs"
    ]


def test_b2_a_lowered_budget_is_no_violation_but_growth_above_it_is(violations) -> None:
    lower = (5.0, with_budget(2))
    assert violations(lower) == []
    found = violations(lower, (6.0, start(PREFILL, 1)))
    assert [text[:60] for text in found] == [
        "B2 at 6.000 s: budget: 4 GPUs may be running of 2, exceeded "
    ]


def test_b2_what_has_been_given_up_above_the_budget_is_not_taken_back(violations) -> None:
    given_up = ((5.0, start(PREFILL, 4)), (40.0, with_budget(5)), (50.0, stop(PREFILL, 1.0)))
    assert violations(*given_up) == []
    found = violations(*given_up, (60.0, start(PREFILL, 1)))
    assert [text[:13] for text in found] == ["B2 at 60.000 "]


def test_b1_replicas_started_by_hand_are_nobodys_violation(violations) -> None:
    def by_hand(world: World) -> None:
        world.cluster.start(PREFILL)
        world.invariants.edited(world.fleet.pool(PREFILL), 1)

    full = ((4.0, with_budget(9)), (5.0, start(DECODE, 3)))
    assert violations(*full, (6.0, by_hand), (7.0, by_hand)) == []
    found = violations(*full, (6.0, by_hand), (7.0, start(PREFILL, 1)))
    assert [text[:13] for text in found] == ["B2 at 7.000 s"]


def test_b3_a_step_below_the_minimum(violations) -> None:
    def step(world: World) -> None:
        world.journal.step(
            Step(at_s=world.now_s, pool_id=DECODE, before=1, after=0, reason="a defect")
        )

    assert violations((5.0, step)) == [
        "B3 at 5.000 s: pool decode is to have 0 replicas, at least 1"
    ]


def test_b3_a_pool_below_its_minimum_at_the_end_though_there_is_room(violations) -> None:
    found = violations((5.0, stop(DECODE, 0.0)), calls=((1.0, 500, 1),))
    assert found == [
        "B3 at 200.000 s: pool decode has 0 replicas, less than its minimum 1, though there is room"
    ]


def test_b5_a_call_that_ends_twice(violations) -> None:
    def end_again(world: World) -> None:
        call = next(iter(world.cluster.pools[DECODE].ready[0].calls))
        world.end(call, End.FAILED)

    found = violations((2.0, end_again), calls=((1.0, 500, 101),))
    assert found[-1] == "B5 at 3.520 s: call 0 has ended before and ends again: completed"


def test_b5_a_call_that_is_left_on_a_replica(violations) -> None:
    def forget(world: World) -> None:
        replica = world.cluster.pools[DECODE].ready[0]
        call = next(iter(replica.calls))
        world.end(call, End.FAILED)

    found = violations((2.0, forget), calls=((1.0, 500, 100_001),))
    assert any("all calls have ended, but 1 are on it" in text for text in found)


def test_b6_a_replica_that_ends_under_its_calls(violations) -> None:
    def cut(world: World) -> None:
        replica = world.cluster.pools[DECODE].ready[0]
        world.cluster.stop(replica, 30.0)
        world.cluster.remove(replica)

    found = violations((2.0, cut), calls=((1.0, 500, 101),))
    assert found[0] == (
        "B6 at 2.000 s: decode-2 ends under 1 calls, 30.000 s before its drain is over"
    )


def test_b6_neither_a_drain_that_ends_nor_a_replica_that_dies(violations) -> None:
    replaced = (2.0, start(DECODE, 1))
    slow = ((1.0, 500, 1001),)
    assert violations(replaced, (3.0, stop(DECODE, 1.0)), calls=slow) == []

    def die(world: World) -> None:
        world.cluster.kill(world.cluster.pools[DECODE].ready[0])

    assert violations(replaced, (3.0, die), calls=slow) == []
