"""What starves or locks up pools under Dynamo's planner, case by case, and does not here.

The letters are those of docs/reference/dynamo-scale-requests.md. Every replica has one GPU.
"""

import dataclasses
from pathlib import Path

import pytest

from globalplanner.core.dynamo.scale_request import ScaleReply, ScaleStatus
from globalplanner.core.operators.proposals import Gate, Mode
from globalplanner.scale_requests import Taken
from tests.unit.globalplanner.dynamo_world import World, owned, sized
from weir.domain.errors import FleetError, UnavailableError
from weir.domain.fleet import Budget, Role
from weir.domain.ids import PoolId
from weir.domain.overrides import Overrides
from weir.fleet import load

A, B = PoolId("a"), PoolId("b")
SUCCESS, ERROR = ScaleStatus.SUCCESS, ScaleStatus.ERROR
REJECTED, SCALING = ScaleStatus.REJECTED, ScaleStatus.SCALING


def lower_the_budget(world: World, gpus: int) -> None:
    planner = world.leader.planner
    lowered = dataclasses.replace(planner.fleet, budget=Budget(gpus=gpus))
    planner.revise(lowered, Overrides(budget_gpus=gpus))


# --- a: below the floor ---


def test_a_growth_that_does_not_reach_the_floor_yet_is_accepted() -> None:
    world = World(sized("a"), sized("b"), gpus=24, least=16, has={"a": 4, "b": 4})
    assert world.ask("a", decode=5).status is SUCCESS
    world.run(10)
    assert world.ready == {"a": 5, "b": 4}


def test_a_nothing_leads_further_down_while_below_the_floor() -> None:
    world = World(sized("a"), sized("b"), gpus=24, least=16, has={"a": 4, "b": 4})
    assert world.ask("a", decode=3) == ScaleReply(
        status=REJECTED,
        message="would leave 7 GPUs in use, min_total_gpus is 16; a could go to 4",
        current_replicas={"decode": 4},
    )


# --- b: above the ceiling ---


def test_b_a_shrink_that_does_not_reach_the_ceiling_yet_is_accepted() -> None:
    world = World(sized("a"), sized("b"), gpus=8, has={"a": 4, "b": 4})
    lower_the_budget(world, 6)
    taken = world.send("a", decode=3)
    assert isinstance(taken, Taken), "7 are still too many"
    assert world.answer(taken).status is SUCCESS
    assert sum(world.ready.values()) == 6, "what else is too much goes without being asked"


def test_b_pools_of_weir_shrink_to_a_lowered_budget_and_never_grow_meanwhile() -> None:
    world = World(owned("a"), owned("b"), gpus=8, has={"a": 4, "b": 4})
    world.offered_rps = {"a": 18, "b": 18}
    world.run(60)
    lower_the_budget(world, 6)
    held = [world.held_gpus]
    while held[-1] > 6:
        world.run(1)
        held.append(world.held_gpus)
    assert held == sorted(held, reverse=True)
    world.run(30)
    assert world.ready == {"a": 3, "b": 3}


# --- c, d: old wishes of others ---


def test_c_a_wish_that_was_denied_is_not_executed_later_as_somebodys_partner() -> None:
    world = World(sized("a"), sized("b"), gpus=12, least=8, has={"a": 4, "b": 4})
    assert world.ask("b", decode=3).status is REJECTED
    world.run(300)
    assert world.ask("a", decode=5).status is SUCCESS
    world.run(30)
    assert world.ready == {"a": 5, "b": 4}


def test_c_a_wish_that_is_not_renewed_is_not_executed_late() -> None:
    world = World(sized("a"), sized("b"), gpus=8, has={"a": 4, "b": 4})
    assert world.ask("a", decode=6).status is SCALING
    world.run(361)
    assert world.ask("b", decode=2).status is SUCCESS
    world.run(30)
    assert world.ready == {"a": 4, "b": 2}


def test_d_no_more_shrinks_than_is_needed() -> None:
    specs = [sized(name) for name in "abcd"]
    world = World(*specs, gpus=12, least=8, has=dict.fromkeys("abcd", 2))
    assert [world.ask(name, decode=1).status for name in "bcd"] == [REJECTED] * 3
    assert world.ask("a", decode=3).status is SUCCESS
    world.run(30)
    assert world.ready == {"a": 3, "b": 2, "c": 2, "d": 2}


