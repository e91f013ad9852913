"""Whatever the bytes are, reading a Fleet document ends in a fleet or in a FleetError."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.unit.fleet.documents import MINIMAL
from weir.domain.errors import FleetError
from weir.fleet import check, load

QUICK = settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
DEMO = (Path(__file__).parents[2] / "examples/fleets/contended.yaml").read_text()

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([10**400, -(10**30), 1e308, "prefill", "agg", "demo-model", "none"])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=6) | st.sampled_from(["name", "kind", "spec"]), inner)
    ),
    max_leaves=6,
)


def _load(folder: Path, data: bytes, sets: list[str]) -> None:
    """Load and check; only FleetError may come out, with places and no empty lines."""
    path = folder / "fleet.yaml"
    path.write_bytes(data)
    try:
        check(load(path, sets))
    except FleetError as error:
        assert error.problems
        assert all(problem.strip() for problem in error.problems)
        assert all("Traceback" not in problem for problem in error.problems)


@QUICK
@given(st.binary(max_size=200))
def test_any_bytes(tmp_path: Path, data: bytes) -> None:
    _load(tmp_path, data, [])


@QUICK
@given(st.text(alphabet=" \n:-[]{}&*!|>'\"#%@,?<ab1.0~=\t", max_size=60))
@example("&a a: *a")
@example("? ")
@example("- - -")
@example("!!set {a}")
@example("!<x> y")
@example("%YAML 9.9\n--- a")
@example("=")
@example("a: !!binary x")
@example("<<: [{a: 1}, 2]")
def test_any_text_made_of_yaml(tmp_path: Path, text: str) -> None:
    _load(tmp_path, text.encode(), [])


@QUICK
@given(values)
def test_any_yaml_value(tmp_path: Path, value: Any) -> None:
    _load(tmp_path, yaml.safe_dump(value).encode(), [])


def _paths(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(data, dict):
        return [path, *(p for key, value in data.items() for p in _paths(value, (*path, key)))]
    if isinstance(data, list):
        return [path, *(p for i, value in enumerate(data) for p in _paths(value, (*path, i)))]
    return [path]


@QUICK
@given(st.data())
def test_any_value_in_any_place_of_a_good_document(tmp_path: Path, data: st.DataObject) -> None:
    document = yaml.safe_load(DEMO)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from([p for p in _paths(document) if p]))
        target = document
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = data.draw(values)
    _load(tmp_path, yaml.safe_dump(document).encode(), [])


@QUICK
@given(
    st.lists(
        st.builds(
            "{}={}".format,
            st.text(alphabet="abspec.[]0-_ ", max_size=12)
            | st.sampled_from(
                ["spec", "kind", "pools", "pools.p", "pools.0.name", "budget.gpus", "classes"]
            ),
            st.text(max_size=12) | st.sampled_from(["1", "[]", "{}", "null", "[{name: x}]"]),
        )
        | st.text(max_size=12),
        max_size=3,
    )
)
@example(["pools=[1]", "pools.0.name=x"])
@example(["spec=[]", "budget.gpus=1"])
def test_any_overrides(tmp_path: Path, sets: list[str]) -> None:
    _load(tmp_path, MINIMAL.encode(), sets)


@pytest.mark.parametrize("value", ["9" * 5000, "-" + "9" * 4000, "0x" + "f" * 5000, "1e999"])
def test_huge_numbers_are_refused_not_chewed(tmp_path: Path, value: str) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(MINIMAL.replace("gpus: 8", f"gpus: {value}"))
    with pytest.raises(FleetError, match=r"line 6: "):
        load(path)
