"""The decision log as a file: bounded, readable, and no worse for a bad disk."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from globalplanner.adapters.jsonl import JsonlFile, newest_first, place_of
from tests.unit.globalplanner.decisions import record
from weir import codec
from weir.domain.errors import UnavailableError

LINE = len(codec.decision_json(record())) + 1


async def test_lines_come_back_newest_first(tmp_path: Path) -> None:
    log = JsonlFile(tmp_path / "new" / "d.jsonl")
    for number in (1, 2):
        await log.write(record(number))
    assert [r.id for r in newest_first(log.path)] == ["7.2", "7.1"]
    assert log.path.read_bytes().count(b"\n") == 2


async def test_no_more_files_than_allowed_and_none_larger_than_allowed(tmp_path: Path) -> None:
    log = JsonlFile(tmp_path / "d.jsonl", most_bytes=2 * LINE, most_files=3)
    for number in range(1, 10):  # two lines a file, so 9, 7-8 and 5-6 remain
        await log.write(record(number))
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["d.jsonl", "d.jsonl.1", "d.jsonl.2"]
    assert max(file.stat().st_size for file in files) <= 2 * LINE
    assert [r.id for r in newest_first(log.path)] == ["7.9", "7.8", "7.7", "7.6", "7.5"]


async def test_one_file_alone_begins_anew(tmp_path: Path) -> None:
    log = JsonlFile(tmp_path / "d.jsonl", most_bytes=2 * LINE, most_files=1)
    for number in range(1, 4):
        await log.write(record(number))
    assert [r.id for r in newest_first(log.path)] == ["7.3"]


async def test_a_file_that_somebody_has_moved_away_is_made_again(tmp_path: Path) -> None:
    log = JsonlFile(tmp_path / "d.jsonl")
    await log.write(record(1))
    log.path.rename(tmp_path / "elsewhere")
    await log.write(record(2))
    assert [r.id for r in newest_first(log.path)] == ["7.2"]


async def test_a_folder_that_cannot_be_written_is_an_error_each_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    log = JsonlFile(tmp_path / "file" / "d.jsonl")
    for _ in range(2):
        with pytest.raises(OSError):
            await log.write(record())


async def test_a_full_disk_leaves_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = JsonlFile(tmp_path / "d.jsonl")
    await log.write(record(1))
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda file, line: write(file, line[:10]))
        with pytest.raises(OSError, match="no room"):
            await log.write(record(2))
    await log.write(record(3))
    assert log.path.stat().st_size == 2 * LINE
    assert [r.id for r in newest_first(log.path)] == ["7.3", "7.1"]


async def test_a_disk_that_hangs_is_not_asked_again_until_it_answers(tmp_path: Path) -> None:
    log, answers = JsonlFile(tmp_path / "d.jsonl"), threading.Event()
    append = log.append
    log.append = lambda line: (answers.wait(60.0), append(line))[1]  # type: ignore[method-assign]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await log.write(record(1))
    with pytest.raises(UnavailableError, match="has not answered"):
        await log.write(record(2))
    answers.set()
    async with asyncio.timeout(30.0):
        while True:
            try:
                await log.write(record(3))
                break
            except UnavailableError:  # it is about to
                await asyncio.sleep(0.01)
    assert [r.id for r in newest_first(log.path)] == ["7.3", "7.1"]


def test_lines_that_are_no_decisions_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(b"\0\0\n{}\n" + codec.decision_json(record()) + b'\n{"id": "7.')
    assert [r.id for r in newest_first(path)] == ["7.1"]


def test_a_folder_stands_for_the_log_in_it(tmp_path: Path) -> None:
    assert place_of(tmp_path) == tmp_path / "decisions.jsonl"
    assert place_of(tmp_path / "other") == tmp_path / "other"