def test_d_a_fleet_whose_floor_is_its_ceiling_moves_one_replica_for_one() -> None:
    specs = [sized(name) for name in "abcd"]
    world = World(*specs, gpus=8, least=8, has=dict.fromkeys("abcd", 2))
    assert world.ask("b", decode=1).status is REJECTED, "nobody waits for it"
    assert world.ask("a", decode=3).status is SCALING
    assert [world.ask(name, decode=1).status for name in "bcd"] == [SUCCESS, REJECTED, REJECTED]
    world.run(30)
    assert world.ready == {"a": 3, "b": 1, "c": 2, "d": 2}
    assert world.most_gpus == 8


# --- e: what is decided does not happen ---


def test_e_starts_that_fail_are_seen_and_said_and_tried_until_they_succeed() -> None:
    pair = [sized("p", Role.PREFILL, of="llama"), sized("d", of="llama")]
    world = World(*pair, sized("x"), gpus=14, has={"p": 4, "d": 4, "x": 6})
    world.pools[PoolId("d")].broken = True
    taken = world.send("llama", prefill=3, decode=5, blocking=True)
    assert world.answer(taken) == ScaleReply(
        status=SCALING,
        message="decode 5 (4 ready, 0 starting, 0 leaving); prefill 3",
        current_replicas={"prefill": 3, "decode": 4},
    )
    assert world.ask("x", decode=7).status is SCALING, "the GPU is charged, though it is not used"
    world.pools[PoolId("d")].broken = False
    assert world.answer(taken).status is SUCCESS
    assert world.ready == {"p": 3, "d": 5, "x": 6}
    assert world.most_gpus == 14


# --- f, g, h: what nobody can mean ---


def test_f_a_negative_number_of_replicas_is_refused_and_the_field_named() -> None:
    world = World(sized("a"), gpus=8, has={"a": 4})
    reply = world.ask("a", decode=-3)
    assert reply.status is ERROR
    assert reply.message.startswith("target_replicas[0].desired_replicas: ")
    assert reply.message.endswith(", not -3")
    world.run(30)
    assert world.ready == {"a": 4}


def test_g_a_component_that_is_no_pool_is_refused() -> None:
    world = World(sized("a"), gpus=8)
    reply = world.ask("a", prefill=2)
    assert (reply.status, reply.message) == (
        ERROR,
        "target_replicas[0].sub_component_type: k8s/a has no prefill pool, only decode",
    )


def test_g_a_pool_that_was_never_seen_is_charged_with_all_it_may_run() -> None:
    world = World(sized("a"), sized("b", max_replicas=3), gpus=8, gone=["b"])
    reply = world.ask("a", decode=7)
    assert reply.status is SCALING
    assert "decode 5 for now, 7 asked for" in reply.message
    assert "never seen" in world.ask("b", decode=2).message
    world.run(30)
    assert world.ready == {"a": 5, "b": 1}


FLEET = """\
apiVersion: weir.dev/v1alpha1
kind: Fleet
metadata: {name: test}
spec:
  models: [{name: m}]
  budget: {gpus: 5}
  dynamo: {min_total_gpus: 10}
  pools:
    - {name: p, role: agg, model: m, dynamo: {deployment: llama}}
"""


def test_h_a_floor_above_the_ceiling_is_refused_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    with pytest.raises(FleetError, match="min_total_gpus: is 10, the budget has 5 GPUs"):
        load(path)


# --- i: two instances ---


def test_i_of_two_instances_one_decides() -> None:
    world = World(sized("a"), sized("b"), gpus=8, has={"a": 3, "b": 3}, instances=2)
    with pytest.raises(UnavailableError, match="stands by"):
        world.send("b", decode=5, at=world.instances[1])
    assert world.ask("a", decode=5).status is SUCCESS
    assert world.ask("b", decode=5).status is SCALING
    world.run(60)
    assert world.most_gpus == 8


