"""What goes wrong from round to round: counted every time, logged when it is new."""

import logging
from typing import Protocol

__all__ = ["ErrorCounter", "Troubles"]

_log = logging.getLogger("weir.poolplanner")


class ErrorCounter(Protocol):
    def error(self, reason: str) -> None:
        """Count one. `reason` is one of `metrics.ERROR_REASONS`."""
        ...


class Troubles:
    """The newest failure by reason, a reason being one of `metrics.ERROR_REASONS`."""

    def __init__(self, metrics: ErrorCounter) -> None:
        self._metrics = metrics
        self._texts: dict[str, str] = {}

    def get(self, reason: str) -> str | None:
        """What is wrong now; None if nothing is."""
        return self._texts.get(reason)

    def failed(self, reason: str, error: Exception) -> None:
        self._metrics.error(reason)
        text = str(error)
        if self._texts.get(reason) != text:
            self._texts[reason] = text
            _log.warning("%s: %s", reason, text)

    def recovered(self, reason: str) -> None:
        if self._texts.pop(reason, None) is not None:
            _log.info("%s: works again", reason)
