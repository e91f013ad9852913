"""`--set path=value`: what it can name, and what it says when it cannot."""

from pathlib import Path

import pytest

from tests.unit.fleet.documents import MINIMAL, problems_of
from weir.fleet import load


def _load(folder: Path, *sets: str):
    path = folder / "fleet.yaml"
    path.write_text(MINIMAL)
    return load(path, sets)


@pytest.mark.parametrize(
    "override",
    [
        "spec.budget.gpus=6",
        "budget.gpus=6",
        "budget.gpus= 6",
        "[budget][gpus]=6",
        "budget={gpus: 6}",
    ],
)
def test_a_value_is_named_by_its_keys(tmp_path: Path, override: str) -> None:
    assert _load(tmp_path, override).fleet.budget.gpus == 6


@pytest.mark.parametrize("item", ["pools.d", "pools.1", "pools[1]", "pools[d]"])
def test_a_list_item_is_named_by_name_or_position(tmp_path: Path, item: str) -> None:
    fleet = _load(tmp_path, f"{item}.max_replicas=4").fleet
    assert [pool.max_replicas for pool in fleet.pools] == [8, 4]


def test_sections_that_the_document_leaves_out_can_be_set(tmp_path: Path) -> None:
    loaded = _load(tmp_path, "planner.interval_s=5", "router.queue_timeout_s=1.5")
    assert (loaded.planner.interval_s, loaded.router.queue_timeout_s) == (5, 1.5)


def test_the_last_override_of_a_path_wins(tmp_path: Path) -> None:
    assert _load(tmp_path, "budget.gpus=6", "budget.gpus=7").fleet.budget.gpus == 7


def test_a_name_with_dots_goes_in_brackets(tmp_path: Path) -> None:
    loaded = _load(
        tmp_path,
        "models=[{name: v1.5}]",
        "models[v1.5].aliases=[a]",
        "pools.p.model=v1.5",
        "pools.d.model=v1.5",
    )
    assert loaded.fleet.models[0].aliases == ("a",)


def test_an_empty_value_takes_the_key_away(tmp_path: Path) -> None:
    assert (
        _load(tmp_path, "pools.p.max_replicas=4", "pools.p.max_replicas=")
        .fleet.pools[0]
        .max_replicas
        == 8
    )


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("budget.gpu=6", "spec.budget has no 'gpu' (did you mean 'gpus'?)"),
        ("budget.gpus.max=6", "spec.budget.gpus is a single value, so it has no 'max'"),
        ("pools.x.weight=2", "spec.pools has no item 'x'"),
        ("pools.7.weight=2", "spec.pools has no item '7'"),
        ("profiles.fast.kv_tokens=2", "spec.profiles has no 'fast'"),
        ("spec=", "--set spec=: spec: is required"),
        ("nothing", "must be path=value"),
        ("=3", "the path is empty"),
        ("..=3", "the path must be keys joined by dots"),
        ("budget[=3", "the path must be keys joined by dots"),
        ("budget.gpus=[1", "not YAML"),
        ("budget.gpus=six", "spec.budget.gpus: must be a whole number, not 'six'"),
        ("budget.gpus={a: 1}", "spec.budget.gpus: must be a whole number"),
        ("kind=Fleets", "--set kind=Fleets: kind: must be 'Fleet', not 'Fleets'"),
    ],
)
def test_an_override_that_cannot_be_applied_is_named(
    tmp_path: Path, override: str, says: str
) -> None:
    problems = problems_of(tmp_path, MINIMAL, [override])
    assert len(problems) == 1
    assert problems[0].startswith("--set ")
    assert says in problems[0]


def test_all_bad_overrides_are_reported_together_with_the_file(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, f"{MINIMAL}  extra: 1\n", ["a=1", "b=2"])
    assert len(problems) == 3


def test_overriding_a_document_of_the_wrong_shape_is_an_error_not_a_crash(tmp_path: Path) -> None:
    for text in ("[1, 2]", "text", "spec: 3", "spec: {pools: 7}", "spec: [1]"):
        assert problems_of(tmp_path, text, ["pools.p.weight=2", "budget.gpus=1", "kind=x"])
