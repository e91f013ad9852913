"""Whether what routers are told is newer than what they know, by its number.

Whoever tells it numbers what it says and repeats it every few seconds, so a lower number is old
news that was late on its way. Unless nobody repeats the higher one any more: then who told that is
gone, and its successor counts from below, because the store has lost its data or the time of day
was set back. Without this the router would know the old for ever.
"""

from collections.abc import Hashable
from typing import Any

__all__ = ["News"]

_QUIET_S = 20.0
"""What is repeated every 5 s and was not for so long has been forgotten by everybody else."""


class News:
    """The newest number of each subject, and when it was heard last (model seconds)."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[Any, float]] = {}

    def takes(self, subject: Hashable, number: Any, now_s: float) -> bool:
        """Whether this is to be believed. It is remembered then, also if it says nothing new.

        Numbers of one subject can be compared with each other.
        """
        known = self._known.get(subject)
        if known is not None and number < known[0] and now_s - known[1] <= _QUIET_S:
            return False
        self._known[subject] = (number, now_s)
        return True
