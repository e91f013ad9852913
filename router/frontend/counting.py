"""Prompts that are counted before they are routed: where an estimate might choose wrongly.

A prompt that cannot be counted in time is routed by its estimate.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

import orjson

from router.core.request import RequestProfile
from weir.domain.ids import ModelName
from weir.http1.server import Responder

__all__ = ["Counter", "Counting", "Estimates", "Which", "prompt_texts"]

_log = logging.getLogger("weir.router.frontend")
_ASKED = b"x-weir-count-tokens"

Which = Literal["borders", "always", "asked"]


class Counter(Protocol):
    """`router.adapters.tokenizers.TokenCounter` says what each call means."""

    def knows(self, model: ModelName) -> bool: ...

    async def count(self, model: ModelName, texts: Sequence[str]) -> int | None: ...


class Estimates(Protocol):
    """What is known without counting; `router.service.RouterService` says what each call means."""

    def resolve(self, model: str) -> ModelName: ...

    def near_border(self, profile: RequestProfile) -> bool: ...

    def counted(self, profile: RequestProfile, text_tokens: int) -> None: ...


class Counting:
    """`which`: prompts near a border of classes or contexts, all, or those that ask for it."""

    def __init__(self, counter: Counter, estimates: Estimates, which: Which) -> None:
        self._counter = counter
        self._estimates = estimates
        self._which = which
        self._tasks: set[asyncio.Task[None]] = set()

    def wants(self, profile: RequestProfile, headers: Mapping[bytes, bytes]) -> bool:
        """Raises `RequestError` if no pool serves the model."""
        if profile.isl_exact or not self._counter.knows(self._estimates.resolve(profile.model)):
            return False
        if self._which == "always" or headers.get(_ASKED) == b"1":
            return True
        return self._which == "borders" and self._estimates.near_border(profile)

    def first(
        self,
        profile: RequestProfile,
        data: dict[str, Any],
        responder: Responder,
        then: Callable[[], None],
    ) -> None:
        """Count the prompt, write it into the profile, and go on unless the client has gone."""
        task = asyncio.get_running_loop().create_task(self._count(profile, data, responder, then))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

        def gone() -> None:
            task.cancel()

        responder.on_close = gone

    def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()

    async def _count(
        self,
        profile: RequestProfile,
        data: dict[str, Any],
        responder: Responder,
        then: Callable[[], None],
    ) -> None:
        model = self._estimates.resolve(profile.model)
        try:
            tokens = await self._counter.count(model, list(prompt_texts(data)))
            if tokens is not None:
                self._estimates.counted(profile, tokens)
            if not responder.closed:
                then()
        except Exception:
            _log.exception("a request failed after its prompt was counted")
            responder.send_error(500, "internal error; the router's log has details")


def prompt_texts(data: dict[str, Any]) -> Iterator[str]:
    """All text that becomes part of the prompt, of an envelope that has been checked."""
    prompt = data.get("prompt")
    if isinstance(prompt, str):
        yield prompt
    elif isinstance(prompt, list):
        yield from (text for text in prompt if isinstance(text, str))
    for message in data.get("messages") or ():
        content = message.get("content")
        if isinstance(content, str):
            yield content
        for part in content if isinstance(content, list) else ():
            text = part if isinstance(part, str) else part.get("text")
            if isinstance(text, str):
                yield text
        if message.get("tool_calls"):
            yield orjson.dumps(message["tool_calls"]).decode()
    if data.get("tools"):
        yield orjson.dumps(data["tools"]).decode()
