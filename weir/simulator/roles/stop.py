"""A stop signal that is never given, and sleep in virtual time, for the services' own loops."""

from weir.runtime.lifecycle import Stop
from weir.simulator.events import EventHeap
from weir.simulator.tasks import Reply

__all__ = ["VirtualStop"]


class VirtualStop(Stop):
    """Processes end by crashing here: their tasks are cancelled."""

    def __init__(self, events: EventHeap) -> None:
        super().__init__()
        self._events = events

    async def sleep(self, wall_s: float) -> bool:
        woken: Reply[bool] = Reply()
        self._events.after(max(0.0, wall_s), woken.answer, False)
        return await woken
