"""Who of many workers is next, without looking at all of them: kept in order of their ranks.

Invariant: every usable worker has one entry, of its newest rank, and nobody else has any. To move
an entry takes two searches by halves and moves of memory that are nothing beside them: no step
ever takes much longer than others, as making a heap anew did.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from math import inf

from router.core.workers.worker import Worker

__all__ = ["Crowd"]

_Entry = tuple[float, int, int, int, int]
"""Rank and place, in one since they are compared often."""


class Crowd:
    """Finds whom `min` by rank would find among the usable ones, the first among equals.

    `usable` is as of the last `recheck`, in no order; `next_probe_s`: when the next one is due.
    """

    def __init__(self, workers: Sequence[Worker], now_s: float) -> None:
        self._workers = workers
        self._order: list[_Entry] = []
        self._entries: list[_Entry | None] = [None] * len(workers)
        """By place: the one in the order."""
        self._failing: list[Worker] = []
        self.usable: list[Worker] = []
        self.next_probe_s = inf
        for place, worker in enumerate(workers):
            worker.place = place
        self.recheck(workers, now_s)

    def recheck(self, touched: Iterable[Worker], now_s: float) -> None:
        """Breakers of these may have changed; it may be time to probe others."""
        failing = []
        for worker in dict.fromkeys((*self._failing, *touched)):
            if not self._has(worker):
                continue
            present = self._entries[worker.place] is not None
            if present is not worker.usable(now_s):
                self._leave(worker) if present else self._enter(worker)
            if worker.failures:
                failing.append(worker)
        self._failing = failing
        due = (w.ejected_until_s for w in self._failing)
        self.next_probe_s = min((at_s for at_s in due if at_s > now_s), default=inf)

    def changed(self, worker: Worker) -> None:
        """It has another rank than before. Nothing to do for one that is not among them."""
        place, workers = worker.place, self._workers
        if place >= len(workers) or workers[place] is not worker:
            return
        before = self._entries[place]
        if before is not None:
            order = self._order
            del order[bisect_left(order, before)]
            self._entries[place] = entry = (*worker.rank, place)
            insort(order, entry)

    def least(self) -> Worker | None:
        return self._workers[self._order[0][-1]] if self._order else None

    def first(self, suits: Callable[[Worker], bool], most: int) -> Worker | None:
        """The least one that suits, if it is one of the `most` least ones."""
        for entry in self._order[:most]:
            worker = self._workers[entry[-1]]
            if suits(worker):
                return worker
        return None

    def _has(self, worker: Worker) -> bool:
        place = worker.place
        return place < len(self._workers) and self._workers[place] is worker

    def _enter(self, worker: Worker) -> None:
        self.usable.append(worker)
        self._entries[worker.place] = entry = (*worker.rank, worker.place)
        insort(self._order, entry)

    def _leave(self, worker: Worker) -> None:
        self.usable.remove(worker)
        entry = self._entries[worker.place]
        if entry is not None:
            del self._order[bisect_left(self._order, entry)]
        self._entries[worker.place] = None
