"""Dynamo's scale requests: what is understood, what can be, what it leaves, what it comes to."""

import dataclasses
from typing import Any

import pytest

from globalplanner.adapters.scale_messages import decode_scale_request, encode_scale_reply
from globalplanner.core.dynamo.scale_bounds import impossible, takes_too_much
from globalplanner.core.dynamo.scale_reply import Stand, reply_to
from globalplanner.core.dynamo.scale_request import (
    ScaleReply,
    ScaleRequest,
    ScaleStatus,
    Target,
    addressed,
)
from globalplanner.core.dynamo.wishes import Wishes
from tests.unit.globalplanner.fleets import fleet, pool
from weir.domain.dynamo import DynamoDeployment, DynamoRules
from weir.domain.fleet import Fleet, NodeGroup, PoolSpec, Role, Stage
from weir.domain.ids import PoolId
from weir.domain.planning import PoolState

P, D = PoolId("p"), PoolId("d")
LLAMA = DynamoDeployment(k8s_namespace="serving", name="llama", caller_namespace="serving-llama")
PREFILL = pool("p", Role.PREFILL, dynamo=LLAMA, max_replicas=8)
DECODE = pool("d", Role.DECODE, dynamo=LLAMA, max_replicas=8)


def request(**replicas: int) -> ScaleRequest:
    return ScaleRequest(
        caller_namespace="serving-llama",
        k8s_namespace="serving",
        deployment="llama",
        targets=tuple(
            Target(component=Stage(component), replicas=count)
            for component, count in replicas.items()
        ),
    )


def with_floor(*specs: PoolSpec, gpus: int, least: int) -> Fleet:
    whole = fleet(specs, gpus=gpus)
    return dataclasses.replace(whole, dynamo=DynamoRules(min_total_gpus=least))


# --- what is understood ---


def test_a_request_names_pools_by_deployment_and_component() -> None:
    assert addressed(request(prefill=2, decode=3), [PREFILL, DECODE, pool("x")]) == {P: 2, D: 3}


def test_an_aggregated_pool_is_the_decode_component() -> None:
    agg = pool("a", Role.AGG, dynamo=LLAMA)
    assert addressed(request(decode=3), [agg]) == {"a": 3}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"deployment": "qwen"}, "no pool of this fleet is a component of serving/qwen that"),
        ({"caller_namespace": "other"}, "of serving/llama that 'other' may ask for"),
        (
            {"targets": (Target(component=Stage.DECODE, replicas=1),) * 2},
            r"target_replicas\[1\].sub_component_type names decode a second time",
        ),
    ],
)
def test_what_nobody_can_be_meant_by_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        addressed(dataclasses.replace(request(decode=1), **changes), [PREFILL, DECODE])


MESSAGE = (
    '{"caller_namespace": "serving-llama", "graph_deployment_name": "llama", '
    '"k8s_namespace": "serving", "target_replicas": [{"sub_component_type": "decode", '
    '"component_name": "VllmDecodeWorker", "desired_replicas": 3}], "blocking": true, '
    '"timestamp": 1.5, "predicted_load": {"num_requests": 8.0, "isl": null, "osl": null}}'
)


def test_the_message_of_dynamo_is_read_whole() -> None:
    expected = dataclasses.replace(request(decode=3), blocking=True, timestamp_s=1.5)
    assert decode_scale_request(MESSAGE) == expected
    assert decode_scale_request(MESSAGE.replace('"blocking"', '"new": 1, "blocking"')) == expected


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("3}]", "-3}]", "target_replicas[0].desired_replicas: "),
        ("3}]", "2.5}]", "target_replicas[0].desired_replicas: "),
        ("3}]", "1e99}]", "target_replicas[0].desired_replicas: "),
        ('"decode"', '"planner"', "target_replicas[0].sub_component_type: "),
        ('"llama"', '""', "graph_deployment_name: "),
        ("1.5", "NaN", "timestamp: "),
        ("1.5", '"soon"', "timestamp: "),
        ("true", '"yes"', "blocking: "),
        ('"k8s_namespace"', '"k8s"', "k8s_namespace: "),
        (MESSAGE, "[]", "the request: "),
        (MESSAGE, '{"a', "the request: "),
    ],
)
def test_a_field_that_is_wrong_is_named(old: str, new: str, field: str) -> None:
    with pytest.raises(ValueError) as caught:
        decode_scale_request(MESSAGE.replace(old, new))
    assert field in str(caught.value)


