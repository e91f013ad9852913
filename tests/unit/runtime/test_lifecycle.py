import asyncio
import os
import signal

import pytest

from weir.runtime import lifecycle
from weir.runtime.lifecycle import Stop, run


def test_the_first_signal_requests_a_stop_and_main_ends_itself() -> None:
    async def main(stop: Stop) -> int:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
        assert await stop.sleep(60.0)
        assert stop.requested
        return 3

    assert run(main) == 3


def test_no_result_means_success() -> None:
    async def main(stop: Stop) -> None:
        assert not await stop.sleep(0.0)

    assert run(main) == 0


def test_the_echo_of_a_signal_leaves_the_drain_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_ECHO_S", 60.0)

    async def main(stop: Stop) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.05)
        return 3

    assert run(main) == 3
