"""The best by HiGHS. A replica carries 5 chat requests/s unless a test says otherwise."""

from dataclasses import replace

import pytest

from globalplanner.core.arbiter.snapshot import Rules, Snapshot
from globalplanner.core.study.program import Best, Program
from tests.unit.globalplanner.fleets import CHAT, LONG, fleet, pool, request_class, snapshot, view
from weir.domain.fleet import Role
from weir.domain.ids import PoolId

BIG = pool("big", gpus_per_replica=4, min_replicas=0, guarantee_replicas=0)
SMALL = pool("small", min_replicas=0, guarantee_replicas=0)


def _best(now: Snapshot, *, gpus: int | None = None, whole: bool = True, load: float = 1.0) -> Best:
    limits = {} if gpus is None else {"budget": gpus}
    found = Program(now, Rules()).best(limits, whole=whole, load_factor=load)
    assert found is not None and found.proven
    return found


def test_gpus_go_where_they_serve_most() -> None:
    # A big replica serves 30 requests/s with 4 GPUs, four small ones 20.
    now = snapshot([view(BIG, capacity_rps={CHAT: 30.0}), view(SMALL)], {"chat": 38.0}, gpus=6)
    best = _best(now)
    assert best.replicas == {"big": 1, "small": 2}
    assert best.value == pytest.approx(38.0) and best.value == pytest.approx(best.full_value)
    assert _best(now, gpus=3).served_rps == pytest.approx({CHAT: 15.0})


def test_no_more_gpus_are_held_than_are_of_use() -> None:
    now = snapshot([view(SMALL, 4)], {"chat": 7.0})
    assert _best(now).replicas == {"small": 2}


def test_of_two_ways_the_one_nearer_to_what_is_now_is_taken() -> None:
    twin = pool("twin", min_replicas=0, guarantee_replicas=0)
    now = snapshot([view(SMALL, 0), view(twin, 3)], {"chat": 14.0})
    assert _best(now).replicas == {"small": 0, "twin": 3}


def test_a_stage_without_the_other_serves_nothing() -> None:
    prefill = pool("p", Role.PREFILL)
    assert _best(snapshot([view(prefill)], {"chat": 9.0})).value == 0.0
    decode = pool("d", Role.DECODE)
    both = snapshot([view(prefill, capacity_rps={CHAT: 10.0}), view(decode)], {"chat": 9.0}, gpus=3)
    assert _best(both).replicas == {"p": 1, "d": 2}


def test_what_is_set_aside_no_other_pool_gets() -> None:
    idle = pool("idle", min_replicas=0, floor_replicas=2)
    now = snapshot([view(idle, capacity_rps={}), view(SMALL)], {"chat": 20.0}, gpus=4)
    assert _best(now).replicas == {"idle": 0, "small": 2}


def test_held_and_drained_pools_and_those_sized_by_others_stay() -> None:
    others = [
        view(pool("held"), 2, held="frozen: test"),
        view(pool("drained", min_replicas=0), 2, ceiling=0),
        view(pool("wished"), 3, wish=3),
    ]
    now = snapshot([*others, view(SMALL)], {"chat": 99.0}, gpus=7)
    assert _best(now).replicas == {"held": 2, "drained": 0, "wished": 3, "small": 2}
    assert _best(now).served_rps == pytest.approx({CHAT: 20.0})


def test_guarantees_come_before_what_is_worth_more() -> None:
    # Long requests are worth three times as much, and chat's pool is guaranteed 3 of 4 GPUs.
    chat = pool("chat-pool", min_replicas=0, guarantee_replicas=3)
    long = pool("long-pool", min_replicas=0, guarantee_replicas=0)
    classes = (request_class("chat"), request_class("long", weight=3.0))
    views = [view(chat), view(long, capacity_rps={LONG: 5.0})]
    whole = fleet([chat, long], gpus=4, classes=classes)
    now = snapshot(views, {"chat": 12.0, "long": 20.0}, whole=whole)
    assert _best(now).replicas == {"chat-pool": 3, "long-pool": 1}
    unguaranteed = replace(views[0], spec=replace(chat, guarantee_replicas=0))
    without = replace(now, pools=(unguaranteed, views[1]))
    assert _best(without).replicas == {"chat-pool": 0, "long-pool": 4}
    # What chat does not need of its guarantee goes to others.
    idle = snapshot(views, {"chat": 4.0, "long": 20.0}, whole=whole)
    assert _best(idle).replicas == {"chat-pool": 1, "long-pool": 3}


def test_a_gpu_that_costs_more_than_it_serves_is_not_held() -> None:
    now = snapshot([view(SMALL, 1)], {"chat": 12.0})
    hourly = 3600.0 * 3.0
    found = Program(now, Rules(gpu_cost_per_hour={"gpu": hourly})).best()
    # Two replicas serve 10 requests/s; the third would serve 2 and cost 3 a second.
    assert found is not None and found.replicas == {"small": 2}


def test_the_load_is_a_factor_of_what_is_offered() -> None:
    now = snapshot([view(SMALL)], {"chat": 4.0})
    best = _best(now, load=2.5)
    assert best.served_rps == pytest.approx({CHAT: 10.0})
    assert best.full_value == pytest.approx(10.0)


def test_prices_are_what_one_more_gpu_would_add() -> None:
    now = snapshot([view(SMALL)], {"chat": 100.0}, gpus=2)
    best = _best(now, whole=False)
    assert best.price_by_limit == {"budget": pytest.approx(5.0, rel=1e-3)}
    enough = _best(snapshot([view(SMALL)], {"chat": 4.0}), whole=False)
    assert enough.price_by_limit == {"budget": pytest.approx(0.0, abs=1e-9)}


def test_a_limit_below_what_pools_have_in_any_case_is_told() -> None:
    least = pool("least", min_replicas=2)
    best = _best(snapshot([view(least)], {"chat": 50.0}), gpus=1)
    assert best.exceeded == {"budget": 1}
    assert best.replicas == {PoolId("least"): 2}


def test_without_any_demand_pools_keep_their_minimum() -> None:
    now = snapshot([view(pool("a"), 3)], {"chat": 0.0})
    best = _best(now)
    assert best.replicas == {"a": 1} and best.value == 0.0 and best.served_rps == {}