def test_i_two_that_both_believe_to_lead_never_exceed_the_ceiling() -> None:
    world = World(sized("a"), sized("b"), gpus=8, has={"a": 3, "b": 3}, instances=2)
    old, new = world.instances
    old.cut = True
    world.pools[B].reports_to = 1
    world.run(10)
    assert old.planner.term < new.planner.term
    before = world.store.get("record")
    world.run(10)
    after = world.store.get("record")
    assert before and after and after[1] - before[1] <= 12, "once a second, though a is missing"
    assert isinstance(world.send("a", decode=5, at=old), Taken)
    assert isinstance(world.send("b", decode=5, at=new), Taken)
    world.run(60)
    assert world.most_gpus <= 8
    old.cut = False
    world.run(60)
    assert old.planner.term == 0, "it has lost the record"
    world.send("a", decode=5, at=new)
    world.send("b", decode=5, at=new)
    world.run(60)
    assert sum(world.ready.values()) == 8
    assert world.most_gpus == 8


def test_i_a_new_leader_keeps_what_was_granted_and_learns_anew_what_is_asked_for() -> None:
    world = World(sized("a"), sized("b"), gpus=8, has={"a": 3, "b": 3}, instances=2)
    old, new = world.instances
    assert world.ask("a", decode=5).status is SUCCESS
    old.cut = True
    for pool in world.pools.values():
        pool.reports_to = 1
    world.run(30)
    assert world.ready == {"a": 5, "b": 3}
    world.send("b", decode=2, at=new)
    world.run(10)
    assert world.ready == {"a": 5, "b": 2}


# --- j, k: not enough for all ---


def test_j_who_comes_second_gets_a_fair_share_in_time() -> None:
    world = World(sized("a"), sized("b"), gpus=8)
    assert world.ask("a", decode=7).status is SUCCESS
    world.run(30)
    assert world.ready == {"a": 7, "b": 1}
    assert world.ask("b", decode=4).status is SCALING
    world.run(60)
    assert world.ready == {"a": 4, "b": 4}
    for _ in range(10):
        world.ask("a", decode=7)
        world.ask("b", decode=4)
        world.run(30)
        assert world.ready == {"a": 4, "b": 4}, "and it stays so, whoever asks again"


def test_j_and_so_it_does_if_the_first_has_said_nothing_for_long() -> None:
    world = World(sized("a"), sized("b"), gpus=8)
    world.ask("a", decode=7)
    world.run(1000)
    world.ask("b", decode=4)
    world.run(60)
    assert world.ready == {"a": 4, "b": 4}


def test_j_shares_are_by_weight() -> None:
    world = World(sized("a", weight=3.0), sized("b"), gpus=8)
    world.ask("a", decode=7)
    world.run(30)
    world.ask("b", decode=6)
    world.run(60)
    assert world.ready == {"a": 6, "b": 2}


def test_j_of_pools_of_weir_the_second_gets_what_it_is_guaranteed() -> None:
    world = World(owned("a"), owned("b", guarantee_replicas=3), gpus=8)
    world.offered_rps = {"a": 40, "b": 1}
    world.run(30)
    assert world.ready == {"a": 7, "b": 1}
    world.offered_rps = {"a": 40, "b": 12}
    world.run(60)
    assert world.ready == {"a": 5, "b": 3}


def test_k_what_fits_is_granted_and_the_rest_comes_when_there_is_room() -> None:
    world = World(sized("a"), sized("b"), gpus=12, has={"a": 2, "b": 4})
    taken = world.send("a", decode=10)
    reply = world.answer(taken)
    assert reply.status is SCALING
    assert reply.message == (
        "decode 8 for now, 10 asked for (8 ready, 0 starting, 0 leaving, "
        "8: asked for 10 by its own planner, the GPUs are used up)"
    )
    assert world.ready == {"a": 8, "b": 4}
    assert world.ask("b", decode=2).status is SUCCESS
    assert world.answer(taken).status is SUCCESS
    assert world.ready == {"a": 10, "b": 2}
    assert world.most_gpus == 12


def test_k_what_can_never_fit_is_refused_with_the_most_that_could() -> None:
    world = World(sized("a"), sized("b"), gpus=8)
    reply = world.ask("a", decode=9)
    assert reply.status is REJECTED
    assert reply.message.endswith("there is room for at most a 7")


