"""However `weir up` ends, no process and no file is left, and the next one just works."""

import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import FLEETS, STOPS_WITHIN_S, Fleet
from weir.local.ports import Ports

Start = Callable[..., Fleet]

AGG = ("--fleet", str(FLEETS / "agg.yaml"), "--speed", "10", "--set", "pools.agg.start_up_s=1")


def living(family: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def answered(run: Fleet) -> bool:
    """Whether the router counts a request that has ended."""
    counted = re.findall(r"^weir_router_requests_total\{.*\} (\S+)$", run.get("/metrics")[1], re.M)
    return sum(map(float, counted)) > 0.0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_within_ten_seconds(
    fleet: Start, tmp_path: Path, number: signal.Signals
) -> None:
    run = fleet(*AGG, "--json", "--trace", str(FLEETS.parent / "traces/azure23_conv_head.csv.gz"))
    assert run.endpoint
    run.until(lambda: answered(run), 30.0, "a request of the trace is answered")
    family = run.children()
    assert len(family) >= 5
    asked_s = time.monotonic()
    assert run.stop(number) == 0, run.said()
    assert time.monotonic() - asked_s < STOPS_WITHIN_S
    assert living(family) == []
    assert list(tmp_path.iterdir()) == []
    summary = run.summary()
    ended = ("completed", "failed", "shed", "cancelled")
    assert summary["requests"] == sum(summary[name] for name in ended)
    assert summary["requests"] > 0


def test_stopping_while_starting_is_clean_too(fleet: Start, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it would be ignored
    run = fleet(*AGG, "--no-replay")
    signal.signal(signal.SIGHUP, before)
    run.until(lambda: len(run.children()) >= 3, 60.0, "children appear")
    family = run.children()
    assert run.stop(signal.SIGHUP) == 0, run.said()
    assert living(family) == []
    assert list(tmp_path.iterdir()) == []


def test_nothing_survives_a_killed_weir_up_and_the_next_one_just_works(
    fleet: Start, tmp_path: Path
) -> None:
    port = str(Ports().take())
    run = fleet(*AGG, "--no-replay", "--port", port)
    assert run.endpoint == f"127.0.0.1:{port}"
    family = run.children()
    run.process.kill()
    run.process.wait()
    deadline_s = time.monotonic() + 30.0
    while living(family) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert living(family) == []
    again = fleet(*AGG, "--no-replay", "--port", port)
    assert again.endpoint == f"127.0.0.1:{port}"
    assert len(list(tmp_path.iterdir())) == 1
    assert again.stop() == 0
    assert list(tmp_path.iterdir()) == []


def test_children_that_hang_do_not_hold_up_the_end(fleet: Start, tmp_path: Path) -> None:
    run = fleet(*AGG, "--no-replay")
    assert run.endpoint
    family = run.children()
    for child in family:
        child.suspend()
    asked_s = time.monotonic()
    assert run.stop() == 0
    assert time.monotonic() - asked_s < STOPS_WITHIN_S
    assert living(family) == []
    assert list(tmp_path.iterdir()) == []
