"""Whole runs of `weir up`: what the summary must show."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import FLEETS, Fleet
from weir.summary import RunSummary
from weir.workload import read_trace

Start = Callable[..., Fleet]

SPEED = 6.0


def checked(fleet: Fleet) -> dict[str, Any]:
    """The summary of a run that ended well, by its schema."""
    (line,) = "".join(fleet.out).splitlines()
    RunSummary.model_validate_json(line)
    summary: dict[str, Any] = json.loads(line)
    assert summary["failed"] == 0, fleet.said()
    assert summary["budget_violations"] == 0
    assert summary["peak_charged_gpus"] <= summary["budget_gpus"]
    assert sum(c["requests"] for c in summary["classes"].values()) == summary["requests"]
    return summary


@pytest.mark.timeout(300)
def test_the_demo_follows_its_traffic_up_and_down(fleet: Start) -> None:
    demo = fleet(
        "--fleet", str(FLEETS / "demo.yaml"), "--for", "40", "--speed", str(SPEED), "--json"
    )
    assert demo.wait(240.0) == 0, demo.said()
    summary = checked(demo)
    due = read_trace(FLEETS.parent / "traces/azure23_conv_head.csv.gz")
    assert summary["requests"] == sum(request.timestamp_s < 240.0 for request in due)
    assert summary["completed"] >= 0.95 * summary["requests"]
    assert summary["scale_ups"] >= 1
    assert summary["scale_downs"] >= 1
    assert summary["attainment"] > 0.5
    legs = {name: pool["requests"] for name, pool in summary["pools"].items()}
    assert sum(legs[name] for name in legs if "prefill" in name) >= summary["completed"]
    assert sum(legs[name] for name in legs if "decode" in name) >= summary["completed"]
    assert all(pool["replicas_final"] >= 1 for pool in summary["pools"].values())
    assert list(demo.temporary.iterdir()) == []


@pytest.mark.timeout(300)
def test_the_airlines_burst_takes_a_second_prefill_replica_and_gives_it_back(fleet: Start) -> None:
    arguments = ("--for", "40", "--speed", str(SPEED), "--json")
    airline = fleet("--fleet", str(FLEETS / "airline.yaml"), *arguments)
    assert airline.endpoint
    begun_s = time.monotonic()
    burst_s = burst_at_s(FLEETS.parent / "traces/airline_burst.csv")
    # How soon, and that two are enough, tests/simulation/test_airline.py shows in virtual time:
    # on a busy machine the engines are slower than their profile says, and everybody is late.
    airline.until(lambda: airline.serving_engines("prefill") >= 2, 60.0, "two prefill replicas")
    assert (time.monotonic() - begun_s) * SPEED > burst_s
    assert airline.wait(200.0) == 0, airline.said()
    summary = checked(airline)
    prefill, decode = summary["pools"]["prefill"], summary["pools"]["decode"]
    assert prefill["replicas_max"] >= 2
    assert (prefill["replicas_final"], decode["replicas_final"]) == (1, 1)
    burst = next(span for span in summary["timeline"] if span["start_s"] == burst_s // 60 * 60)
    assert burst["requests"] >= 200
    assert burst["attainment"] is not None


def burst_at_s(trace: Path) -> float:
    """When at least a hundred requests arrive within a second."""
    times_s = [request.timestamp_s for request in read_trace(trace)]
    return next(
        start_s
        for start_s in times_s
        if sum(start_s <= time_s < start_s + 1.0 for time_s in times_s) >= 100
    )


def test_a_short_trace_ends_early_and_the_run_goes_on_until_its_time(
    fleet: Start, tmp_path: Path
) -> None:
    trace = tmp_path / "short.csv"
    trace.write_text("timestamp_s,isl,osl\n0,100,10\n1,100,10\n2,1,1\n")
    run = fleet(
        *("--fleet", str(FLEETS / "agg.yaml"), "--trace", str(trace)),
        *("--for", "5", "--speed", "20", "--json"),
    )
    assert run.endpoint
    seen_s = time.monotonic()  # a little after it was announced
    assert run.wait(60.0) == 0, run.said()
    assert time.monotonic() - seen_s >= 2.0
    summary = checked(run)
    assert (summary["requests"], summary["completed"]) == (3, 3)
    assert summary["attainment"] == 1.0


def test_for_people_the_summary_is_text_and_progress_goes_to_stderr(
    fleet: Start, tmp_path: Path
) -> None:
    trace = tmp_path / "short.csv"
    trace.write_text("timestamp_s,isl,osl\n0,100,10\n")
    run = fleet(
        *("--fleet", str(FLEETS / "agg.yaml"), "--trace", str(trace)),
        *("--for", "1", "--speed", "20"),
    )
    assert run.wait(60.0) == 0, run.said()
    out, err = "".join(run.out), "".join(run.err)
    assert "serving at http://127.0.0.1:" in out
    assert "requests    1: 1 completed" in out
    assert "1 sent, 1 completed" in err
    assert "Traceback" not in err
