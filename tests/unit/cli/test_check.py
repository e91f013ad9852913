"""`weir check` and `weir schema` as a user meets them."""

import json
from pathlib import Path

import pytest

from tests.unit.fleet.documents import MINIMAL
from weir.cli import main
from weir.cli.schema import text

ROOT = Path(__file__).parents[3]


@pytest.fixture
def fleet_file(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text(MINIMAL)
    return path


@pytest.mark.parametrize("path", sorted((ROOT / "examples/fleets").glob("*.yaml")), ids=str)
def test_every_example_passes_without_a_warning(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(path)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert f"fleet {path.stem} can be used" in captured.out


def test_every_error_is_a_line_on_stderr(
    fleet_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet_file.write_text(MINIMAL.replace("budget:", "budgt:"))
    assert main(["check", str(fleet_file), "--set", "nothing=1"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        f"weir check: {fleet_file}: line 4: spec.budget: is required",
        f"weir check: {fleet_file}: line 6: spec.budgt: unknown key (did you mean 'budget'?)",
        f"weir check: {fleet_file}: --set nothing=1: spec has no 'nothing' (known: models, "
        "classes, budget, nodeGroups, profiles, pools, router, planner, dynamo, workload, "
        "simulation)",
    ]


def test_a_warning_does_not_change_the_exit_code(
    fleet_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(fleet_file), "--set", "pools.p.max_replicas=99"]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith(f"weir check: {fleet_file}: warning: --set pools.p.max_replicas")
    assert "fleet test can be used" in captured.out


def test_json_holds_the_findings_with_level_line_and_path(
    fleet_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(fleet_file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "file": str(fleet_file),
        "ok": True,
        "fleet": "test",
        "findings": [],
    }
    fleet_file.write_text(MINIMAL.replace("role: decode", "role: decoder"))
    assert main(["check", str(fleet_file), "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.err == ""
    answer = json.loads(captured.out)
    assert (answer["ok"], answer["fleet"]) == (False, None)
    assert answer["findings"] == [
        {
            "level": "error",
            "line": 9,
            "place": "line 9",
            "path": "spec.pools.d.role",
            "message": "must be 'prefill', 'decode' or 'agg', not 'decoder'",
        }
    ]


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_is_not_there_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["check", str(tmp_path / name)]) == 2
    assert capsys.readouterr().err.startswith("weir check: ")


def test_the_schema_is_json_and_the_committed_one_is_current(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["schema"]) == 0
    printed = capsys.readouterr().out
    assert printed == text()
    assert json.loads(printed)["properties"].keys() == {"apiVersion", "kind", "metadata", "spec"}
    committed = (ROOT / "docs/reference/fleet.schema.json").read_text()
    assert committed == printed, "run: weir schema > docs/reference/fleet.schema.json"


def test_every_field_of_the_schema_says_what_it_is() -> None:
    schema = json.loads(text())
    undocumented = [
        f"{name}.{key}"
        for name, section in schema["$defs"].items()
        for key, field in section.get("properties", {}).items()
        if "description" not in field
    ]
    assert undocumented == []
