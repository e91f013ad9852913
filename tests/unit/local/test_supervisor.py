"""Children: restarted when they die, gone when stopped, killed with their parent."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from weir.local import launch
from weir.local.process import tail
from weir.local.supervisor import Child, ChildSpec, restart_delay_s


def spec(tmp_path: Path, code: str) -> ChildSpec:
    return ChildSpec(
        name="child", command=[sys.executable, "-S", "-c", code], log=tmp_path / "child.log"
    )


async def until(condition, wall_s: float = 30.0) -> None:
    async with asyncio.timeout(wall_s):
        while not condition():
            await asyncio.sleep(0.01)


def test_restart_delay_doubles_from_a_fifth_of_a_second_to_five_seconds() -> None:
    delays = [restart_delay_s(deaths) for deaths in range(1, 8)]
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


async def test_a_killed_child_is_started_again_and_reported(tmp_path: Path) -> None:
    deaths: list[int | None] = []
    child = Child(
        spec(tmp_path, "import time; time.sleep(60)"),
        on_death=lambda c: deaths.append(c.last_exit_code),
    )
    child.start()
    await until(lambda: child.pid is not None)
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: child.pid not in (None, first))
    assert child.restarts == 1
    assert deaths == [-signal.SIGKILL]
    await child.stop(5.0)


async def test_a_stopped_child_is_gone_and_never_started_again(tmp_path: Path) -> None:
    gone: list[Child] = []
    child = Child(spec(tmp_path, "import time; time.sleep(60)"), on_gone=gone.append)
    child.start()
    await until(lambda: child.pid is not None)
    pid = child.pid
    await child.stop(5.0)
    assert gone == [child]
    assert child.restarts == 0
    assert not psutil.pid_exists(pid or 0)


async def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('deaf', flush=True); time.sleep(60)"
    )
    child = Child(spec(tmp_path, code))
    child.start()
    await until(lambda: "deaf" in tail(child.spec.log))
    started_s = time.monotonic()
    await child.stop(0.3)
    assert time.monotonic() - started_s < 30.0
    assert child.last_exit_code == -signal.SIGKILL


async def test_stopping_between_two_processes_ends_at_once(tmp_path: Path) -> None:
    child = Child(spec(tmp_path, "raise SystemExit(3)"))
    child.start()
    await until(lambda: child.deaths_in_a_row >= 3)
    await child.stop(1.0)
    assert child.pid is None


async def test_the_error_of_a_child_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    child = Child(spec(tmp_path, "import sys; sys.exit('no such device')"))
    child.start()
    await until(lambda: child.deaths_in_a_row >= 2)
    text = str(child.error())
    await child.stop(1.0)
    assert "child ended 2 times at its start, last with exit code 1" in text
    assert "| no such device" in text


async def test_a_program_that_does_not_exist_says_so_in_the_log(tmp_path: Path) -> None:
    child = Child(ChildSpec(name="ghost", command=["/no/such"], log=tmp_path / "ghost.log"))
    child.start()
    await until(lambda: child.deaths_in_a_row >= 1)
    await child.stop(1.0)
    assert "cannot run /no/such: No such file or directory" in tail(child.spec.log)


async def test_a_process_that_cannot_be_made_is_tried_again(tmp_path: Path) -> None:
    # As when the machine is out of processes, memory or file descriptors for a moment.
    log = tmp_path / "missing" / "child.log"
    gone: list[Child] = []
    child = Child(
        ChildSpec(name="child", command=["/bin/sleep", "60"], log=log), on_gone=gone.append
    )
    child.start()
    await until(lambda: child.deaths_in_a_row >= 1)
    log.parent.mkdir()
    await until(lambda: child.pid is not None)
    await child.stop(5.0)
    assert gone == [child]


@pytest.mark.skipif(sys.platform != "linux", reason="the death signal is Linux's")
def test_a_child_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    code = f"""
import os, subprocess, sys, time
child = subprocess.Popen(
    [sys.executable, "-I", "-S", {launch.__file__!r}, str(os.getpid()), "/bin/sleep", "60"],
    start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    pid = int(parent.stdout.readline())
    deadline_s = time.monotonic() + 30.0
    while psutil.Process(pid).name() != "sleep" and time.monotonic() < deadline_s:
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    while _runs(pid) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