def test_k_a_pool_of_weir_gets_what_fits_and_the_rest_when_there_is_room() -> None:
    world = World(owned("a"), owned("b"), gpus=8, has={"a": 1, "b": 1})
    world.offered_rps = {"a": 2, "b": 18}
    world.run(60)
    assert world.ready == {"a": 1, "b": 4}
    world.offered_rps = {"a": 28, "b": 18}
    world.run(60)
    assert world.ready == {"a": 5, "b": 3}
    assert "the GPUs are used up" in world.why("a")
    world.offered_rps = {"a": 28, "b": 8}
    world.run(120)
    assert world.ready == {"a": 6, "b": 2}


# --- l: one of many is gone ---


def test_l_a_deployment_that_is_gone_freezes_alone() -> None:
    world = World(sized("a"), sized("b"), sized("c"), gpus=10, has={"a": 2, "b": 4, "c": 2})
    world.pools[B].gone = True
    world.run(60)
    assert world.ask("a", decode=3).status is SUCCESS
    assert world.ask("c", decode=1).status is SUCCESS
    world.run(30)
    assert world.ready == {"a": 3, "b": 4, "c": 1}
    assert world.ask("a", decode=7).status is SCALING, "b's GPUs stay charged"
    world.run(30)
    assert world.ready["a"] == 5
    assert world.leader.planner.health().silent_pools == ("b",)
    assert "silent" in world.why("b")


def test_l_a_pool_of_weir_that_is_gone_freezes_alone() -> None:
    world = World(owned("a"), owned("b"), gpus=10, has={"a": 2, "b": 4})
    world.offered_rps = {"a": 4, "b": 14}
    world.run(10)
    world.pools[B].gone = True
    world.offered_rps = {"a": 30, "b": 0}
    world.run(120)
    assert world.ready == {"a": 6, "b": 4}
    assert "silent" in world.why("b")


# --- what people have to say ---


def test_in_advisory_mode_nothing_is_done_and_the_answer_says_so() -> None:
    world = World(sized("a"), gpus=8, has={"a": 2})
    world.leader.planner.gate = Gate(Mode.ADVISE)
    assert world.ask("a", decode=4) == ScaleReply(
        status=SUCCESS,
        message="[no-operation] would aim for a 4 as far as there is room",
        current_replicas={},
    )
    world.run(30)
    assert world.ready == {"a": 2}


def test_in_approval_mode_an_operator_lets_it_happen() -> None:
    world = World(sized("a"), gpus=8, has={"a": 2})
    gate = Gate(Mode.APPROVE)
    world.leader.planner.gate = gate
    taken = world.send("a", decode=4)
    reply = world.answer(taken)
    assert reply.status is SCALING
    assert "waits for approval" in reply.message
    (proposal,) = gate.waiting
    gate.approve(proposal.id)
    assert world.answer(taken).status is SUCCESS
    assert world.ready == {"a": 4}


def test_who_waits_for_a_pool_that_is_taken_out_of_the_document_is_told() -> None:
    world = World(sized("a"), sized("b"), gpus=8)
    taken = world.send("a", decode=4, blocking=True)
    planner = world.leader.planner
    planner.revise(dataclasses.replace(planner.fleet, pools=planner.fleet.pools[1:]), Overrides())
    reply = world.answer(taken)
    assert (reply.status, reply.message) == (ERROR, "a is no component of k8s/a any more")


def test_a_frozen_pool_stays_as_it_is_and_the_answer_says_why() -> None:
    world = World(sized("a"), gpus=8, has={"a": 2})
    planner = world.leader.planner
    planner.revise(planner.fleet, Overrides(frozen={A: "on call"}))
    reply = world.ask("a", decode=4)
    assert reply.status is SCALING
    assert "frozen: on call" in reply.message
    planner.revise(planner.fleet, Overrides())
    world.run(10)
    assert world.ready == {"a": 4}


def test_a_pool_that_has_nothing_can_be_asked_for_while_gpus_are_short() -> None:
    world = World(sized("a", min_replicas=0), sized("b"), gpus=4)
    world.ask("b", decode=4)
    world.run(30)
    assert world.ready == {"a": 0, "b": 4}
    world.ask("a", decode=2)
    world.run(30)
    assert world.ready == {"a": 2, "b": 2}
    assert world.ask("a", decode=0).status is SUCCESS
    world.run(10)
    assert world.ready == {"a": 0, "b": 4}