def test_a_reply_is_what_dynamo_reads() -> None:
    reply = ScaleReply(
        status=ScaleStatus.SCALING, message="wait", current_replicas={Stage.PREFILL: 2}
    )
    assert encode_scale_reply(reply) == (
        b'{"status": "scaling", "message": "wait", "current_replicas": {"prefill": 2}}'
    )


# --- what can be ---


def test_what_fits_beside_the_floors_of_others_can_be() -> None:
    whole = fleet([PREFILL, DECODE, pool("x", min_replicas=2)], gpus=8)
    assert impossible({P: 3, D: 3}, {}, whole) == ""


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({P: 9}, "p can have at most 5 replicas"),
        ({P: 6}, "beside what is set aside for the others there is room for at most p 5"),
        ({P: 4, D: 3}, "budget holds 8 GPUs; beside what is set aside for the others there is "
         "room for at most d 5 and p 5"),
        ({P: 0}, "p keeps at least 1 replicas"),
    ],
)  # fmt: skip
def test_what_can_never_be_is_told_with_the_most_that_could(
    asked: dict[PoolId, int], why: str
) -> None:
    whole = fleet([PREFILL, DECODE, pool("x", min_replicas=2)], gpus=8)
    assert why in impossible(asked, {}, whole)


def test_a_shrink_can_be_however_much_is_left() -> None:
    whole = fleet([PREFILL, DECODE], gpus=6)
    assert impossible({P: 10}, {P: 12}, whole) == "", "more than its maximum and all GPUs"
    assert impossible({P: 10, D: 2}, {P: 12, D: 1}, whole) == ""


def test_node_groups_bound_what_can_be() -> None:
    group = NodeGroup(name="nodes", gpu_class="gpu", gpus=4)
    whole = fleet([PREFILL, DECODE], gpus=8, node_groups=[group])
    assert "node group nodes holds 4 GPUs" in impossible({D: 4}, {}, whole)
    assert impossible({D: 3}, {}, whole) == ""


# --- what has to stay ---


def test_without_a_floor_everything_may_be_given_back() -> None:
    assert takes_too_much({P: 1}, {P: 8, D: 0}, {}, fleet([PREFILL, DECODE])) == ""


def test_a_shrink_that_leaves_less_than_the_floor_is_refused() -> None:
    whole = with_floor(PREFILL, DECODE, gpus=10, least=8)
    assert takes_too_much({P: 3}, {P: 4, D: 4}, {}, whole) == (
        "would leave 7 GPUs in use, min_total_gpus is 8; p could go to 4"
    )
    assert takes_too_much({P: 2}, {P: 5, D: 4}, {}, whole).endswith("; p could go to 4")
    assert takes_too_much({P: 4}, {P: 5, D: 4}, {}, whole) == ""


def test_a_shrink_passes_if_another_pool_waits_for_its_gpus() -> None:
    whole = with_floor(PREFILL, DECODE, gpus=8, least=8)
    assert takes_too_much({P: 3}, {P: 4, D: 4}, {D: 5}, whole) == ""
    assert takes_too_much({P: 1}, {P: 4, D: 4}, {D: 5}, whole) != "", "d waits for one only"


def test_a_pool_that_stays_as_it_is_takes_over_no_gpus() -> None:
    whole = with_floor(PREFILL, DECODE, gpus=8, least=8)
    now = {P: 4, D: 4}
    assert takes_too_much({P: 3}, now, {D: 5}, whole, stuck=[D]) != ""
    assert takes_too_much({P: 3, D: 5}, now, {}, whole, stuck=[D]) != ""


def test_a_move_up_and_down_may_end_below_the_floor_by_one_of_its_replicas() -> None:
    large = dataclasses.replace(PREFILL, gpus_per_replica=4)
    whole = with_floor(large, DECODE, gpus=12, least=12)
    now = {P: 2, D: 4}
    assert takes_too_much({P: 1, D: 5}, now, {}, whole) == "", "9 of 12, within 4"
    assert takes_too_much({P: 1}, now, {}, whole) != "", "8 of 12, and only down"
    assert takes_too_much({P: 0, D: 7}, now, {}, whole) != "", "7 of 12"


