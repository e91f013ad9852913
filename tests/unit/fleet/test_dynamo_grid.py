"""The pool tables of a Dynamo GlobalRouter: what is read, refused, and doubted."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.router.builders import fleet, pool
from weir.domain.dynamo import DynamoDeployment
from weir.domain.errors import FleetError
from weir.domain.fleet import Role
from weir.domain.grid import Axis, Override
from weir.domain.ids import ModelName, PoolId
from weir.fleet.dynamo_grid_file import GridFile, parse_grid, read_grid
from weir.fleet.dynamo_grid_pools import left_out, pools_of


def _disagg(**changes: Any) -> dict[str, Any]:
    """Two pools of each stage: short prompts and tight targets go to the first."""
    return {
        "num_prefill_pools": 2,
        "num_decode_pools": 2,
        "prefill_pool_dynamo_namespaces": ["p0", "p1"],
        "decode_pool_dynamo_namespaces": ["d0", "d1"],
        "prefill_pool_selection_strategy": _prefill(),
        "decode_pool_selection_strategy": {
            "itl_min_ms": 10, "itl_max_ms": 50, "itl_resolution": 2,
            "context_length_min": 0, "context_length_max": 8000, "context_length_resolution": 2,
            "decode_pool_mapping": [[0, 1], [0, 0]],
        },
    } | changes  # fmt: skip


def _prefill(**changes: Any) -> dict[str, Any]:
    return {
        "ttft_min_ms": 100, "ttft_max_ms": 900, "ttft_resolution": 2,
        "isl_min": 0, "isl_max": 8000, "isl_resolution": 2,
        "prefill_pool_mapping": [[0, 1], [1, 0]],
    } | changes  # fmt: skip


def _agg(**changes: Any) -> dict[str, Any]:
    return {
        "mode": "agg",
        "num_agg_pools": 2,
        "agg_pool_dynamo_namespaces": ["a0", "a1"],
        "agg_pool_selection_strategy": {
            "ttft_min_ms": 100, "ttft_max_ms": 900, "ttft_resolution": 2,
            "itl_min_ms": 10, "itl_max_ms": 50, "itl_resolution": 2,
            "agg_pool_mapping": [[0, 0], [0, 1]],
        } | changes,
    }  # fmt: skip


def _read(document: dict[str, Any]) -> GridFile:
    return parse_grid(json.dumps(document, indent=2), source="grid.json")


def _problems(document: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(FleetError) as error:
        _read(document)
    return error.value.problems


def _pool_of(name: str, role: Role) -> PoolId:
    return PoolId(f"{role}/{name}")


def test_a_file_of_two_stages() -> None:
    file = _read(_disagg())
    grid = file.grid(_pool_of, None, None)
    head, decode = grid.head, grid.decode
    assert head.pools == ("prefill/p0", "prefill/p1")
    assert head.isl_tokens == Axis(low=0, high=8000, buckets=2, usual=4000)
    assert head.ttft_ms == Axis(low=100, high=900, buckets=2, usual=500)
    assert (head.itl_ms, head.cells, head.ranks) == (None, (0, 1, 1, 0), (0, 1))
    assert decode is not None
    assert decode.isl_tokens == Axis(low=0, high=8000, buckets=2, usual=4000)
    assert decode.itl_ms == Axis(low=10, high=50, buckets=2, usual=30)
    assert (decode.ttft_ms, decode.cells) == (None, (0, 1, 0, 0))
    assert (grid.retries, file.notes) == (False, ())


def test_a_prompt_and_a_target_find_their_cell() -> None:
    # Steps are 4,000 tokens and 400 ms; the second bucket begins at 4,000 tokens and at 500 ms.
    head = _read(_disagg()).grid(_pool_of, None, None).head
    chosen = [head.choose(isl, ttft, None, None) for isl in (3999, 4000) for ttft in (499, 500)]
    assert chosen == [0, 1, 1, 0]
    assert head.choose(64_000, 9e9, None, None) == head.choose(7999, 899, None, None) == 0
    assert head.choose(3999, None, None, None) == 1  # the middle is 500 ms


def test_a_default_target_counts_instead_of_the_middle() -> None:
    grid = _read(_disagg()).grid(_pool_of, 200.0, 45.0)
    assert grid.decode is not None
    assert grid.head.choose(1, None, None, None) == 0
    assert grid.decode.choose(1, None, None, None) == 1
    assert grid.decode.choose(1, None, 0.0, None) == 0  # 0 is a target


def test_a_file_of_one_stage_goes_by_prompts_only_if_it_says_so() -> None:
    plain = _read(_agg()).grid(_pool_of, None, None)
    assert (plain.decode, plain.head.isl_tokens, plain.head.cells) == (None, None, (0, 0, 0, 1))
    isl = {"isl_min": 0, "isl_max": 100, "isl_resolution": 2}
    mapping = [[[0, 0], [0, 0]], [[1, 1], [1, 0]]]
    head = _read(_agg(**isl, agg_pool_mapping=mapping)).grid(_pool_of, None, None).head
    assert head.cells == (0, 0, 0, 0, 1, 1, 1, 0)
    assert [head.choose(isl, 900, 50, None) for isl in (49, 50)] == [0, 0]
    assert [head.choose(isl, 100, 10, None) for isl in (49, 50)] == [0, 1]


def test_the_first_override_that_holds_goes_before_the_cell() -> None:
    rules = [
        {"min_priority": 5, "max_priority": 9, "target_pool": 1},
        {"min_priority": 9, "max_priority": 20, "target_pool": 0},
    ]
    file = _read(_disagg(prefill_pool_selection_strategy=_prefill(priority_overrides=rules)))
    head = file.grid(_pool_of, None, None).head
    assert head.overrides[0] == Override(low=5, high=9, pool=1)
    chosen = [head.choose(1, 100, None, priority) for priority in (None, 4, 5, 9, 10, 20, 21)]
    assert chosen == [0, 0, 1, 1, 0, 0, 0]


def test_faster_pools_are_tried_one_class_after_the_other() -> None:
    ranks = {"num_prefill_pools": 5, "prefill_pool_priorities": [0, 3, 1, 3, 1]}
    names = {"prefill_pool_dynamo_namespaces": ["a", "b", "c", "d", "e"]}
    for retry, expected in ((True, ("b", "c", "e", "a")), (False, ("b",))):
        file = _read(_disagg(**ranks, **names, enable_priority_retry=retry))
        grid = file.grid(lambda name, role: PoolId(name), None, None)
        assert grid.order(grid.head, 1) == expected
        assert grid.order(grid.head, 0) == ("a",)


def test_names_of_earlier_releases_count() -> None:
    old = {"ttft_min": 100, "ttft_max": 900}
    plan = {key: value for key, value in _prefill().items() if not key.endswith("_ms")} | old
    grid = _read(_disagg(prefill_pool_selection_strategy=plan)).grid(_pool_of, None, None)
    assert grid == _read(_disagg()).grid(_pool_of, None, None)
    both = _problems(_disagg(prefill_pool_selection_strategy=_prefill(ttft_min=100)))
    assert "is another name of ttft_min_ms, which is given as well" in both[0]


def test_null_is_left_out_and_tabs_are_space(tmp_path: Path) -> None:
    document = _disagg(prefill_pool_priorities=None, mode=None, enable_priority_retry=None)
    path = tmp_path / "grid.json"
    path.write_text(json.dumps(document, indent="\t"))
    grid = read_grid(path).grid(_pool_of, None, None)
    assert grid == _read(_disagg()).grid(_pool_of, None, None)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"mode": "both"}, "mode: must be 'disagg' or 'agg', not 'both'"),
        ({"mode": ["agg"]}, "mode: must be 'disagg' or 'agg', not ['agg']"),
        ({"mode": "agg"}, "num_agg_pools: is required"),
        (_disagg(num_decode_pools=0), "num_decode_pools: must be at least 1, not 0"),
        (_disagg(num_prefill_pools=3), "prefill_pool_dynamo_namespaces: has 2 item(s), "
         "num_prefill_pools is 3: one for each pool"),
        (_disagg(decode_pool_priorities=[1]), "decode_pool_priorities: has 1 item(s), "
         "num_decode_pools is 2: one for each pool"),
        (_disagg(decode_pool_priorities=[True, 1]),
         "decode_pool_priorities.0: must be a whole number, not True"),
        (_disagg(enable_priority_retry=1), "enable_priority_retry: must be true or false, not 1"),
        (_disagg(decode_pool_dynamo_namespaces=["d0", "p1"]),
         "decode_pool_dynamo_namespaces.1: 'p1' is a prefill pool already"),
        (_disagg(prefill_pool_selection_strategy=_prefill(isl_resolution=0)),
         "prefill_pool_selection_strategy.isl_resolution: must be at least 1, not 0"),
        (_disagg(prefill_pool_selection_strategy=_prefill(isl_max=0)),
         "prefill_pool_selection_strategy: isl_max must be above isl_min; they are 0 and 0"),
        (_disagg(prefill_pool_selection_strategy=_prefill(ttft_max_ms="900")),
         "prefill_pool_selection_strategy.ttft_max_ms: must be a number, not '900'"),
        (_disagg(prefill_pool_selection_strategy=_prefill(prefill_pool_mapping=[[0, 1]])),
         "prefill_pool_selection_strategy.prefill_pool_mapping: must be a list of 2, "
         "as isl_resolution says, and has 1"),
        (_disagg(prefill_pool_selection_strategy=_prefill(prefill_pool_mapping=[[0, 1], [0]])),
         "prefill_pool_selection_strategy.prefill_pool_mapping.1: must be a list of 2, "
         "as ttft_resolution says, and has 1"),
        (_disagg(prefill_pool_selection_strategy=_prefill(prefill_pool_mapping=[[0, 2], [0, 1]])),
         "prefill_pool_selection_strategy.prefill_pool_mapping.0.1: must be the number of a pool, "
         "0 to 1 by num_prefill_pools, not 2"),
        (_disagg(prefill_pool_selection_strategy=_prefill(
            priority_overrides=[{"min_priority": 2, "max_priority": 1, "target_pool": 5}])),
         "prefill_pool_selection_strategy.priority_overrides.0.min_priority: is 2, "
         "above max_priority, 1"),
        (_disagg(prefill_pool_selection_strategy=_prefill(
            priority_overrides=[{"min_priority": 1, "max_priority": 2, "target_pool": 5}])),
         "prefill_pool_selection_strategy.priority_overrides.0.target_pool: must be the number of "
         "a pool, 0 to 1 by num_prefill_pools, not 5"),
        (_agg(isl_min=0), "agg_pool_selection_strategy: isl_max and isl_resolution: required with "
         "the other keys of isl"),
    ],
)  # fmt: skip
def test_what_dynamo_refuses_is_refused_with_what_to_mend(
    document: dict[str, Any], problem: str
) -> None:
    problems = _problems(document)
    assert any(problem in each for each in problems), problems


@pytest.mark.parametrize("text", ["", "[]", "{", '{"mode": "agg", "mode": "agg"}'])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(FleetError, match=r"grid\.json: "):
        parse_grid(text, source="grid.json")


@pytest.mark.parametrize(
    ("document", "note"),
    [
        (_disagg(pools=2), "pools: no key of a GlobalRouter here; not read"),
        (_disagg(num_agg_pools=2), "num_agg_pools: no key of a GlobalRouter here; not read"),
        (_disagg(prefill_pool_selection_strategy=_prefill(priority_override=[])),
         "prefill_pool_selection_strategy.priority_override (did you mean 'priority_overrides'?): "
         "no key of a GlobalRouter here; not read"),
        (_disagg(prefill_pool_dynamo_namespaces=["p", "p"]),
         "prefill_pool_dynamo_namespaces: 0 and 1 are one pool, p"),
        (_disagg(num_prefill_pools=3, prefill_pool_dynamo_namespaces=["p0", "p1", "p2"]),
         "prefill_pool_mapping: nothing goes to pool 2, p2"),
        (_disagg(prefill_pool_selection_strategy=_prefill(prefill_pool_mapping=[[0, 1], [0, 1]])),
         "prefill_pool_mapping: all buckets of isl are alike, so it decides nothing"),
        (_disagg(prefill_pool_selection_strategy=_prefill(prefill_pool_mapping=[[0, 0], [1, 1]])),
         "prefill_pool_mapping: all buckets of ttft are alike, so it decides nothing"),
        (_disagg(prefill_pool_selection_strategy=_prefill(priority_overrides=[
            {"min_priority": 0, "max_priority": 9, "target_pool": 0},
            {"min_priority": 1, "max_priority": 2, "target_pool": 1}])),
         "priority_overrides.1 of prefill_pool_selection_strategy: an earlier one comes first"),
    ],
)  # fmt: skip
def test_what_can_hardly_be_meant_is_noted(document: dict[str, Any], note: str) -> None:
    assert _read(document).notes == (note,)


def test_a_pool_for_retries_alone_is_meant() -> None:
    """The fastest pool is one that others fall back to."""
    plan = _prefill(prefill_pool_mapping=[[1, 2], [2, 1]])
    names = {"num_prefill_pools": 3, "prefill_pool_dynamo_namespaces": ["p0", "p1", "p2"]}
    document = _disagg(**names, prefill_pool_selection_strategy=plan)
    assert len(_read(document).notes) == 1
    assert _read(document | {"enable_priority_retry": True}).notes == ()


def test_pools_of_a_fleet_are_found_by_name_or_by_dynamo_namespace() -> None:
    dynamo = DynamoDeployment(k8s_namespace="k", name="x", caller_namespace="d1")
    pools = [pool("p0", Role.PREFILL), pool("p1", Role.PREFILL), pool("d0", Role.DECODE)]
    pools += [pool("slow", Role.DECODE, dynamo=dynamo), pool("spare", Role.DECODE)]
    found = pools_of(_read(_disagg()), fleet(pools))
    assert found[("d1", Role.DECODE)] == "slow"
    assert len(found) == 4
    assert left_out(found, fleet(pools)) == ("spare",)


def test_pools_that_a_fleet_does_not_have_are_named() -> None:
    pools = [pool("p0", Role.PREFILL), pool("p1", Role.AGG), pool("d0", Role.DECODE)]
    with pytest.raises(FleetError) as error:
        pools_of(_read(_disagg()), fleet([*pools, pool("d1", Role.DECODE)]))
    assert error.value.problems == (
        "'p1' is no prefill pool of the fleet: name one so, or give it dynamo.callerNamespace p1 "
        "(its prefill pools: p0)",
    )


def test_a_grid_is_for_one_model() -> None:
    pools = [pool("p0", Role.PREFILL), pool("p1", Role.PREFILL), pool("d0", Role.DECODE)]
    other = pool("d1", Role.DECODE, model=ModelName("other"))
    with pytest.raises(FleetError, match="its pools serve other and tiny: one grid, one model"):
        pools_of(_read(_disagg()), fleet([*pools, other]))
