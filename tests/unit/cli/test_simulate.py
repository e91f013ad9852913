"""`weir simulate` as a user meets it."""

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.simulator.worlds import DOCUMENT, Scripted
from weir.cli import main, simulate_options
from weir.simulator import policies
from weir.simulator.summary import SimulationSummary, without_costs
from weir.simulator.world import World

TRACE = "poisson:rate=2,isl=300,osl=40,for=60"
COSTS = ("wall_s", "cpu_s", "requests_per_cpu_s")
Output = pytest.CaptureFixture[str]


@pytest.fixture
def fleet(tmp_path: Path) -> str:
    path = tmp_path / "fleet.yaml"
    path.write_text(DOCUMENT)
    return str(path)


def simulate(fleet: str, *arguments: str, policy: str | None = "static:2") -> int:
    chosen = [] if policy is None else ["--policy", policy]
    return main(["simulate", fleet, "--trace", TRACE, *chosen, *arguments])


def printed(capsys: Output) -> dict[str, Any]:
    captured = capsys.readouterr()
    assert captured.err == ""
    result: dict[str, Any] = json.loads(captured.out)
    return result


def test_json_is_one_summary_and_nothing_else(fleet: str, capsys: Output) -> None:
    assert simulate(fleet, "--json", "--seed", "3") == 0
    summary = SimulationSummary.model_validate(printed(capsys))
    assert (summary.fleet, summary.policy, summary.seed) == ("small", "static:2", 3)
    assert summary.requests > 80
    assert summary.cpu_s > 0.0


def test_one_seed_prints_the_same_bytes_but_for_costs(fleet: str, capsys: Output) -> None:
    runs = []
    for seed in ("1", "1", "2"):
        assert simulate(fleet, "--json", "--seed", seed) == 0
        summary = SimulationSummary.model_validate(printed(capsys))
        runs.append(without_costs(summary).model_dump_json())
    assert runs[0] == runs[1] != runs[2]


def test_another_process_prints_the_same_bytes_whatever_its_hashes(
    tmp_path: Path, fleet: str
) -> None:
    printed = []
    for hash_seed in ("1", "2"):
        events = tmp_path / f"{hash_seed}.jsonl"
        done = subprocess.run(
            [sys.executable, "-m", "weir", "simulate", fleet, "--trace", TRACE, "--faults", "all",
             "--json", "--events", str(events)],
            capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )  # fmt: skip
        assert done.stderr == ""
        summary = SimulationSummary.model_validate_json(done.stdout)
        printed.append((without_costs(summary).model_dump_json(), events.read_bytes()))
    assert printed[0] == printed[1]


def test_the_text_is_for_people(fleet: str, capsys: Output) -> None:
    assert simulate(fleet) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.startswith("simulated   small under static:2, seed 0, ")


def test_the_window_and_the_warm_up_are_what_is_counted(fleet: str, capsys: Output) -> None:
    window = ("--from", "10", "--to", "40", "--warmup", "10")
    assert simulate(fleet, "--json", "--set", "budget.gpus=7", *window) == 0
    summary = printed(capsys)
    assert [summary[key] for key in ("from_s", "to_s", "warmup_s")] == [10.0, 40.0, 10.0]
    assert summary["gpu_hours"] == pytest.approx(6 * 20 / 3600)
    assert summary["uncounted"] > 0
    assert summary["budget_gpus"] == 7


