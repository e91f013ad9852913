"""Hearing of every change to a bucket, and noticing when a watch has gone deaf."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from weir.runtime.jetstream import Storage

__all__ = ["watch"]

_log = logging.getLogger("weir.bus")
_START_S = 3.0
_STOP_S = 1.0
_POLL_S = 0.5
_LOOK_S = 1.0
"""A watch lives on one node of a cluster and falls silent with it, so its bucket is asked too."""
_ANEW_S = 30.0


async def watch(
    storage: Storage,
    bucket: str,
    callback: Callable[[str, bytes | None], None],
    connected: Callable[[], bool],
) -> None:
    """Deliver all keys and then each change, None for a deleted one.

    Returns when it has to be done again: the connection it began with is no longer `connected`,
    the bucket has changed unheard or has been made anew, or some time has passed. Raises what
    the NATS client raises.
    """
    now_s = asyncio.get_running_loop().time
    async with asyncio.timeout(_START_S):
        heard = expected = await storage.last_sequence(bucket)
        watcher: Any = await storage.bucket(bucket).watchall()
    look_s, until_s = now_s() + _LOOK_S, now_s() + _ANEW_S
    try:
        while connected() and now_s() < until_s:
            entry = await _next(watcher)
            if entry is not None:
                heard = max(heard, entry.revision)
                _deliver(bucket, entry, callback)
            elif heard < expected:
                return
            elif now_s() >= look_s:
                expected = await storage.last_sequence(bucket)
                if expected < heard:
                    return
                look_s = now_s() + _LOOK_S
    finally:
        await _stop(watcher)


async def _next(watcher: Any) -> Any:
    """The next change; None if there is none for a while, or after the last of the first ones."""
    try:
        return await watcher.updates(timeout=_POLL_S)
    except TimeoutError:
        return None


def _deliver(bucket: str, entry: Any, callback: Callable[[str, bytes | None], None]) -> None:
    deleted = entry.operation in ("DEL", "PURGE")
    try:
        callback(entry.key, None if deleted else entry.value)
    except Exception:
        _log.exception("a value was not understood bucket=%s", bucket)


async def _stop(watcher: Any) -> None:
    try:
        async with asyncio.timeout(_STOP_S):
            await watcher.stop()
    except Exception as error:
        _log.debug("watch stop: %r", error)
