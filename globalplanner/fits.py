"""Has slow fits made in a process of their own, so that no decision waits for one."""

import logging

from globalplanner.core.load.predicted import Predicted, Series
from weir.runtime.clock import Clock
from weir.runtime.fit_worker import FitWorker
from weir.runtime.lifecycle import Stop

__all__ = ["Fits"]

_log = logging.getLogger("weir.globalplanner")
_LOOK_S = 1.0


class Fits:
    """Of all classes. The process is there only while there is something to fit."""

    def __init__(
        self, predicted: Predicted, clock: Clock, worker: FitWorker[Series] | None = None
    ) -> None:
        self._predicted = predicted
        self._clock = clock
        self._worker = worker or FitWorker()

    async def run(self, stop: Stop) -> None:
        """Look every wall second until `stop`."""
        try:
            while not await stop.sleep(_LOOK_S):
                try:
                    self.step()
                except Exception:
                    _log.exception("fits could not be looked after; the last ones count")
        finally:
            self._worker.close()

    def step(self) -> None:
        """Hand out what is due, take over what is done."""
        wall_s = self._clock.wall_s()
        for series, task in self._predicted.due(self._clock.now_s()).items():
            self._worker.submit(series, task, wall_s)
        for series, fit in self._worker.poll(wall_s):
            self._predicted.accept(series, fit)
            _log.debug("fitted series=%s/%s", *series)
