"""How many requests may wait: all together, and of each class.

A class has its own bounds so that one alone cannot fill the queue: by default half of all, if there
are others. Both bounds count what waits in other processes of the router.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from router.core.request import ShedReason
from weir.domain.fleet import RequestClass
from weir.domain.ids import ClassName

__all__ = ["Bounds", "Held"]


@dataclass(slots=True)
class Held:
    """Requests, and bytes of their prompts."""

    requests: int = 0
    bytes: int = 0

    def add(self, requests: int, held_bytes: int) -> None:
        self.requests += requests
        self.bytes += held_bytes

    def holds(self, requests: int, held_bytes: int, most: "Held") -> bool:
        """Whether so many more are within `most`. A single one always is, however long."""
        if self.requests + requests > most.requests:
            return False
        return self.requests + requests <= 1 or self.bytes + held_bytes <= most.bytes


def _bound(item: RequestClass, usual: Held) -> Held:
    if item.queue_requests is None and item.queue_bytes is None:
        return usual
    return Held(item.queue_requests or usual.requests, item.queue_bytes or usual.bytes)


class Bounds:
    """What waits here and elsewhere, against what may."""

    def __init__(
        self, most_requests: int, most_bytes: int, classes: Iterable[RequestClass]
    ) -> None:
        self._most = Held(most_requests, most_bytes)
        classes = tuple(classes)
        half = Held(max(1, most_requests // 2), max(1, most_bytes // 2))
        part = half if len(classes) > 1 else self._most
        self._most_of = {c.name: _bound(c, part) for c in classes}
        self._all = Held()
        self._elsewhere: Mapping[ClassName, tuple[int, int]] = {}
        self.own = {c.name: Held() for c in classes}
        """What waits in this process."""

    def lacks(self, name: ClassName, held_bytes: int, without: Held) -> ShedReason | None:
        """Why one more of the class may not wait, if these of its class or others do not."""
        more = 1 - without.requests, held_bytes - without.bytes
        most_of = self._most_of[name]
        if most_of is not self._most and not self._of(name).holds(*more, most_of):
            return ShedReason.CLASS_FULL
        return None if self._all.holds(*more, self._most) else ShedReason.QUEUE_FULL

    def add(self, name: ClassName, requests: int, held_bytes: int) -> None:
        """So many more wait here; fewer if negative."""
        self._all.add(requests, held_bytes)
        self.own[name].add(requests, held_bytes)

    def told(self, elsewhere: Mapping[ClassName, tuple[int, int]]) -> None:
        """What waits in all other processes, requests and bytes by class."""
        self._elsewhere = elsewhere
        self._all = Held()
        for name in self.own:
            held = self._of(name)
            self._all.add(held.requests, held.bytes)

    def _of(self, name: ClassName) -> Held:
        own = self.own[name]
        if name not in self._elsewhere:
            return own
        requests, held_bytes = self._elsewhere[name]
        return Held(own.requests + requests, own.bytes + held_bytes)
