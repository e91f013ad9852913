"""`weir explain` on a decision log, as a user meets it."""

import json
from pathlib import Path

import pytest

from globalplanner.adapters.jsonl import JsonlFile
from tests.unit.globalplanner.decisions import record
from weir import codec
from weir.cli import main


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A folder with the decisions 7.1 and 7.2."""
    file = JsonlFile(tmp_path / "decisions.jsonl")
    for number in (1, 2):
        file.append(codec.decision_json(record(number)) + b"\n")
    return tmp_path


def lines(log: Path, capsys: pytest.CaptureFixture[str], *subject: str) -> list[str]:
    assert main(["explain", *subject, "--log", str(log)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.splitlines()


def test_without_a_subject_it_lists_the_last_decisions(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [line.split()[0] for line in lines(log, capsys)] == ["decision", "7.2", "7.1"]


def test_a_decision_is_found_by_its_id(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lines(log, capsys, "7.1")[0] == "decision 7.1: acted on"
    assert lines(log, capsys, "decision/7.2")[0] == "decision 7.2: acted on"


def test_a_pool_comes_before_a_class(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = lines(log, capsys, "a")
    assert told[0] == "pool a, as of decision 7.2"
    assert "why         1 -> 2: offered 8 rps" in told
    assert lines(log, capsys, "chat")[0] == "class chat, as of decision 7.2"
    assert lines(log, capsys, "class/chat")[0] == "class chat, as of decision 7.2"


def test_json_is_one_line_with_the_record_as_the_log_has_it(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (line,) = lines(log, capsys, "7.1", "--json")
    found = json.loads(line)
    assert list(found) == ["kind", "subject", "lines", "decision"]
    assert (found["kind"], found["subject"]) == ("decision", "7.1")
    assert found["lines"][0] == "decision 7.1: acted on"
    assert found["decision"] == json.loads(codec.decision_json(record(1)))


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("z", ["no pool 'z'; there are a, b", "no class 'z'; there are chat"]),
        ("pool/chat", ["no pool 'chat'; there are a, b"]),
        ("7.9", ["no decision '7.9' is kept here; there are 7.2, 7.1"]),
    ],
)
def test_what_is_unknown_is_refused_with_what_is_known(
    log: Path, capsys: pytest.CaptureFixture[str], subject: str, said: list[str]
) -> None:
    assert main(["explain", subject, "--log", str(log)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    for line, text in zip(captured.err.splitlines(), said, strict=True):
        assert line.startswith("weir explain: ")
        assert line.endswith(text)


def test_a_log_that_is_not_there_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "--log", str(tmp_path / "none.jsonl")]) == 1
    assert "none.jsonl" in capsys.readouterr().err


def test_an_empty_log_holds_no_decision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "d.jsonl").touch()
    assert lines(tmp_path / "d.jsonl", capsys) == ["nothing has been decided yet"]
    assert main(["explain", "a", "--log", str(tmp_path / "d.jsonl")]) == 2


def test_without_a_planner_that_answers_it_fails(capsys: pytest.CaptureFixture[str]) -> None:
    nobody = ["--planner", "127.0.0.1:1", "--timeout", "0.5"]
    assert main(["explain", "a", *nobody]) == 1
    assert "no answer from the GlobalPlanner at 127.0.0.1:1" in capsys.readouterr().err