def test_the_fleets_own_trace_and_rate_are_the_defaults(
    tmp_path: Path, fleet: str, capsys: Output
) -> None:
    rows = "\n".join(f"{at},300,40" for at in range(40))
    (tmp_path / "own.csv").write_text(f"timestamp_s,isl,osl\n{rows}\n")
    document = f"{DOCUMENT}  workload: {{trace: own.csv, rate_scale: 2}}\n"
    Path(fleet).write_text(document)
    assert main(["simulate", fleet, "--policy", "static:2", "--json"]) == 0
    assert printed(capsys)["requests"] == 80
    assert main(["simulate", fleet, "--policy", "static:2", "--json", "--rate-scale", "3"]) == 0
    assert printed(capsys)["requests"] == 120


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policy", "nope"], "there is no policy 'nope'; there are weir, "),
        (["--policy", "static:x"], "static:x"),
        (["--compare", "hpa,nope"], "there is no policy 'nope'"),
        (["--compare", ","], "--compare needs policies"),
        (["--faults", "loss,nope"], "there is no fault 'nope'; there are loss, "),
        (["--from", "30", "--to", "30"], "--from 30 is not before --to 30"),
        (["--from", "500"], "--from 500 is not before --to 6"),
        (["--warmup", "100"], "--warmup 100 leaves nothing of the "),
        (["--from", "300", "--to", "400"], "no request from 300 s to 400 s at rate scale 1"),
        (["--rate-scale", "1e-9"], "no request from "),
        (["--tenant-from", "class"], "has no column 'class'"),
        (["--trace", "poisson:rate=2"], "poisson:rate=2: for must be given"),
        (["--trace", "nowhere.csv"], "nowhere.csv:1: cannot be read: No such file"),
        (["--set", "nothing=1"], "spec has no 'nothing'"),
        (["--events", "/nowhere/e.jsonl"], "--events /nowhere/e.jsonl: cannot be written: No such"),
        (["--report", "/"], "--report /: cannot be written: Is a directory"),
        (["--events", "x", "--report", "x"], "--events and --report cannot both be x"),
        (["--seeds", "0..3", "--events", "x"], "--events is of one run; leave --seeds out"),
        (["--compare", "hpa", "--report", "x"], "--report is of one run; leave --compare out"),
        (["--compare", "hpa", "--seeds", "0..3"], "--compare is of one seed"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_one_line_and_exit_code_2(
    fleet: str, capsys: Output, arguments: list[str], message: str
) -> None:
    assert simulate(fleet, *arguments, policy=None) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("weir simulate: ")
    assert message in line


@pytest.mark.parametrize(
    "arguments",
    [
        ["--seeds", "3..1"],
        ["--seeds", "many"],
        ["--seed", "1", "--seeds", "1..2"],
        ["--policy", "hpa", "--compare", "hpa"],
        ["--from", "-1"],
        ["--warmup", "inf"],
        ["--rate-scale", "0"],
        ["--rate-scale", "nan"],
        ["--seed", "x"],
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(
    fleet: str, capsys: Output, arguments: list[str]
) -> None:
    assert simulate(fleet, *arguments, policy=None) == 2
    assert "usage: weir simulate" in capsys.readouterr().err


def test_a_fleet_without_a_trace_needs_one(fleet: str, capsys: Output) -> None:
    assert main(["simulate", fleet, "--policy", "static:2"]) == 2
    assert "the fleet names no trace; give one with --trace" in capsys.readouterr().err


def test_compare_gives_what_each_policy_gives_alone(fleet: str, capsys: Output) -> None:
    assert simulate(fleet, "--compare", "static:2,static:1", "--json", policy=None) == 0
    compared = printed(capsys)["policies"]
    assert list(compared) == ["static:2", "static:1"]
    for policy, summary in compared.items():
        assert simulate(fleet, "--json", policy=policy) == 0
        alone = printed(capsys)
        same = alone.keys() - set(COSTS)
        assert {key: alone[key] for key in same} == {key: summary[key] for key in same}


def test_compare_is_one_table(fleet: str, capsys: Output) -> None:
    assert simulate(fleet, "--compare", "static:2,static:1", policy=None) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split()[0] == "policy"
    assert [line.split()[0] for line in lines] == ["static:2", "static:1"]


def test_seeds_that_hold_say_how_much_was_looked_at(fleet: str, capsys: Output) -> None:
    assert simulate(fleet, "--seeds", "5..7", "--json") == 0
    result = printed(capsys)
    assert (result["held"], result["failure"]) == (3, None)
    assert result["checks"] > result["events"] > result["requests"] > 240
    assert simulate(fleet, "--seeds", "5") == 0
    assert capsys.readouterr().out.startswith("1 seeds held: ")


def break_at(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    def act(world: World) -> None:
        if world.scenario.seed == seed:
            world.invariants.found("B5", "a call is lost")

    monkeypatch.setattr(policies, "make", lambda name: Scripted((5.0, act)))


def test_the_first_failing_seed_comes_with_the_command_that_replays_it(
    fleet: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_at(monkeypatch, 4)
    given = ["--warmup", "2.5", "--set", "budget.gpus=7", "--rate-scale", "2"]
    assert simulate(fleet, "--seeds", "2..9", "--faults", "loss", *given) == 1
    *said, command = capsys.readouterr().out.splitlines()
    assert said[:2] == ["seed 4 fails:", "B5 at 5.000 s: a call is lost"]
    words = shlex.split(command)
    assert words[:2] == ["weir", "simulate"]
    parser = argparse.ArgumentParser()
    simulate_options.configure(parser)
    replayed = vars(parser.parse_args(words[2:]))
    assert replayed["seed"] == 4
    assert replayed["seeds"] is None
    original = parser.parse_args([fleet, "--trace", TRACE, "--policy", "static:2", *given])
    assert replayed == {**vars(original), "seed": 4, "faults": "loss"}
    assert main(words[1:]) == 1


def test_a_failing_seed_as_json(
    fleet: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_at(monkeypatch, 1)
    assert simulate(fleet, "--seeds", "0..9", "--json") == 1
    failure = printed(capsys)["failure"]
    assert (failure["seed"], failure["problems"]) == (1, ["B5 at 5.000 s: a call is lost"])
    assert failure["replay"].endswith("--policy static:2 --seed 1")


def test_a_violation_is_exit_code_1(
    fleet: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_at(monkeypatch, 0)
    assert simulate(fleet) == 1
    assert "1 VIOLATIONS" in capsys.readouterr().out


def test_events_are_lines_in_order_of_time_and_the_same_for_a_seed(
    tmp_path: Path, fleet: str, capsys: Output
) -> None:
    files = [tmp_path / name for name in ("a.jsonl", "b.jsonl")]
    for file in files:
        assert simulate(fleet, "--events", str(file), policy="hpa") == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    events = [json.loads(line) for line in files[0].read_text().splitlines()]
    times = [event["at_s"] for event in events]
    assert times == sorted(times)
    kinds = {event["event"] for event in events}
    assert kinds >= {"replica", "end"}
    ends = [event for event in events if event["event"] == "end"]
    assert {event["outcome"] for event in ends} == {"completed"}


def test_the_report_is_written_and_the_summary_is_still_printed(
    tmp_path: Path, fleet: str, capsys: Output
) -> None:
    pytest.importorskip("plotly")
    file = tmp_path / "report.html"
    assert simulate(fleet, "--report", str(file), "--json") == 0
    assert printed(capsys)["policy"] == "static:2"
    page = file.read_text()
    assert page.startswith("<!doctype html>")
    assert "Demand by class" in page


def test_without_plotly_a_report_says_what_to_install(
    tmp_path: Path, fleet: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    assert simulate(fleet, "--report", str(tmp_path / "report.html")) == 2
    assert "pip install 'weir[report]'" in capsys.readouterr().err
