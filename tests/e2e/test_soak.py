"""Minutes instead of seconds: a fleet that loses a process again and again. `make soak`."""

import random
import time
from collections.abc import Callable

import psutil
import pytest

from tests.e2e.conftest import FLEETS, Fleet

FOR_S = 240
SPEED = 2.0
PAUSE_S = 8.0
SEED = 1
MOST_RSS_GROWTH = 1.5


@pytest.mark.slow
@pytest.mark.timeout(FOR_S + 180)
def test_a_fleet_that_keeps_losing_processes_accounts_for_every_request(
    fleet: Callable[..., Fleet],
) -> None:
    run = fleet(
        *("--fleet", str(FLEETS / "demo.yaml"), "--for", str(FOR_S)),
        *("--speed", str(SPEED), "--json"),
    )
    assert run.endpoint
    begun_s = time.monotonic()
    router = run.child("router")
    time.sleep(PAUSE_S)
    early_bytes = router.memory_info().rss
    dice = random.Random(SEED)
    killed = []
    while time.monotonic() - begun_s < FOR_S - 3 * PAUSE_S:
        victims = [child for child in run.children() if child != router]
        killed.append(kill(dice.choice(victims)))
        time.sleep(PAUSE_S)
    late_bytes = router.memory_info().rss
    assert run.wait(FOR_S + 60.0) == 0, run.said()
    summary = run.summary()
    ended = ("completed", "failed", "shed", "cancelled")
    assert summary["requests"] == sum(summary[name] for name in ended)
    assert summary["completed"] >= 0.9 * summary["requests"], (summary, killed)
    assert summary["budget_violations"] == 0, killed
    assert late_bytes < MOST_RSS_GROWTH * early_bytes
    assert list(run.temporary.iterdir()) == []


def kill(victim: psutil.Process) -> str:
    """SIGKILL; returns what it was."""
    try:
        command = " ".join(victim.cmdline()[3:7])
        victim.kill()
    except psutil.NoSuchProcess:  # it has just been scaled away
        command = "(gone)"
    return command
