"""Prompts counted by their model's own tokenizer, in a process of its own.

Tokenizers take milliseconds for a long prompt, some of them without letting other threads run.
"""

import asyncio
import functools
import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from router.adapters.token_process import begin, count_tokens
from router.config import UsageError
from weir.domain.ids import ModelName

__all__ = ["TokenCounter"]

_DEADLINE_S = 0.25
_START_DEADLINE_S = 60.0
_MOST_WAITING = 32


class TokenCounter:
    """`sources` by model: the path of a `tokenizer.json`, or `tiktoken:ENCODING`.

    `outcomes` tells how often it could count, and why not.
    """

    def __init__(
        self, sources: Mapping[ModelName, str], *, deadline_s: float = _DEADLINE_S
    ) -> None:
        self._sources = dict(sources)
        self._deadline_s = deadline_s
        self._waiting = 0
        self._executor: ProcessPoolExecutor | None = None
        self.outcomes = {"counted": 0, "late": 0, "failed": 0, "full": 0}

    async def start(self) -> None:
        """Raises `UsageError` if a tokenizer cannot be had."""
        for model, source in self._sources.items():
            try:
                async with asyncio.timeout(_START_DEADLINE_S):
                    await self._run(functools.partial(count_tokens, source, ("ready",)))
            except (Exception, TimeoutError) as error:
                problem = f"{type(error).__name__}: {error}"
                raise UsageError(
                    f"router.tokenizers.{model}: {source} cannot be used: {problem}"
                ) from error

    def knows(self, model: ModelName) -> bool:
        return model in self._sources

    async def count(self, model: ModelName, texts: Sequence[str]) -> int | None:
        """Tokens of all texts together; None if that takes too long or fails."""
        outcomes = self.outcomes
        if self._waiting >= _MOST_WAITING:
            outcomes["full"] += 1
            return None
        self._waiting += 1
        try:
            async with asyncio.timeout(self._deadline_s):
                tokens = await self._run(
                    functools.partial(count_tokens, self._sources[model], texts)
                )
        except TimeoutError:
            outcomes["late"] += 1
            return None
        except Exception:  # Whatever a tokenizer makes of a text, the request goes on.
            outcomes["failed"] += 1
            return None
        finally:
            self._waiting -= 1
        outcomes["counted"] += 1
        return tokens

    async def _run(self, work: Callable[[], int]) -> int:
        if self._executor is None:
            context = multiprocessing.get_context("spawn")
            self._executor = ProcessPoolExecutor(1, mp_context=context, initializer=begin)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        except BrokenProcessPool:
            self.close()
            raise

    def close(self) -> None:
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False, cancel_futures=True)
