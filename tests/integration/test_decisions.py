"""Decisions of a GlobalPlanner on real NATS and disk, and `weir explain` that asks it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from globalplanner.adapters.decisions import DecisionStream
from globalplanner.adapters.jsonl import newest_first
from tests.integration.nats_process import Server, eventually
from tests.integration.test_global_planner import Lake
from weir.cli import main
from weir.domain.decision import DecisionRecord


@pytest.fixture
async def lake(tmp_path: Path, nats: Server) -> AsyncIterator[Lake]:
    """Two pools that obey, a router, and a GlobalPlanner to be started that writes a file."""
    lake = Lake(tmp_path, nats)
    lake.config = lake.config.model_copy(update={"decisions": str(tmp_path / "log" / "d.jsonl")})
    await lake.open()
    yield lake
    await lake.close()


async def explain(
    lake: Lake, capsys: pytest.CaptureFixture[str], *words: str, code: int = 0
) -> str:
    """What the command says, on stdout or as its error."""
    argv = ["explain", *words, "--planner", lake.target]
    assert await asyncio.to_thread(main, argv) == code
    captured = capsys.readouterr()
    return captured.err if code else captured.out


def grown(record: DecisionRecord) -> bool:
    return any(p.pool_id == "prefill" and (p.before, p.after) == (1, 2) for p in record.pools)


async def test_decisions_are_in_the_stream_and_the_file_and_outlive_their_leader(
    lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    lake.rps = 8.0
    stream, file = DecisionStream(lake.bus, "lake"), Path(lake.config.decisions or "")
    async with lake.running():
        await eventually(lambda: lake.replicas == {"prefill": 2, "decode": 1})
        await eventually(lambda: file.exists() and any(map(grown, newest_first(file))))
        made = next(filter(grown, newest_first(file)))
        told = await explain(lake, capsys, "prefill")
        assert "pool prefill: prefill, model m, 1 x gpu a replica" in told
        assert f"1 -> 2 in decision {made.id}, acted on" in told
        assert "class chat: TTFT 5000 ms" in await explain(lake, capsys, "chat")
        assert made.id in await explain(lake, capsys)
        shown: dict[str, Any] = json.loads(await explain(lake, capsys, made.id, "--json"))
        assert shown["decision"]["inputs_digest"] == made.inputs_digest
        refused = await explain(lake, capsys, "nobody", code=2)
        assert "no pool 'nobody' in this fleet; there are decode, prefill" in refused
        assert "no class 'nobody' in this fleet; there are chat" in refused
    recalled = await stream.recall(100)
    assert {r.id: r for r in recalled} == {r.id: r for r in newest_first(file)}
    async with lake.running():
        await eventually(lambda: {g.term for g in lake.grants.values()} == {made.term + 1})
        assert f"decision {made.id}: acted on" in await explain(lake, capsys, made.id)


async def test_without_a_disk_to_write_to_it_decides_all_the_same(
    lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: Any
) -> None:
    (tmp_path / "log").write_text("no folder")
    lake.rps = 8.0
    async with lake.running():
        await eventually(lambda: lake.replicas == {"prefill": 2, "decode": 1})
        assert "1 -> 2" in await explain(lake, capsys)
    assert len([r for r in caplog.records if "decision log: file: " in r.message]) == 1
    assert any(map(grown, await DecisionStream(lake.bus, "lake").recall(100)))
