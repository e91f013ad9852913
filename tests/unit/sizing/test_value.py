"""What replicas are worth. Numbers are chosen so that flows can be worked out by hand."""

import pytest

from weir.domain.fleet import Role, Stage
from weir.domain.ids import ClassName, ModelName, PoolId
from weir.sizing.value import Goodput, Stream, Supply

CHAT, LONG = ClassName("chat"), ClassName("long")
M = ModelName("m")


def stream(rate_rps: float, name: ClassName = CHAT, **changes: object) -> Stream:
    return Stream(**({"class_name": name, "model": M, "rate_rps": rate_rps} | changes))  # type: ignore[arg-type]


def supply(name: str, role: Role, *, backlog: float = 0.0, **capacity_rps: float) -> Supply:
    return Supply(
        pool_id=PoolId(name),
        role=role,
        model=M,
        capacity_rps={ClassName(key): rate for key, rate in capacity_rps.items()},
        backlog_replicas=backlog,
        backlog_worth=1.0,
    )


def value(
    streams: list[Stream], supplies: list[Supply], *, utilization: float = 0.8, **replicas: int
) -> float:
    counts = {PoolId(name): count for name, count in replicas.items()}
    return Goodput(streams, supplies, utilization=utilization).of(counts).value


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
    goodput = Goodput([stream(5.0), stream(2.0, LONG)], [big, small], utilization=0.8)
    served = goodput.of({PoolId("big"): 1, PoolId("small"): 1})
    assert served.value == pytest.approx(goodput.full_value) == pytest.approx(7.0)
    by_pool = {(f.stream.class_name, f.pool_id): f.rate_rps for f in served.flows}
    assert by_pool == pytest.approx({(CHAT, "small"): 5.0, (LONG, "big"): 2.0})


def test_a_stream_nobody_serves_within_slo_has_no_value() -> None:
    goodput = Goodput([stream(5.0, LONG)], [AGG], utilization=0.8)
    assert goodput.full_value == 0.0
    assert goodput.of({PoolId("agg"): 3}).value == 0.0


def test_another_models_pool_serves_nothing() -> None:
    assert value([stream(5.0, model=ModelName("n"))], [AGG], agg=1) == 0.0


def test_a_stage_without_its_complement_serves_nothing() -> None:
    goodput = Goodput([stream(5.0)], [PREFILL], utilization=0.8)
    assert goodput.full_value == goodput.of({PoolId("prefill"): 3}).value == 0.0


def test_prices_bound_what_one_more_replica_adds() -> None:
    goodput = Goodput([stream(20.0)], [PREFILL, DECODE], utilization=0.8)
    served = goodput.of({PoolId("prefill"): 2, PoolId("decode"): 2})
    assert served.price_by_pool == pytest.approx({"decode": 2.0})
    assert {f.stage for f in served.flows} == {Stage.PREFILL, Stage.DECODE}


def test_queued_work_uses_the_time_that_planned_load_leaves() -> None:
    # 5 rps are what one replica is planned to carry: 80 % of its time. 20 % are left.
    behind = supply("agg", Role.AGG, backlog=2.0, chat=5.0)
    served = Goodput([stream(5.0)], [behind], utilization=0.8).of({PoolId("agg"): 1})
    assert served.catching_up == pytest.approx({"agg": 0.2})
    assert served.value == pytest.approx(5.2)
    # With two replicas 1.2, with three all that there is.
    served = Goodput([stream(5.0)], [behind], utilization=0.8).of({PoolId("agg"): 3})
    assert served.catching_up == pytest.approx({"agg": 2.0})


def test_queued_work_of_one_stage_needs_no_other_stage() -> None:
    behind = supply("prefill", Role.PREFILL, backlog=3.0, chat=5.0)
    assert value([stream(1.0)], [behind, DECODE], prefill=3, decode=0) == pytest.approx(3.0)


def test_carrying_less_than_planned_is_worth_as_much_as_fewer_replicas() -> None:
    goodput = Goodput([stream(20.0)], [AGG], utilization=0.8)
    assert goodput.of({PoolId("agg"): 2}, carry=0.5).value == pytest.approx(5.0)


def test_tiny_and_huge_numbers_do_not_upset_the_program() -> None:
    fast = supply("fast", Role.AGG, chat=1e9, long=1e-4)
    streams = [stream(1e-4), stream(1e5, LONG, worth=1e3), stream(0.0)]
    assert value(streams, [fast], fast=1) == pytest.approx(0.1 + 1e-4, rel=1e-3)


def test_the_value_does_not_depend_on_where_the_search_begins() -> None:
    behind = supply("prefill", Role.PREFILL, backlog=1.5, chat=5.0, long=2.0)
    decode = supply("decode", Role.DECODE, chat=3.0, long=4.0)
    streams = [stream(9.0), stream(3.0, LONG, worth=2.0)]
    goodput = Goodput(streams, [behind, decode, AGG], utilization=0.8)
    near = None
    for prefill in range(4):
        for decodes in range(4):
            counts = {"prefill": prefill, "decode": decodes, "agg": (prefill + decodes) % 2}
            replicas = {PoolId(name): count for name, count in counts.items()}
            near = goodput.of(replicas, near=near)
            assert near.value == pytest.approx(goodput.of(replicas).value)
