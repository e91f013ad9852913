"""Wake one task that waits, with a deadline."""

import asyncio

from weir.runtime.lifecycle import Stop

__all__ = ["Signal"]


class Signal:
    """Waiting also ends when a stop is requested."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self, timeout_s: float) -> None:
        """Until it is set, or was since the last wait, for `timeout_s` at most."""
        waits = {
            asyncio.ensure_future(self._event.wait()),
            asyncio.ensure_future(self._stop.wait()),
        }
        try:
            await asyncio.wait(
                waits, timeout=max(0.0, timeout_s), return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for wait in waits:
                wait.cancel()
        self._event.clear()
