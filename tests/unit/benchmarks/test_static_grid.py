"""The grid that stands for a Dynamo user's in the routing benchmark."""

from tests.benchmarks.bench_routing import CASES, GRIDS, WAYS
from tests.benchmarks.static_grid import grid_json, gridded


def test_every_pool_is_in_the_grid_and_each_class_has_its_prefill_pool() -> None:
    scenario = CASES[2].scenario(0.8, share=0.05)
    grid = gridded(scenario).grid
    assert grid is not None
    assert grid.decode is not None
    by_target = [grid.head.pools[grid.head.choose(100, ms, 50.0, None)] for ms in (1e3, 2e3, 4e3)]
    assert by_target == ["prefill-small", "prefill-chat", "prefill-reason"]
    assert {grid.decode.choose(isl, None, None, None) for isl in range(0, 20_000, 50)} == {0, 1, 2}


def test_decode_pools_get_output_as_they_have_replicas() -> None:
    scenario = CASES[2].scenario(0.8, share=0.05)
    stage = gridded(scenario).grid
    assert stage is not None
    assert stage.decode is not None
    output = [0.0, 0.0, 0.0]
    columns = scenario.columns
    for isl, osl in zip(columns.isl_tokens, columns.osl_tokens, strict=True):
        output[stage.decode.choose(int(isl), None, None, None)] += int(osl)
    pools = {pool.id: pool for pool in scenario.fleet.pools}
    replicas = [pools[name].max_replicas for name in stage.decode.pools]
    parts = [count / sum(replicas) for count in replicas]
    for got, part in zip(output, parts, strict=True):
        assert abs(got / sum(output) - part) < 0.1  # by whole prompts


def test_a_fleet_of_one_pool_a_stage_has_no_grid_to_compare_with() -> None:
    assert [case.ways for case in CASES[:2]] == [WAYS, WAYS]
    assert CASES[2].ways[-2:] == GRIDS
    assert len(grid_json(CASES[2].scenario(0.8, share=0.05))["prefill_pool_dynamo_namespaces"]) == 3
