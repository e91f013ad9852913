from tests.unit.globalplanner.fleets import request_class
from weir.domain.fleet import RequestClass, Slo, TokenRange
from weir.domain.ids import PoolId
from weir.simulator.policies.dynamo.grid import Axis, Grid, grid_of

A, B, C = PoolId("a"), PoolId("b"), PoolId("c")


def _class(name: str, ttft_s: float = 1.0, **isl: int) -> RequestClass:
    slo = Slo(ttft_s=ttft_s, itl_s=0.05)
    return request_class(name, isl_tokens=TokenRange(**isl), slo=slo)


def _grid(*classes: RequestClass, homes: tuple[tuple[PoolId, ...], ...]) -> Grid:
    return grid_of(classes, [(c.slo.ttft_s,) for c in classes], homes)


def test_an_axis_has_buckets_of_equal_width_and_clamps_what_is_off_it() -> None:
    axis = Axis(low=0.0, high=100.0, resolution=4)
    values = (-5.0, 0.0, 24.9, 25.0, 99.0, 100.0, 64_000.0)
    assert [axis.bucket(value) for value in values] == [0, 0, 0, 1, 3, 3, 3]
    assert axis.middle(1) == 37.5


def test_rows_are_cut_where_classes_begin() -> None:
    short, long = _class("short", high=500), _class("long", low=500)
    grid = _grid(short, long, homes=((A,), (B,)))
    assert grid.lengths == Axis(low=0.0, high=1000.0, resolution=2)
    assert [grid.pool(isl, (1.0,)) for isl in (1, 499, 500, 60_000)] == [A, A, B, B]


def test_targets_keep_classes_of_the_same_length_apart() -> None:
    fast, middle, slow = _class("fast"), _class("middle", 2.0), _class("slow", 4.0)
    grid = _grid(fast, middle, slow, homes=((A,), (B,), (C,)))
    assert [grid.pool(100, (target_s,)) for target_s in (1.0, 2.0, 4.0)] == [A, B, C]
    assert grid.targets == (Axis(low=1.0, high=4.0, resolution=3),)


def test_classes_that_differ_in_output_alone_are_one_to_the_grid() -> None:
    brief = request_class("brief", osl_tokens=TokenRange(high=100))
    grid = _grid(brief, request_class("wordy"), homes=((A,), (B,)))
    assert set(grid.cells.values()) == {A}


def test_pools_of_one_class_take_its_rows_in_turn() -> None:
    grid = _grid(_class("all"), homes=((A, B),))
    assert [grid.pool(isl, (1.0,)) for isl in (100, 300, 600)] == [A, B, A]


def test_aggregated_pools_are_chosen_by_both_targets() -> None:
    classes = (_class("one"), _class("two"))
    grid = grid_of(classes, [(1.0, 0.02), (1.0, 0.05)], ((A,), (B,)))
    assert [grid.pool(10, (1.0, itl_s)) for itl_s in (0.02, 0.05)] == [A, B]
