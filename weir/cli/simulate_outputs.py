"""The files that `weir simulate` writes besides its summary: events and the report."""

import json
import os
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from weir.domain.errors import WeirError
from weir.simulator.happenings import Happenings
from weir.simulator.journal import Journal
from weir.simulator.report import Recording, plotly_script, report_html
from weir.simulator.run import Outcome, Watcher
from weir.simulator.summary import SimulationSummary

__all__ = ["Outputs"]


class Outputs(AbstractContextManager["Outputs"]):
    """Opens what is wanted before the run, so that a wrong path costs nobody an hour.

    Raises `WeirError` if a file cannot be written or plotly is missing.
    """

    def __init__(self, events: Path | None, report: Path | None) -> None:
        self._script = plotly_script() if report is not None else ""
        self._events = None if events is None else _opened("--events", events)
        self._report = None if report is None else _opened("--report", report)
        self._recording = None if report is None else Recording()

    @property
    def journal(self) -> Journal | None:
        """None if nobody wants to hear of anything."""
        return Journal(self._heard) if self._events or self._recording else None

    @property
    def watch(self) -> list[Watcher]:
        watchers: list[Watcher] = []
        if self._events is not None:
            watchers.append(Happenings)
        if self._recording is not None:
            watchers.append(self._recording.attach)
        return watchers

    def finish(self, outcome: Outcome, summary: SimulationSummary) -> None:
        if self._report is not None and self._recording is not None:
            self._report.write(report_html(outcome, summary, self._recording, self._script))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in (self._events, self._report):
            if file is not None:
                file.close()

    def _heard(self, event: dict[str, Any]) -> None:
        if self._events is not None:
            self._events.write(json.dumps(event) + "\n")
        if self._recording is not None:
            self._recording.hear(event)


def _opened(option: str, path: Path) -> TextIO:
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        reason = error.strerror or os.strerror(error.errno or 0)
        raise WeirError(f"{option} {path}: cannot be written: {reason}") from None
