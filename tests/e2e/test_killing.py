"""kill -9 of each part in the middle of a replay: the fleet goes on, recovers, loses nothing.

"Loses nothing" is about accounting: every request of the replay has ended in one of the four
ways, and those that failed have failed towards their client.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import FLEETS, Fleet

Start = Callable[..., Fleet]

SPEED = 4.0
RATE_RPS = 3.0
KILL_AFTER_S = 4.0
SUBMIT_S = 18


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A steady load of short requests, so that something is in flight at any time."""
    path = tmp_path / "steady.csv"
    rows = (f"{index / RATE_RPS:.3f},400,120" for index in range(int(SUBMIT_S * SPEED * RATE_RPS)))
    path.write_text("\n".join(("timestamp_s,isl,osl", *rows)) + "\n")
    return path


@pytest.fixture
def replaying(fleet: Start, trace: Path) -> Fleet:
    """The demo fleet some seconds into the replay."""
    run = fleet(
        *("--fleet", str(FLEETS / "demo.yaml"), "--trace", str(trace)),
        *("--for", str(SUBMIT_S), "--speed", str(SPEED), "--json"),
    )
    assert run.endpoint
    time.sleep(KILL_AFTER_S)
    return run


def finished(run: Fleet) -> dict[str, Any]:
    """The summary at the end, its counters checked."""
    assert run.wait(SUBMIT_S + 50.0) == 0, run.said()
    summary = run.summary()
    ended = ("completed", "failed", "shed", "cancelled")
    assert summary["requests"] == sum(summary[name] for name in ended)
    assert summary["requests"] == int(SUBMIT_S * SPEED * RATE_RPS)
    assert summary["cancelled"] == 0, run.said()
    assert summary["budget_violations"] == 0
    assert summary["peak_charged_gpus"] <= summary["budget_gpus"]
    return summary


def killed(run: Fleet, word: str) -> None:
    """Kill the child with that argument and wait for its successor."""
    victim = run.child(word)
    run.kill(victim)
    run.until(
        lambda: any(child.pid != victim.pid for child in run.children(word)),
        10.0,
        f"{word} is started again",
    )


def test_an_engine_dies(replaying: Fleet) -> None:
    victim = replaying.engines("decode-a")[0]
    replaying.kill(victim)
    replaying.until(
        lambda: any(e.pid != victim.pid for e in replaying.engines("decode-a")),
        10.0,
        "the engine is started again",
    )
    summary = finished(replaying)
    # Streams on that engine break, with an error in band; everything else goes on.
    assert summary["failed"] < 0.2 * summary["requests"]
    assert summary["completed"] > 0.8 * summary["requests"]
    assert summary["pools"]["decode-a"]["replicas_final"] >= 1


def test_a_prefill_engine_dies(replaying: Fleet) -> None:
    victim = replaying.engines("prefill-a")[0]
    replaying.kill(victim)
    summary = finished(replaying)
    # A prefill leg has sent nothing to the client yet: it is tried again elsewhere.
    assert summary["completed"] > 0.95 * summary["requests"]


def test_a_pool_planner_dies(replaying: Fleet) -> None:
    killed(replaying, "prefill-a")
    summary = finished(replaying)
    assert summary["completed"] == summary["requests"]


def test_the_global_planner_dies(replaying: Fleet) -> None:
    killed(replaying, "global-planner")
    summary = finished(replaying)
    assert summary["completed"] == summary["requests"]


def test_nats_dies(replaying: Fleet) -> None:
    killed(replaying, "-js")
    summary = finished(replaying)
    assert summary["completed"] == summary["requests"]


def test_the_router_dies(replaying: Fleet) -> None:
    killed(replaying, "router")
    replaying.until(lambda: replaying.get("/readyz")[0] == 200, 10.0, "the router is ready again")
    summary = finished(replaying)
    # What was in flight or came in between fails towards its client; then it goes on.
    assert summary["completed"] > 0.7 * summary["requests"]
    assert summary["shed"] == 0
