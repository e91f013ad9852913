"""KV between two engines: kept here for others to fetch, fetched there.

As between vLLM engines over NIXL, the decode engine fetches. What it gets is a token count, and
the time that moving so many tokens would take.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

import orjson

from weir.domain.errors import WeirError
from weir.http1.client import Pool, UpstreamError
from weir.mocker.generation import FetchKv
from weir.runtime.clock import Clock

__all__ = ["KV_PATH", "FetchFailedError", "KvFetcher", "KvShelf"]

KV_PATH = "/mock/kv/"
_MOST_ENGINES = 64
_CONNECT_TIMEOUT_WALL_S = 2.0
_TIMEOUT_WALL_S = 5.0


class FetchFailedError(WeirError):
    """The KV of a prompt could not be had. `result` says why, in the words of the metric."""

    def __init__(self, message: str, result: str) -> None:
        super().__init__(message)
        self.result = result


class KvShelf:
    """Prompts whose KV waits to be fetched.

    Invariant: whatever is kept is released exactly once, `transfer_s` after it was fetched or
    when `hold_s` (both model seconds) are over.
    """

    def __init__(
        self,
        clock: Clock,
        hold_s: float,
        release: Callable[[str], object],
        on_expiry: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._hold_s = hold_s
        self._release = release
        self._on_expiry = on_expiry
        self._loop = asyncio.get_running_loop()
        self._kept: dict[str, tuple[int, asyncio.TimerHandle]] = {}
        self._leaving: set[asyncio.TimerHandle] = set()

    def __len__(self) -> int:
        """How many wait to be fetched or are on their way."""
        return len(self._kept) + len(self._leaving)

    def keep(self, request_id: str, prompt_tokens: int) -> None:
        timer = self._after(self._hold_s, lambda: self._expire(request_id))
        self._kept[request_id] = (prompt_tokens, timer)

    def fetch(self, request_id: str, tokens_per_s: float) -> int | None:
        """Hand over, once: the prompt's tokens, or None if it is not here (any more)."""
        entry = self._kept.pop(request_id, None)
        if entry is None:
            return None
        prompt_tokens, timer = entry
        timer.cancel()

        def gone() -> None:
            self._leaving.discard(leaving)
            self._release(request_id)

        leaving = self._after(prompt_tokens / tokens_per_s, gone)
        self._leaving.add(leaving)
        return prompt_tokens

    def close(self) -> None:
        for timer in (*self._leaving, *(timer for _, timer in self._kept.values())):
            timer.cancel()

    def _expire(self, request_id: str) -> None:
        del self._kept[request_id]
        self._on_expiry()
        self._release(request_id)

    def _after(self, model_s: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        return self._loop.call_later(self._clock.wall_span_s(model_s), call)


class KvFetcher:
    """Fetches from other engines, over connections that are kept."""

    def __init__(self) -> None:
        self._pools: OrderedDict[tuple[str, int], Pool] = OrderedDict()

    async def fetch(self, source: FetchKv) -> int:
        """The prompt tokens whose KV is now ours. Raises `FetchFailedError`."""
        where = f"engine {source.engine_id} at {source.host}:{source.port}"
        pool = self._pool(source.host, source.port)
        try:
            response = await pool.request(
                "GET", KV_PATH + source.request_id, timeout_s=_TIMEOUT_WALL_S
            )
        except UpstreamError as error:
            raise FetchFailedError(f"{where} did not hand over: {error}", "unreachable") from None
        if response.status != 200:
            message = f"{where} does not hold the KV of {source.request_id} (any more)"
            raise FetchFailedError(message, "unknown")
        try:
            return int(orjson.loads(response.body)["prompt_tokens"])
        except (ValueError, TypeError, KeyError):
            raise FetchFailedError(f"{where} is not a mock engine", "unknown") from None

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()

    def _pool(self, host: str, port: int) -> Pool:
        pool = self._pools.get((host, port))
        if pool is None:
            pool = self._pools[host, port] = Pool(
                host, port, connect_timeout_s=_CONNECT_TIMEOUT_WALL_S, max_idle=16
            )
            if len(self._pools) > _MOST_ENGINES:
                self._pools.popitem(last=False)[1].close_idle()
        self._pools.move_to_end((host, port))
        return pool
