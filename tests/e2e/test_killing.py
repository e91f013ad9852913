"""kill -9 of each part in the middle of a replay: the fleet goes on, recovers, loses nothing.

"Loses nothing" is about accounting: every request of the replay has ended in one of the four
ways, and those that failed have failed towards their client.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import FLEETS, READY_WITHIN_S, Fleet

Start = Callable[..., Fleet]

SPEED = 8.0
RATE_RPS = 2.0
KILL_AFTER_S = 2.5
IN_FLIGHT_S = 2.0
"""Wall seconds from a request's arrival to its last token, and a half to spare."""
SUBMIT_S = 11
REQUESTS = int(SUBMIT_S * SPEED * RATE_RPS)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A steady load of short requests, so that something is in flight at any time."""
    path = tmp_path / "steady.csv"
    rows = (f"{index / RATE_RPS:.3f},400,120" for index in range(REQUESTS))
    path.write_text("\n".join(("timestamp_s,isl,osl", *rows)) + "\n")
    return path


@pytest.fixture
def replaying(fleet: Start, trace: Path) -> Fleet:
    """The demo fleet some seconds into the replay."""
    run = fleet(
        *("--fleet", str(FLEETS / "demo.yaml"), "--trace", str(trace)),
        *("--speed", str(SPEED), "--json"),
        *("--set", "planner.scale_down_dwell_s=8", "--set", "router.queue_timeout_s=600"),
    )
    assert run.endpoint
    time.sleep(KILL_AFTER_S)
    return run


def recovered(run: Fleet) -> None:
    """Every role is ready again."""
    run.until(
        lambda: not run.unready_roles(), READY_WITHIN_S, f"all are ready: {run.unready_roles()}"
    )


def finished(run: Fleet) -> dict[str, Any]:
    """The summary at the end, its counters checked."""
    over = "the replay is over; still serving"
    run.until(lambda: over in "".join(run.err), SUBMIT_S + READY_WITHIN_S, over)
    assert run.stop() == 0, run.said()
    summary = run.summary()
    ended = ("completed", "failed", "shed", "cancelled")
    assert summary["requests"] == sum(summary[name] for name in ended) == REQUESTS
    assert summary["cancelled"] == 0, run.said()
    assert summary["budget_violations"] == 0
    assert summary["peak_charged_gpus"] <= summary["budget_gpus"]
    return summary


def test_engines_die(replaying: Fleet) -> None:
    replaying.kill("mocker", "--worker-id", "prefill-a-0")
    replaying.kill("mocker", "--worker-id", "decode-a-0")
    summary = finished(replaying)
    # A prefill leg has sent nothing to the client yet and is tried again elsewhere. Streams of
    # the decode engine break, with an error in band; everything else goes on.
    assert summary["completed"] > 0.8 * summary["requests"], replaying.said()
    for name in ("prefill-a", "decode-a"):
        assert summary["pools"][name]["replicas_final"] >= 1


def test_a_pool_planner_dies(replaying: Fleet) -> None:
    replaying.kill("pool-planner", "prefill-a")
    recovered(replaying)
    summary = finished(replaying)
    assert summary["completed"] == summary["requests"]


def test_the_global_planner_dies(replaying: Fleet) -> None:
    replaying.kill("global-planner")
    recovered(replaying)
    summary = finished(replaying)
    assert summary["completed"] == summary["requests"]


def test_nats_dies(replaying: Fleet) -> None:
    replaying.kill("-js")
    recovered(replaying)
    summary = finished(replaying)
    assert summary["completed"] == summary["requests"]


def test_the_router_dies(replaying: Fleet) -> None:
    killed_s = time.monotonic()
    replaying.kill("router")
    recovered(replaying)
    away_s = time.monotonic() - killed_s
    summary = finished(replaying)
    # What was in flight or came in between fails towards its client; then it goes on.
    assert summary["failed"] <= (away_s + IN_FLIGHT_S) * SPEED * RATE_RPS, replaying.said()
    assert summary["shed"] == 0
