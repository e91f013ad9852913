"""What other GPUs would come to. A replica carries 5 chat requests/s unless it is said."""

from collections.abc import Mapping

import pytest

from globalplanner.core.arbiter.snapshot import Rules, Snapshot
from globalplanner.core.study.study import WhatIfAnswer, study
from tests.unit.globalplanner.fleets import CHAT, LONG, fleet, pool, request_class, snapshot, view
from weir.domain.fleet import NodeGroup, Role

ONE = pool("one", max_replicas=9)


def _ask(
    now: Snapshot, more: Mapping[str, int] | None = None, load_factor: float = 1.0
) -> WhatIfAnswer:
    answer = study(now, Rules(), more or {}, load_factor, lambda: 10.0)
    assert answer is not None
    return answer


def test_more_gpus_of_a_class_serve_more() -> None:
    answer = _ask(snapshot([view(ONE, 2)], {"chat": 14.0}, gpus=2), {"gpu": 1})
    assert (answer.value_now, answer.value) == (pytest.approx(10.0), pytest.approx(14.0))
    assert answer.served_now_rps == pytest.approx({CHAT: 10.0})
    assert answer.served_rps == pytest.approx({CHAT: 14.0})
    assert answer.replicas_by_pool == {"one": 3}
    assert answer.lines == (
        "1 more gpu",
        "chat: 10.0 -> 14.0 rps within SLO of 14.0 offered",
        "more gpu would add nothing",
    )


def test_fewer_gpus_and_more_load_are_told_together() -> None:
    now = snapshot([view(ONE, 4)], {"chat": 10.0}, gpus=4)
    answer = _ask(now, {"gpu": -1}, 2.0)
    assert answer.lines == (
        "1 fewer gpu and 2 times the load",
        "chat: 10.0 -> 15.0 rps within SLO of 20.0 offered",
        "one more gpu would add 5.0 rps within SLO (chat 5.0)",
    )
    assert answer.full_value == pytest.approx(20.0)


def test_one_more_gpu_is_worth_what_a_whole_replica_adds() -> None:
    # The third replica is needed for 2 requests/s only.
    (gain,) = _ask(snapshot([view(ONE, 2)], {"chat": 12.0}, gpus=2)).gains
    assert (gain.gpus, gain.total_rps) == (1, pytest.approx(2.0))


def test_a_replica_of_several_gpus_needs_all_of_them() -> None:
    wide = pool("wide", gpus_per_replica=4)
    answer = _ask(snapshot([view(wide)], {"chat": 9.0}, gpus=5))
    # One GPU is left over: three more make a replica.
    assert answer.lines[-1] == "3 more gpu would add 4.0 rps within SLO (chat 4.0)"


def test_both_stages_together_are_tried_where_one_alone_adds_nothing() -> None:
    views = [view(pool("p", Role.PREFILL)), view(pool("d", Role.DECODE))]
    answer = _ask(snapshot(views, {"chat": 9.0}, gpus=2))
    assert answer.lines[-1] == "2 more gpu would add 4.0 rps within SLO (chat 4.0)"


def test_gpus_of_a_class_come_to_one_of_its_node_groups_only() -> None:
    # The budget has room: the two groups of H200 are what binds.
    groups = [NodeGroup(name=n, gpu_class="H200", gpus=1) for n in ("a", "b")]
    pools = [pool(f"in-{g.name}", node_group=g.name, gpu_class="H200") for g in groups]
    other = pool("other", node_group="c", gpu_class="H100", min_replicas=0)
    groups.append(NodeGroup(name="c", gpu_class="H100", gpus=4))
    whole = fleet([*pools, other], gpus=20, node_groups=groups)
    views = [*(view(spec) for spec in pools), view(other, 0, capacity_rps={})]
    now = snapshot(views, {"chat": 50.0}, whole=whole)
    answer = _ask(now, {"H200": 2})
    assert answer.value == pytest.approx(20.0)
    assert sum(answer.replicas_by_pool.values()) == 4
    assert answer.lines[-2:] == (
        "more H100 would add nothing",
        "one more H200 would add 5.0 rps within SLO (chat 5.0)",
    )


def test_gains_are_told_by_class() -> None:
    classes = (request_class("chat"), request_class("long", weight=2.0))
    wide = pool("wide", max_replicas=9)
    whole = fleet([wide], gpus=1, classes=classes)
    now = snapshot(
        [view(wide, capacity_rps={CHAT: 5.0, LONG: 5.0})], {"chat": 9.0, "long": 8.0}, whole=whole
    )
    # The one replica serves 5 long requests/s; another one the other 3, and 2 of chat.
    (gain,) = _ask(now).gains
    assert gain.added_rps == pytest.approx({CHAT: 2.0, LONG: 3.0})


def test_what_more_gpus_take_from_classes_that_are_worth_less_is_told() -> None:
    # One GPU serves chat. Two serve long requests, which are worth more, and none of chat.
    pools = [
        pool("chat-pool", min_replicas=0, guarantee_replicas=0),
        pool("long-pool", gpus_per_replica=2, min_replicas=0, guarantee_replicas=0),
    ]
    classes = (request_class("chat"), request_class("long", weight=3.0))
    whole = fleet(pools, gpus=1, classes=classes)
    views = [view(pools[0]), view(pools[1], capacity_rps={LONG: 4.0})]
    answer = _ask(snapshot(views, {"chat": 5.0, "long": 4.0}, whole=whole))
    assert answer.served_rps == pytest.approx({CHAT: 5.0, LONG: 0.0})
    assert answer.lines[-1] == (
        "one more gpu would add long 4.0 rps within SLO and take chat 5.0, which is worth less"
    )


def test_gpus_that_floors_need_are_reckoned_with_and_told() -> None:
    answer = _ask(snapshot([view(pool("a", min_replicas=2))], {"chat": 50.0}, gpus=3), {"gpu": -2})
    assert answer.served_rps == pytest.approx({CHAT: 10.0})
    assert any("need 1 more GPUs" in line for line in answer.lines)


def test_without_time_there_is_no_answer() -> None:
    now = snapshot([view(ONE)], {"chat": 4.0})
    assert study(now, Rules(), {}, 1.0, lambda: 0.0) is None


def test_what_is_not_found_in_time_is_told() -> None:
    # What is and what would be is the same question here: four looks, and no time for the gains.
    left = iter([9.0, 9.0, 9.0] + [0.0] * 9)
    now = snapshot([view(ONE, 2)], {"chat": 12.0}, gpus=2)
    answer = study(now, Rules(), {}, 1.0, lambda: next(left))
    assert answer is not None and answer.gains == ()
    assert answer.lines[-1] == "what more gpu would add was not found in time"
