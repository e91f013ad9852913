"""What processes of other routers have told of their load, as long as it is fresh.

Invariant: what a process told last counts until it tells something newer, or has been silent for
`SILENT_S`. A message that is not newer than one that was taken changes nothing, also after that.
"""

from collections.abc import Callable

from router.core.elsewhere import Told

__all__ = ["SILENT_S", "Peers"]

SILENT_S = 2.0
"""Who has said nothing for so long has nothing any more, as far as others are concerned."""
_REMEMBERED_S = 300.0
"""For so long after its last message its number is known: nothing is late by more."""


class Peers:
    """`told` takes what a process has, None if it has nothing; it returns whether there may be
    more room, as do `hear` and `forget`. Times do not decrease.
    """

    def __init__(self, told: Callable[[str, Told | None], bool]) -> None:
        self._told = told
        self._heard: dict[str, tuple[int, float]] = {}
        """Number of the last message of each, and when it came."""
        self._fresh: set[str] = set()

    def __len__(self) -> int:
        """Processes whose word counts now."""
        return len(self._fresh)

    def is_news(self, process: str, sequence: int) -> bool:
        known = self._heard.get(process)
        return known is None or sequence > known[0]

    def hear(self, process: str, sequence: int, told: Told, now_s: float) -> bool:
        """A message has come, all that the process has."""
        if not self.is_news(process, sequence):
            return False
        self._heard[process] = sequence, now_s
        if not told.loads:
            return self._drop(process)
        self._fresh.add(process)
        return self._told(process, told)

    def forget(self, now_s: float) -> bool:
        """Drop what those told that are silent."""
        silent = [p for p in self._fresh if now_s > self._heard[p][1] + SILENT_S]
        eased = [self._drop(process) for process in silent]
        for process, (_, at_s) in list(self._heard.items()):
            if now_s > at_s + _REMEMBERED_S:
                del self._heard[process]
        return any(eased)

    def _drop(self, process: str) -> bool:
        if process not in self._fresh:
            return False
        self._fresh.discard(process)
        return self._told(process, None)
