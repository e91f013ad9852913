"""What replicas are worth. Numbers are chosen so that flows can be worked out by hand."""

from dataclasses import dataclass

import numpy as np
import pytest

from weir.domain.fleet import Role
from weir.domain.ids import ClassName, ModelName, PoolId
from weir.sizing.point import Point
from weir.sizing.value import Demand, Goodput, Supply

CHAT, LONG = ClassName("chat"), ClassName("long")
NAMES = (CHAT, LONG)
M = ModelName("m")


@dataclass(frozen=True)
class Stream:
    rate_rps: float
    name: ClassName = CHAT
    worth: float = 1.0
    model: ModelName = M


@dataclass(frozen=True)
class Pool:
    name: str
    role: Role
    backlog: float
    capacity_rps: dict[str, float]


def stream(rate_rps: float, name: ClassName = CHAT, **changes: object) -> Stream:
    return Stream(rate_rps, name, **changes)  # type: ignore[arg-type]


def supply(name: str, role: Role, *, backlog: float = 0.0, **capacity_rps: float) -> Pool:
    return Pool(name, role, backlog, capacity_rps)


def goodput_of(streams: list[Stream], pools: list[Pool], *, utilization: float = 0.8) -> Goodput:
    """Pools are of model `m`, and in the order of their names."""
    models = sorted({M, *(s.model for s in streams)})
    rate, worth = np.zeros((len(models), len(NAMES))), np.ones((len(models), len(NAMES)))
    for s in streams:
        at = models.index(s.model), NAMES.index(s.name)
        rate[at], worth[at] = s.rate_rps, s.worth
    return Goodput(
        Demand(rate_rps=rate, worth=worth),
        Supply(
            pool_ids=tuple(PoolId(p.name) for p in pools),
            roles=tuple(p.role for p in pools),
            model=np.full(len(pools), models.index(M)),
            capacity_rps=np.array([[p.capacity_rps.get(n, 0.0) for n in NAMES] for p in pools]),
            backlog_replicas=np.array([p.backlog for p in pools]),
            backlog_worth=np.ones(len(pools)),
        ),
        utilization=utilization,
    )


def point(goodput: Goodput, *replicas: int, carry: float = 1.0) -> Point:
    return goodput.at(replicas, carry=carry).find(range(len(goodput.components)))


def value(
    streams: list[Stream], pools: list[Pool], *, utilization: float = 0.8, **replicas: int
) -> float:
    goodput = goodput_of(streams, pools, utilization=utilization)
    return sum(point(goodput, *(replicas.get(p.name, 0) for p in pools)).value)


AGG = supply("agg", Role.AGG, chat=5.0)
PREFILL = supply("prefill", Role.PREFILL, chat=5.0)
DECODE = supply("decode", Role.DECODE, chat=2.0)


@pytest.mark.parametrize(("replicas", "served_rps"), [(0, 0.0), (1, 5.0), (2, 10.0), (3, 12.0)])
def test_a_pool_serves_up_to_its_capacity_and_no_more_than_is_offered(
    replicas: int, served_rps: float
) -> None:
    assert value([stream(12.0)], [AGG], agg=replicas) == pytest.approx(served_rps)


@pytest.mark.parametrize(
    ("prefill", "decode", "served_rps"), [(1, 0, 0.0), (0, 3, 0.0), (1, 2, 4.0), (1, 4, 5.0)]
)
def test_a_request_counts_once_it_has_passed_both_stages(
    prefill: int, decode: int, served_rps: float
) -> None:
    served = value([stream(20.0)], [PREFILL, DECODE], prefill=prefill, decode=decode)
    assert served == pytest.approx(served_rps)


def test_aggregated_and_split_pools_share_a_stream() -> None:
    supplies = [AGG, PREFILL, DECODE]
    assert value([stream(20.0)], supplies, agg=1, prefill=1, decode=2) == pytest.approx(9.0)


def test_capacity_goes_to_the_stream_that_is_worth_most_on_it() -> None:
    # A second of a replica is worth 4 chat requests, or 2 long ones of worth 3.
    both = supply("both", Role.AGG, chat=4.0, long=2.0)
    streams = [stream(10.0), stream(1.0, LONG, worth=3.0)]
    # 1 long takes half a replica, the rest serves 2 chat.
    assert value(streams, [both], both=1) == pytest.approx(1 * 3.0 + 2.0)


def test_streams_are_sent_where_they_leave_room_for_others() -> None:
    # Only `big` serves long requests; chat must give way to `small`.
    big = supply("big", Role.AGG, chat=10.0, long=2.0)
    small = supply("small", Role.AGG, chat=5.0)
    goodput = goodput_of([stream(5.0), stream(2.0, LONG)], [big, small])
    found = point(goodput, 1, 1)
    assert sum(found.value) == pytest.approx(sum(goodput.full())) == pytest.approx(7.0)
    served = found.served_rps(len(NAMES))
    assert served == pytest.approx(np.array([[0.0, 2.0], [5.0, 0.0]]))