def test_below_the_floor_nothing_is_refused_that_does_not_lead_further_down() -> None:
    whole = with_floor(PREFILL, DECODE, gpus=16, least=16)
    assert takes_too_much({P: 5}, {P: 4, D: 4}, {}, whole) == ""
    assert takes_too_much({P: 4}, {P: 4, D: 4}, {}, whole) == ""
    assert takes_too_much({P: 3}, {P: 4, D: 4}, {}, whole) != ""


def test_a_floor_above_a_lowered_budget_counts_as_the_budget() -> None:
    whole = with_floor(PREFILL, DECODE, gpus=6, least=8)
    assert takes_too_much({P: 3}, {P: 4, D: 4}, {}, whole) == "", "7 of 6 are too many anyhow"
    assert takes_too_much({P: 1}, {P: 4, D: 4}, {}, whole) != ""


# --- what counts ---


def test_the_newest_wish_counts_until_its_time_is_over() -> None:
    wishes = Wishes()
    wishes.note({P: 6}, None, 0.0, ttl_s=360.0)
    wishes.note({P: 5}, None, 10.0, ttl_s=360.0)
    assert wishes.in_force({P: 3, D: 2}, 369.0) == {P: 5, D: 2}
    assert wishes.in_force({P: 3, D: 2}, 370.0) == {P: 3, D: 2}, "asks for what it has"


def test_a_request_that_was_made_before_the_newest_is_late() -> None:
    wishes = Wishes()
    wishes.note({P: 6}, 100.0, 0.0, ttl_s=360.0)
    assert wishes.is_late({P: 2}, 99.0, 1.0)
    assert not wishes.is_late({P: 6}, 100.0, 1.0), "the same once more"
    assert not wishes.is_late({P: 2}, None, 1.0)
    assert not wishes.is_late({P: 2}, 99.0, 361.0), "the newest has ended"


def test_after_a_rejected_request_an_earlier_wish_for_more_has_ended() -> None:
    wishes = Wishes()
    wishes.note({P: 8}, None, 0.0, ttl_s=360.0)
    wishes.lower({P: 2}, {P: 4})
    assert wishes.in_force({P: 4}, 1.0) == {P: 4}
    wishes.note({P: 6}, None, 0.0, ttl_s=360.0)
    wishes.lower({P: 99}, {P: 4})
    assert wishes.in_force({P: 4}, 1.0) == {P: 6}


# --- what it comes to ---


def stand(decided: int, granted: int, ready: int, **changes: Any) -> Stand:
    state = PoolState(ready=ready, starting=0, terminating=0)
    fields: dict[str, Any] = {"component": Stage.DECODE, "state": state, "why": "waits for GPUs"}
    return Stand(decided=decided, granted=granted, **(fields | changes))


@pytest.mark.parametrize(
    ("known", "blocking", "status", "message"),
    [
        (stand(8, 8, 8), False, "success", "decode 8"),
        (stand(8, 8, 6), False, "success", "decode 8 (6 ready, 0 starting, 0 leaving)"),
        (stand(8, 8, 6), True, "scaling", "decode 8 (6 ready, 0 starting, 0 leaving)"),
        (stand(8, 8, 8), True, "success", "decode 8"),
        (stand(6, 6, 2), False, "scaling", "decode 6 for now, 8 asked for ("
         "2 ready, 0 starting, 0 leaving, waits for GPUs)"),
        (stand(8, 6, 6), False, "scaling", "decode 6 for now, 8 asked for ("
         "6 ready, 0 starting, 0 leaving, waits for GPUs)"),
        (stand(9, 9, 9), False, "scaling", "decode 9 for now, 8 asked for ("
         "9 ready, 0 starting, 0 leaving, waits for GPUs)"),
        (stand(1, 0, 0, state=None), False, "scaling",
         "decode 0 for now, 8 asked for (never seen, waits for GPUs)"),
    ],
)  # fmt: skip
def test_a_reply_tells_how_far_it_has_come(
    known: Stand, blocking: bool, status: str, message: str
) -> None:
    reply = reply_to({D: 8}, {D: known}, blocking=blocking)
    assert (reply.status, reply.message) == (status, message)


def test_replicas_that_leave_are_not_among_the_current_ones() -> None:
    state = PoolState(ready=2, starting=1, terminating=4)
    reply = reply_to({D: 3}, {D: stand(3, 3, 0, state=state)}, blocking=False)
    assert reply.current_replicas == {Stage.DECODE: 3}
