"""What the services' own loops wait for, in virtual time: a stop that is never given, a signal."""

from weir.runtime.lifecycle import Stop
from weir.simulator.events import EventHeap
from weir.simulator.tasks import Reply

__all__ = ["VirtualSignal", "VirtualStop"]


class VirtualStop(Stop):
    """Processes end by crashing here: their tasks are cancelled."""

    def __init__(self, events: EventHeap) -> None:
        super().__init__()
        self._events = events

    async def sleep(self, wall_s: float) -> bool:
        woken: Reply[bool] = Reply()
        self._events.after(max(0.0, wall_s), woken.answer, False)
        return await woken


class VirtualSignal:
    """Wakes the one that waits; a `Signal`."""

    def __init__(self, events: EventHeap) -> None:
        self._events = events
        self._set = False
        self._woken: Reply[None] | None = None

    def set(self) -> None:
        self._set = True
        if self._woken is not None:
            self._woken.answer(None)

    async def wait(self, timeout_s: float) -> None:
        """Until it is set, or was since the last wait, for `timeout_s` at most."""
        if not self._set:
            woken: Reply[None] = Reply()
            self._woken = woken
            self._events.after(max(0.0, timeout_s), woken.answer, None)
            await woken
        self._woken, self._set = None, False
