"""The reference says everything the schema has, and its examples work."""

import re
from pathlib import Path

import pytest

from weir.fleet import check, load
from weir.fleet.shape import json_schema
from weir.workload import read_trace

REFERENCE = Path(__file__).parents[3] / "docs/reference"


def test_the_reference_names_every_key_of_the_schema() -> None:
    text = (REFERENCE / "fleet.md").read_text()
    words = set(re.findall(r"\w+", text))
    keys = {key for item in json_schema()["$defs"].values() for key in item.get("properties", ())}
    assert keys - words == set()


@pytest.mark.parametrize("section", ["RouterSettings", "PlannerSettings", "ProfileSpec"])
def test_the_reference_gives_the_defaults_of_the_schema(section: str) -> None:
    text = (REFERENCE / "fleet.md").read_text()
    for key, field in json_schema()["$defs"][section]["properties"].items():
        default = field.get("default")
        if isinstance(default, bool | int | float):
            shown = str(default).lower() if isinstance(default, bool) else f"{default:.15g}"
            assert f"| `{key}` | {shown} |" in text


def test_the_shortest_document_of_the_reference_works(tmp_path: Path) -> None:
    (document,) = re.findall(r"```yaml\n(.*?)```", (REFERENCE / "fleet.md").read_text(), re.DOTALL)
    path = tmp_path / "fleet.yaml"
    path.write_text(document)
    sets = ["spec.budget.gpus=6", "pools.prefill.max_replicas=4"]
    assert check(load(path, sets)) == []


def test_the_trace_of_the_reference_works(tmp_path: Path) -> None:
    text = (REFERENCE / "traces.md").read_text()
    path = tmp_path / "trace.csv"
    path.write_text(re.findall(r"```\n(timestamp_s.*?)```", text, re.DOTALL)[0])
    assert len(read_trace(path)) == 2
