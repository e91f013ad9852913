"""Prompts counted by a tokenizer in a process of its own."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from router.adapters.tokenizers import TokenCounter
from router.config import UsageError
from weir.domain.ids import ModelName

tokenizers = pytest.importorskip("tokenizers")

M = ModelName("m")


@pytest.fixture
def words(tmp_path: Path) -> str:
    """A tokenizer whose tokens are words."""
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"?": 0}, unk_token="?"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    return str(path)


async def test_texts_are_counted_together(words: str) -> None:
    counter = TokenCounter({M: words}, deadline_s=30.0)
    await counter.start()
    try:
        assert counter.knows(M) and not counter.knows(ModelName("other"))
        assert await counter.count(M, ["one two three", "four"]) == 4
        assert await counter.count(M, []) == 0
        assert counter.outcomes == {"counted": 2, "late": 0, "failed": 0, "full": 0}
    finally:
        counter.close()


async def test_who_is_late_or_one_too_many_is_not_counted(words: str) -> None:
    counter = TokenCounter({M: words}, deadline_s=0.0)
    await counter.start()
    try:
        counts = await asyncio.gather(*(counter.count(M, ["a b"]) for _ in range(40)))
        assert set(counts) == {None}
        assert (counter.outcomes["late"], counter.outcomes["full"]) == (32, 8)
    finally:
        counter.close()


async def test_after_the_process_has_died_the_next_prompts_are_counted_again(words: str) -> None:
    counter = TokenCounter({M: words}, deadline_s=30.0)
    await counter.start()
    try:
        assert counter._executor is not None
        (process,) = counter._executor._processes
        os.kill(process, signal.SIGKILL)
        async with asyncio.timeout(30.0):
            while await counter.count(M, ["a b"]) is None:
                await asyncio.sleep(0.01)
        assert counter.outcomes["failed"] >= 1
    finally:
        counter.close()


async def test_a_tokenizer_that_is_not_there_ends_the_start() -> None:
    counter = TokenCounter({M: "/nowhere/tokenizer.json"})
    try:
        with pytest.raises(UsageError, match=r"router.tokenizers.m: /nowhere/tokenizer.json"):
            await counter.start()
    finally:
        counter.close()
