"""Operators, with `weir`, at a GlobalPlanner that is killed and whose document is changed."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from tests.integration.nats_process import Server, eventually
from tests.integration.test_global_planner import SPEED, Lake
from weir.api.v1 import planner_pb2
from weir.cli import main


class Desk:
    """A lake, its GlobalPlanner as a process, and somebody who types commands."""

    def __init__(self, lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
        self.lake = lake
        self._capsys = capsys
        self.control = ""
        self.told: list[str] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Killed at the end, without a chance to say so."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "weir", "global-planner",
            "--fleet", str(self.lake.file), "--listen", self.lake.target,
            "--nats", self.lake.nats.url,
            "--speed", str(SPEED), "--clock-origin-s", str(self.lake.clock.origin_s),
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        reading = asyncio.create_task(self._read(process))
        try:
            await eventually(lambda: bool(self.control), 60.0)
            yield
        finally:
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()
            reading.cancel()
            self.control = ""

    async def weir(self, *words: str) -> tuple[int, str]:
        """Exit code, and what was printed."""
        self._capsys.readouterr()
        arguments = [*words, "--planner", self.lake.target]
        code = await asyncio.to_thread(main, arguments)
        shown = self._capsys.readouterr()
        return code, shown.out + shown.err

    async def asked(self, *words: str) -> Any:
        code, shown = await self.weir(*words, "--json")
        assert code == 0, shown
        return json.loads(shown)

    def edit(self, *changes: tuple[str, str]) -> None:
        text = self.lake.file.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        self.lake.file.write_text(text)

    async def until(self, holds: Callable[[planner_pb2.StatusResponse], bool]) -> None:
        async with asyncio.timeout(30.0):
            while True:
                try:
                    if holds(await self.lake.status()):
                        return
                except grpc.aio.AioRpcError:
                    pass
                await asyncio.sleep(0.05)

    async def metric(self, name: str) -> str:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.control}/metrics") as answer,
        ):
            lines = (await answer.text()).splitlines()
        return next(line for line in lines if line.startswith(name))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while line := (await process.stderr.readline()).decode():
            self.told.append(line)
            if found := re.search(r"control=(http://\S+)", line):
                self.control = found[1]


@pytest.fixture
async def desk(
    tmp_path: Path, nats: Server, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Desk]:
    lake = Lake(tmp_path, nats)
    await lake.open()
    yield Desk(lake, capsys)
    await lake.close()


async def grown(desk: Desk, rps: float, **replicas: int) -> None:
    desk.lake.rps = rps
    await eventually(lambda: desk.lake.replicas == replicas, 30.0)


async def test_what_operators_set_is_predicted_applied_and_outlives_the_process(desk: Desk) -> None:
    async with desk.running():
        await grown(desk, 13.0, prefill=3, decode=1)
        effect = await desk.asked("budget", "3", "--dry-run")
        assert not effect["applied"]
        assert effect["lines"][0] == "budget: 6 -> 3 GPUs"
        assert effect["value_after"] < effect["value_before"]
        assert (await desk.lake.status()).budget_gpus == 6

        code, shown = await desk.weir("budget", "1")
        assert (code, "floors need 2 GPUs, budget holds 1" in shown) == (2, True), shown
        code, shown = await desk.weir("drain", "nobody")
        assert (code, "no pool 'nobody'" in shown) == (2, True), shown

        assert (await desk.asked("budget", "3"))["applied"]
        assert (await desk.asked("slo", "chat", "--weight", "2"))["applied"]
        assert (await desk.asked("freeze", "decode", "--why", "incident 17"))["applied"]
        await eventually(lambda: desk.lake.replicas == {"prefill": 2, "decode": 1})
    async with desk.running():
        await desk.until(lambda status: status.leading)
        status = await desk.lake.status()
        assert status.budget_gpus == status.overrides.budget_gpus == 3
        assert status.overrides.targets["chat"].weight == 2.0
        assert status.overrides.frozen["decode"] == "incident 17"
        for words in (
            ["budget", "--reset"],
            ["slo", "chat", "--reset"],
            ["freeze", "--all", "--thaw"],
        ):
            await desk.asked(*words)
        assert (await desk.lake.status()).overrides == planner_pb2.Overrides()
        await eventually(lambda: desk.lake.replicas == {"prefill": 3, "decode": 1}, 30.0)
        code, shown = await desk.weir("drain", "decode", "--dry-run")
        assert code == 0 and shown.startswith("NOTHING WILL SERVE MODEL m"), shown


async def test_a_changed_document_counts_and_decisions_wait_for_approval(desk: Desk) -> None:
    async with desk.running():
        await eventually(lambda: desk.lake.replicas == {"prefill": 1, "decode": 1}, 30.0)
        desk.edit(("gpus: 6", "gpus: 5"), ("interval_s: 1.0", "interval_s: 1.0, approve: required"))
        await desk.until(lambda status: (status.budget_gpus, status.mode) == (5, "approve"))
        assert any("document: budget: 6 -> 5 GPUs" in line for line in desk.told)

        desk.lake.rps = 8.0
        await desk.until(lambda status: bool(status.proposals))
        assert desk.lake.replicas == {"prefill": 1, "decode": 1}
        (waiting,) = (await desk.asked("approve"))["proposals"]
        assert abs(waiting["at_unix_s"] - desk.lake.clock.unix_s()) < 60.0
        code, shown = await desk.weir("approve", waiting["id"])
        assert (code, shown) == (0, "pool prefill: 1 -> 2\n")
        await eventually(lambda: desk.lake.replicas == {"prefill": 2, "decode": 1})
        code, shown = await desk.weir("approve", waiting["id"])
        assert (code, "no proposal" in shown) == (2, True), shown

        desk.edit(("gpus: 5", "gpus: some"))
        async with asyncio.timeout(30.0):
            while "document_usable 0.0" not in await desk.metric("weir_globalplanner_document"):
                await asyncio.sleep(0.1)
        assert (await desk.lake.status()).budget_gpus == 5
        desk.edit(("gpus: some", "gpus: 4"))
        await desk.until(lambda status: status.budget_gpus == 4)
