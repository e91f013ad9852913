"""Where broken rules are written down."""

from collections.abc import Callable

__all__ = ["ViolationLog"]

_MOST_KEPT = 200


class ViolationLog:
    """`texts` are the first of them; `count` is of all."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.texts: list[str] = []
        self.count = 0
        self._now_s = now_s

    def found(self, rule: str, text: str) -> None:
        self.count += 1
        if len(self.texts) < _MOST_KEPT:
            self.texts.append(f"{rule} at {self._now_s():.3f} s: {text}")