def test_a_stream_nobody_serves_within_slo_has_no_value() -> None:
    goodput = goodput_of([stream(5.0, LONG)], [AGG])
    assert sum(goodput.full()) == 0.0
    assert sum(point(goodput, 3).value) == 0.0


def test_another_models_pool_serves_nothing() -> None:
    assert value([stream(5.0, model=ModelName("n"))], [AGG], agg=1) == 0.0


def test_a_stage_without_its_complement_serves_nothing() -> None:
    goodput = goodput_of([stream(5.0)], [PREFILL])
    assert sum(goodput.full()) == sum(point(goodput, 3).value) == 0.0


def test_pools_that_have_no_class_in_common_are_components_of_their_own() -> None:
    pools = [supply("a", Role.AGG, chat=5.0), supply("b", Role.AGG, long=5.0)]
    assert len(goodput_of([stream(1.0), stream(1.0, LONG)], pools).components) == 2
    pools.append(supply("c", Role.AGG, chat=1.0, long=1.0))
    assert len(goodput_of([stream(1.0), stream(1.0, LONG)], pools).components) == 1


def test_prices_bound_what_one_more_replica_adds_and_one_fewer_loses() -> None:
    found = point(goodput_of([stream(20.0)], [DECODE, PREFILL]), 2, 2)
    # Two decodes carry 4 rps, two prefills 10: only decodes are short.
    assert found.bound(0, 3) == pytest.approx(2.0)
    assert found.bound(0, 1) == pytest.approx(-2.0)
    assert found.bound(1, 3) == pytest.approx(0.0)


def test_what_is_tried_is_exact_and_changes_nothing() -> None:
    found = point(goodput_of([stream(20.0)], [DECODE, PREFILL]), 2, 2)
    both = ((0, 6), (1, 3))
    assert found.tries([((0, 3),), ((0, 9),), both]) == pytest.approx([6.0, 10.0, 12.0])
    assert found.value == pytest.approx([4.0])
    found.move(dict(both))
    assert found.value == pytest.approx([12.0])


def test_queued_work_uses_the_time_that_planned_load_leaves() -> None:
    # 5 rps are what one replica is planned to carry: 80 % of its time. 20 % are left.
    goodput = goodput_of([stream(5.0)], [supply("agg", Role.AGG, backlog=2.0, chat=5.0)])
    found = point(goodput, 1)
    assert found.caught_up() == pytest.approx([0.2])
    assert sum(found.value) == pytest.approx(5.2)
    # With two replicas 1.2, with three all that there is.
    assert point(goodput, 2).caught_up() == pytest.approx([1.2])
    assert point(goodput, 3).caught_up() == pytest.approx([2.0])


def test_queued_work_of_one_stage_needs_no_other_stage() -> None:
    behind = supply("prefill", Role.PREFILL, backlog=3.0, chat=5.0)
    assert value([stream(1.0)], [behind, DECODE], prefill=3, decode=0) == pytest.approx(3.0)


def test_carrying_less_than_planned_is_worth_as_much_as_fewer_replicas() -> None:
    assert sum(point(goodput_of([stream(20.0)], [AGG]), 2, carry=0.5).value) == pytest.approx(5.0)


def test_what_flows_leave_idle_can_go() -> None:
    found = point(goodput_of([stream(6.0)], [AGG]), 4)
    assert found.idle_replicas() == pytest.approx([2.8])


def test_tiny_and_huge_numbers_do_not_upset_the_program() -> None:
    fast = supply("fast", Role.AGG, chat=1e9, long=1e-4)
    streams = [stream(1e-4), stream(1e5, LONG, worth=1e3), stream(0.0, model=ModelName("n"))]
    assert value(streams, [fast], fast=1) == pytest.approx(0.1 + 1e-4, rel=1e-3)


def test_the_value_does_not_depend_on_where_the_search_begins() -> None:
    behind = supply("prefill", Role.PREFILL, backlog=1.5, chat=5.0, long=2.0)
    decode = supply("decode", Role.DECODE, chat=3.0, long=4.0)
    streams = [stream(9.0), stream(3.0, LONG, worth=2.0)]
    goodput = goodput_of(streams, [behind, decode, AGG])
    moving = point(goodput, 0, 0, 0)
    for prefill in range(4):
        for decodes in range(4):
            counts = (prefill, decodes, (prefill + decodes) % 2)
            moving.move(dict(enumerate(counts)))
            assert moving.value == pytest.approx(point(goodput, *counts).value, abs=1e-6)
